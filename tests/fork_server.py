"""Processes for tests, forked from a server that has imported what they need and holds no threads.

A fork of the test process itself may hang: torch and hotcoco may have started threads in it.
"""

from __future__ import annotations

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "__main__",
        "segbench.data.convert",
        "segbench.evaluation.runner.score",
        "segbench.prediction.runner.media",
        "segbench.training.runner.train",
    ]
)
