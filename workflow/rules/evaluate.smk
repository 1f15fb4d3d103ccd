# Predict, and score the predictions from their files.

# Predictions are no declared output: Snakemake would remove them before a job that only scores again.
# `segbench predict` keeps those that it would make again.


rule score:
    input:
        data=data_of,
        model=f"{CELL}/model.pt",
    output:
        f"{CELL}/{{split}}scores.csv",
        f"{CELL}/{{split}}per_image.parquet",
    log:
        predict=f"{LOGS}/predict/{{split}}{CELL_LOG}",
        evaluate=f"{LOGS}/evaluate/{{split}}{CELL_LOG}",
    wildcard_constraints:
        model=NETWORKS,
    threads: CONFIG.threads
    resources:
        gpu=gpus_to_score,
        mem_mb=demand.memory,
        runtime=minutes_to_score,
        cpus_per_task=lambda w, threads: threads + CONFIG.workers,
        device=CONFIG.device,
        workers=CONFIG.workers,
    params:
        data=lambda w, input: os.path.dirname(input.data),
        out=lambda w, output: os.path.dirname(output[0]),
        inference=lambda w: cell_of(w).inference,
        split=split_arguments,
        code=prediction_code,
        options=evaluation_options,
        scoring=code_of("segbench.evaluation.evaluate"),
    shell:
        "segbench predict --data {params.data:q} --out {params.out:q}/predictions --model {input.model:q}"
        " --inference {params.inference:q} {params.split:q} --code {params.code:q}"
        " --threads {threads} --workers {resources.workers:q} --device {resources.device:q} --log {log.predict:q}"
        " && segbench evaluate --data {params.data:q} --predictions {params.out:q}/predictions --out {params.out:q}"
        " --options {params.options:q} --threads {threads} --log {log.evaluate:q}"


# Predictions of another program: read, checked, and scored.
rule external:
    input:
        data=data_of,
    output:
        f"{CELL}/scores.csv",
        f"{CELL}/per_image.parquet",
    log:
        external=f"{LOGS}/external/{CELL_LOG}",
        evaluate=f"{LOGS}/evaluate/{CELL_LOG}",
    wildcard_constraints:
        model=EXTERNALS,
    threads: CONFIG.threads
    resources:
        mem_mb=demand.memory,
        runtime=minutes_for_external,
    params:
        data=lambda w, input: os.path.dirname(input.data),
        out=lambda w, output: os.path.dirname(output[0]),
        spec=lambda w: cell_of(w).external_spec,
        own=lambda w: predicted_files_of(cell_of(w).external_spec),
        code=lambda w: code_of(
            "segbench.exchange.predictions.read",
            f"segbench.exchange.predictions.{cell_of(w).external.format}",
        ),
        options=evaluation_options,
        scoring=code_of("segbench.evaluation.evaluate"),
    shell:
        "segbench external --data {params.data:q} --out {params.out:q}/predictions --spec {params.spec:q}"
        " --log {log.external:q}"
        " && segbench evaluate --data {params.data:q} --predictions {params.out:q}/predictions --out {params.out:q}"
        " --options {params.options:q} --threads {threads} --log {log.evaluate:q}"


# one rule for each set of controls that datasets share; almost always there is one
for number, (names, datasets) in enumerate(CONTROLS.items()):

    rule:
        name:
            f"controls_{number}" if number else "controls"
        input:
            data=data_of,
        output:
            [
                f"{RESULTS}/cells/{{dataset}}/{name}/{{repetition}}/{file}"
                for name in names
                for file in ("scores.csv", "per_image.parquet")
            ],
        log:
            f"{LOGS}/controls/{{dataset}}-{{repetition}}.log",
        wildcard_constraints:
            dataset="|".join(map(re.escape, datasets)),
        threads: CONFIG.threads
        resources:
            mem_mb=demand.memory,
            runtime=minutes_for_controls,
        params:
            data=lambda w, input: os.path.dirname(input.data),
            out=f"{RESULTS}/cells/{{dataset}}",
            spec=controls_spec,
            code=controls_code,
            options=evaluation_options,
            scoring=code_of("segbench.evaluation.evaluate"),
        shell:
            "segbench controls --data {params.data:q} --out {params.out:q} --repetition {wildcards.repetition:q}"
            " --spec {params.spec:q} --options {params.options:q} --threads {threads} --code {params.code:q}"
            " --log {log:q}"


rule pool_folds:
    input:
        lambda w: paths_of_cells(
            f"{CELL}/per_image.parquet",
            [
                cell
                for cell in RUN.cells
                if (cell.dataset, cell.model, cell.seed)
                == (w.dataset, w.model, int(w.seed))
            ],
        ),
    output:
        f"{POOLED}/scores.csv",
    log:
        f"{LOGS}/pool/{{dataset}}/{{model}}-seed{{seed}}.log",
    group:
        "{dataset}_{model}_seed{seed}-pooled"
    resources:
        mem_mb=demand.memory,
        runtime=demand.conversion_minutes,
    params:
        out=lambda w, output: Path(output[0]).parent,
        code=code_of("segbench.evaluation.pooling"),
    shell:
        "segbench pool {input:q} --out {params.out:q} --log {log:q}"
