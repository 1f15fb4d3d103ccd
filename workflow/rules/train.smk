# One training for each cell of a network.


rule train:
    input:
        data=data_of,
        weights=weights_of,
    output:
        f"{CELL}/model.pt",
        f"{CELL}/training.json",
    log:
        f"{LOGS}/train/{CELL_LOG}",
    priority: longest_first
    threads: lambda w: cell_of(w).threads
    resources:
        gpu=gpus_to_train,
        nodes=1,
        cpus_per_task=lambda w, threads: threads
        + CONFIG.workers * cell_of(w).recipe.gpus,
        mem_mb=lambda w, input, attempt: requests(input).memory(cell_of(w), attempt),
        runtime=lambda w, input, attempt: requests(input).minutes(cell_of(w), attempt),
        # not params: what decides no result must not repeat the job
        device=CONFIG.device,
        workers=CONFIG.workers,
        checkpoint_minutes=str(CONFIG.checkpoint_minutes),
        inference=inference_in_training,
        cache=CONFIG.cache,
        events="--tensorboard" if CONFIG.tensorboard else "--no-tensorboard",
    params:
        data=lambda w, input: Path(input.data).parent,
        out=lambda w, output: Path(output[0]).parent,
        spec=lambda w: cell_of(w).spec,
        weights=lambda w, input: ["--weights", *input.weights] if input.weights else [],
        start=start_of,
        code=lambda w: code_of(
            *training_code(cell_of(w).recipe),
            cell_of(w).class_path,
            RUN.loader(cell_of(w)),
        ),
    shell:
        "segbench train --data {params.data:q} --out {params.out:q} --spec {params.spec:q} {params.weights:q}"
        " --threads {threads:q} --workers {resources.workers:q} --device {resources.device:q}"
        " --checkpoint-minutes {resources.checkpoint_minutes:q} --inference {resources.inference:q}"
        " --cache {resources.cache:q} {resources.events} --log {log:q}"
