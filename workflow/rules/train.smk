# One training and one prediction a cell; controls are predicted without a training.


def weights_of(wildcards):
    recipe = cell_of(wildcards).recipe
    return [f"{WEIGHTS}/{recipe.pretrained}.safetensors"] if recipe.pretrained else []


def model_of(wildcards):
    return [] if cell_of(wildcards).control else [f"{CELL}/model.pt"]


rule train:
    input:
        data=f"{DATA}/{{dataset}}/dataset.json",
        # a check repeated does not make the data new
        lint=ancient(f"{DATA}/{{dataset}}/lint.json"),
        weights=weights_of,
    output:
        f"{CELL}/model.pt",
        f"{CELL}/training.json",
    log:
        f"{LOGS}/train/{CELL_LOG}",
    threads: CONFIG.threads
    resources:
        gpu=int(CONFIG.uses_gpu),
    params:
        data=lambda w, input: Path(input.data).parent,
        out=CELL,
        spec=lambda w: cell_of(w).spec,
        weights=lambda w, input: ["--weights", *input.weights] if input.weights else [],
        code=lambda w: code_of("segbench.training.train", cell_of(w).class_path),
    shell:
        "{SEGBENCH} train --data {params.data} --out {params.out} --spec {params.spec:q} {params.weights:q}"
        " --threads {threads} --workers {CONFIG.workers} --device {CONFIG.device} --log {log}"


rule predict:
    input:
        data=f"{DATA}/{{dataset}}/dataset.json",
        lint=ancient(f"{DATA}/{{dataset}}/lint.json"),
        model=model_of,
    output:
        f"{CELL}/predictions/predictions.json",
    log:
        f"{LOGS}/predict/{CELL_LOG}",
    threads: CONFIG.threads
    resources:
        gpu=lambda w: int(CONFIG.uses_gpu and not cell_of(w).control),
    params:
        data=lambda w, input: Path(input.data).parent,
        out=lambda w, output: Path(output[0]).parent,
        what=lambda w, input: cell_of(w).predict_arguments(input.model),
        code=lambda w: code_of(
            (
                "segbench.models.controls"
                if cell_of(w).control
                else "segbench.training.predict"
            ),
            cell_of(w).class_path,
        ),
    shell:
        "{SEGBENCH} predict --data {params.data} --out {params.out} {params.what:q}"
        " --threads {threads} --device {CONFIG.device} --log {log}"
