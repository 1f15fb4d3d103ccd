from __future__ import annotations

import os

import pytest

from segbench.evaluation.runner import workers


def _who(items):
    return [(item, os.getpid()) for item in items]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_no_more_processes_than_asked_for(monkeypatch, processes):
    monkeypatch.setattr(workers, "_CHUNK", 2)
    monkeypatch.setattr(workers, "_FEW", 3)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64))
    done = [pair for chunk in workers.in_chunks(_who, range(41), processes) for pair in chunk]
    assert [item for item, _ in done] == [*range(41)]
    pids = {pid for _, pid in done}
    assert len(pids) <= processes and (pids == {os.getpid()}) == (processes == 1)
    assert {pid for chunk in workers.in_chunks(_who, range(3), processes) for _, pid in chunk} == {
        os.getpid()
    }
