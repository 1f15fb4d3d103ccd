# Score predictions from their files, without the network and without a GPU.


rule evaluate:
    input:
        data=data_of,
        predictions=f"{CELL}/{{split}}predictions/predictions.json",
    output:
        f"{CELL}/{{split}}scores.csv",
        f"{CELL}/{{split}}per_image.parquet",
    log:
        f"{LOGS}/evaluate/{{split}}{CELL_LOG}",
    group:
        CELL_GROUP
    threads: CONFIG.threads
    resources:
        mem_mb=demand.memory,
        runtime=lambda w, input, attempt: demand.evaluation_minutes(
            images_of(input.data, w), attempt
        ),
    params:
        data=lambda w, input: Path(input.data).parent,
        predictions=lambda w, input: Path(input.predictions).parent,
        out=lambda w, output: Path(output[0]).parent,
        options=dumps(CONFIG.evaluation),
        code=code_of("segbench.evaluation.evaluate"),
    shell:
        "segbench evaluate --data {params.data:q} --predictions {params.predictions:q} --out {params.out:q}"
        " --options {params.options:q} --threads {threads} --log {log:q}"


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
