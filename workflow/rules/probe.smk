# A few steps of each network on its device, for `segbench plan` and for what the jobs request. Not part of a run:
#   segbench probe --configfile mine.yaml


rule probe:
    output:
        f"{RESULTS}/probes/{{probe}}.json",
    log:
        f"{LOGS}/probe/{{probe}}.log",
    threads: lambda w: probed_works()[w.probe][1].threads
    resources:
        gpu=int(CONFIG.device != "cpu"),
        cpus_per_task=lambda w, threads: threads,
        mem_mb=lambda w, attempt: demand.probe_memory(
            probed_works()[w.probe][0], CONFIG.device != "cpu", attempt
        ),
        runtime=lambda w, attempt: demand.START_MINUTES * attempt,
        device=CONFIG.device,
    params:
        work=lambda w: probed_works()[w.probe][0].model_dump_json(),
        folder=PROBES,
        code=lambda w: code_of(
            "segbench.training.loop", probed_works()[w.probe][1].class_path
        ),
    shell:
        "segbench probe-network --work {params.work:q} --out {output:q} --folder {params.folder:q}"
        " --code {params.code:q} --threads {threads:q} --device {resources.device:q} --log {log:q}"


rule probes:
    input:
        lambda w: [f"{RESULTS}/probes/{key}.json" for key in probed_works()],
    localrule: True
