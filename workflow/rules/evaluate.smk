# Score predictions from their files, without the network and without a GPU.


rule evaluate:
    input:
        data=f"{DATA}/{{dataset}}/dataset.json",
        predictions=f"{CELL}/predictions/predictions.json",
    output:
        f"{CELL}/scores.csv",
        f"{CELL}/per_image.parquet",
    log:
        f"{LOGS}/evaluate/{CELL_LOG}",
    group:
        CELL_GROUP
    threads: CONFIG.threads
    resources:
        mem_mb=demand.memory,
        runtime=lambda w, input, attempt: demand.evaluation_minutes(
            images_of(input.data), attempt
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
