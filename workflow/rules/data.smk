# Fetch archives and weights; convert datasets to the canonical format and check them.

if not CONFIG.keep_archives:  # one conversion at a time has archives on the disk
    workflow.register_resource("preparing", 1)


localrules:
    fetch_archive,
    fetch_weights,


rule fetch_archive:
    output:
        # not the archive itself: Snakemake would delete an archive that a user has put there before the job starts
        f"{ARCHIVES}/{{archive}}.json",
    log:
        f"{LOGS}/fetch/{{archive}}.log",
    params:
        out=lambda w, output: output[0].removesuffix(".json"),
        spec=lambda w: dumps(RUN.archives[w.archive]),
        mirror=MIRROR,
    shell:
        "segbench fetch {wildcards.archive:q} --out {params.out:q} --record {output:q} --spec {params.spec:q}"
        " {params.mirror:q} --log {log:q}"


rule fetch_weights:
    output:
        f"{WEIGHTS}/{{weights}}.safetensors",
    log:
        f"{LOGS}/fetch/{{weights}}.log",
    params:
        spec=lambda w: dumps(RUN.weights[w.weights]),
        mirror=MIRROR,
        code=code_of("segbench.data.sources.weights"),
    shell:
        "segbench weights --out {output:q} --spec {params.spec:q} {params.mirror:q} --log {log:q}"


# The code of the check is no param: a dataset is checked once, when it is converted.
rule convert_dataset:
    input:
        archives=records_of,
    output:
        dataset=f"{DATA}/{{dataset}}/dataset.json",
        lint=f"{DATA}/{{dataset}}/lint.json",
    log:
        convert=f"{LOGS}/convert/{{dataset}}.log",
        lint=f"{LOGS}/lint/{{dataset}}.log",
    group:
        DATASET_GROUP
    threads: CONFIG.threads
    resources:
        mem_mb=lambda w, threads, attempt: demand.conversion_memory(threads, attempt),
        runtime=demand.conversion_minutes,
        # not a param: another run with the same data must not repeat the job
        state=lambda w: f"{RESULTS}/datasets/{w.dataset}",
        preparing=int(not CONFIG.keep_archives),
        # not a param: what only the report reads must not repeat the job
        metadata=columns_arguments,
    params:
        spec=lambda w: RUN.convert_spec(w.dataset),
        # with `input`, which hides it from the comparison of params: where archives lie does not repeat the job
        archives=lambda w, input: archive_arguments(w.dataset),
        out=lambda w, output: Path(output[0]).parent,
        own=lambda w: own_files_of(w.dataset),
        code=lambda w: code_of("segbench.data.convert", RUN.datasets[w.dataset].convert),
    shell:
        "segbench convert {wildcards.dataset:q} --out {params.out:q} --spec {params.spec:q} {params.archives:q}"
        " --threads {threads} --state {resources.state:q} --log {log.convert:q}"
        " && segbench lint {params.out:q} --out {output.lint:q} --metadata {resources.metadata:q} --state {resources.state:q} --log {log.lint:q}"


rule fold_dataset:
    input:
        data=f"{DATA}/{{dataset}}/dataset.json",
    output:
        f"{DATA}/{{dataset}}/folds/{{folds}}/{{number}}/dataset.json",
    log:
        f"{LOGS}/fold/{{dataset}}-{{number}}of{{folds}}.log",
    group:
        DATASET_GROUP
    resources:
        mem_mb=demand.memory,
        runtime=demand.conversion_minutes,
        # not a param: another run with the same data must not repeat the job
        state=lambda w: f"{RESULTS}/datasets/{w.dataset}",
    params:
        data=lambda w, input: Path(input.data).parent,
        out=lambda w, output: Path(output[0]).parent,
        code=code_of("segbench.data.folds.write"),
    shell:
        "segbench fold {params.data:q} --folds {wildcards.folds} --fold {wildcards.number} --out {params.out:q}"
        " --state {resources.state:q} --log {log:q}"
