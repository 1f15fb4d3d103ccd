# Collect all cells in tables, plots and one page.


localrules:
    summarise,
    report,


rule summarise:
    input:
        paths_of_cells(f"{CELL}/scores.csv"),
        pooled_scores(),
        train_scores(),
    output:
        f"{RESULTS}/summary/scores.csv",
        f"{RESULTS}/summary/cells.csv",
    log:
        f"{LOGS}/summarise.log",
    params:
        run=f"{RESULTS}/run.json",
        out=lambda w, output: Path(output[0]).parent,
        shown=digest("cells", "skipped", "datasets", "models"),
        compared=CONFIG.report.model_dump_json(
            include={"primary", "equivalent", "baseline"}
        ),
        columns=digest_of_columns(),
        code=code_of("segbench.report.summarise"),
    shell:
        "segbench summarise {params.run:q} --out {params.out:q} --log {log:q}"


rule report:
    input:
        rules.summarise.output,
    output:
        report(
            f"{RESULTS}/report/index.html",
            caption="../report/page.rst",
            category="Report",
        ),
    log:
        f"{LOGS}/report.log",
    params:
        run=f"{RESULTS}/run.json",
        summary=lambda w, input: Path(input[0]).parent,
        out=lambda w, output: Path(output[0]).parent,
        shown=digest("recipe", "models", "config_yaml", "options"),
        code=code_of("segbench.report.page"),
    shell:
        "segbench report {params.run:q} --summary {params.summary:q} --out {params.out:q} --log {log:q}"
