"""Speed, memory, equality with the processor and a small run on a GPU, in one command.

    python -m benchmarks.gpu [NAME ...] [--minutes 10] [--out results/gpu]
    python -m benchmarks.gpu --device cpu --quick      # a tiny run of every part, without a GPU

`__main__` gives each part (facts, equality, networks, peers, loader, pipeline) its share of the time.
"""
