# The workflow itself; this file lets `snakemake` be called at the top level.
include: "workflow/Snakefile"


rule all:
    default_target: True
    input:
        rules.benchmark.input,
