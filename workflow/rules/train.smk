# One training and one prediction for each cell. Controls are not trained.


rule train:
    input:
        data=data_of,
        # repeating the check does not change the data
        lint=ancient(f"{DATA}/{{dataset}}/lint.json"),
        weights=weights_of,
    output:
        f"{CELL}/model.pt",
        f"{CELL}/training.json",
    log:
        f"{LOGS}/train/{CELL_LOG}",
    threads: lambda w: cell_of(w).threads
    resources:
        gpu=gpus_to_train,
        nodes=1,
        cpus_per_task=lambda w, threads: threads
        + CONFIG.workers * cell_of(w).recipe.gpus,
        mem_mb=lambda w, input, attempt: demand.training_memory(
            recipe_of(w, input.data), CONFIG.workers, attempt
        ),
        runtime=lambda w, input, threads, attempt: demand.training_minutes(
            recipe_of(w, input.data), threads, gpus_to_train(w), attempt
        ),
        # not params: what decides no result must not repeat the job
        device=CONFIG.device,
        workers=CONFIG.workers,
        checkpoint_minutes=str(CONFIG.checkpoint_minutes),
    params:
        data=lambda w, input: Path(input.data).parent,
        out=lambda w, output: Path(output[0]).parent,
        spec=lambda w: cell_of(w).spec,
        weights=lambda w, input: ["--weights", *input.weights] if input.weights else [],
        code=lambda w: code_of(
            "segbench.training.loop", cell_of(w).class_path, RUN.loader(cell_of(w))
        ),
    shell:
        "segbench train --data {params.data:q} --out {params.out:q} --spec {params.spec:q} {params.weights:q}"
        " --threads {threads:q} --workers {resources.workers:q} --device {resources.device:q}"
        " --checkpoint-minutes {resources.checkpoint_minutes:q} --log {log:q}"


rule predict:
    input:
        data=data_of,
        lint=ancient(f"{DATA}/{{dataset}}/lint.json"),
        model=model_of,
    output:
        f"{CELL}/{{split}}predictions/predictions.json",
    log:
        f"{LOGS}/predict/{{split}}{CELL_LOG}",
    group:
        CELL_GROUP
    threads: CONFIG.threads
    resources:
        gpu=gpus_to_predict,
        mem_mb=demand.memory,
        runtime=lambda w, input, attempt: demand.prediction_minutes(
            images_of(input.data, w) * cell_of(w).passes, gpus_to_predict(w), attempt
        ),
        device=CONFIG.device,
    params:
        data=lambda w, input: Path(input.data).parent,
        out=lambda w, output: Path(output[0]).parent,
        model=lambda w, input: ["--model", *input.model] if input.model else [],
        # separate from `model`: Snakemake does not compare params that are computed from the input
        what=lambda w: cell_of(w).predict_arguments + split_arguments(w),
        code=lambda w: code_of(
            (
                "segbench.prediction.controls"
                if cell_of(w).control
                else "segbench.prediction.predict"
            ),
            "segbench.prediction.inference",
            cell_of(w).class_path,
        ),
    shell:
        "segbench predict --data {params.data:q} --out {params.out:q} {params.model:q} {params.what:q}"
        " --threads {threads:q} --device {resources.device:q} --log {log:q}"
