from __future__ import annotations

import errno
import os
import pickle
import signal
import time
from pathlib import Path

import pytest

from segbench.errors import DeviceOutOfMemory, OutOfMemory, SegbenchError
from segbench.files import read_json
from segbench.jobs.state import EX_TEMPFAIL, Again, Stopped, recorded, set_up_logging

CONTINUE, SAME, MORE, NEVER = Again.CONTINUE, Again.SAME, Again.MORE, Again.NEVER


def test_a_step_that_ends_well(tmp_path: Path) -> None:
    with recorded("train", tmp_path, None):
        assert read_json(tmp_path / "state.json")["state"] == "running"
    state = read_json(tmp_path / "state.json")
    assert (state["step"], state["state"], state["reason"]) == ("train", "ok", "")
    assert state["ended"] >= state["started"]


@pytest.mark.parametrize(
    ("error", "status", "reason", "again"),
    [
        (SegbenchError("is torn", where="a.png", remedy="repair it"), "failed", "a.png: is torn", NEVER),
        (OutOfMemory("no memory left"), "out-of-memory", "no memory left", MORE),
        (DeviceOutOfMemory("no GPU memory left"), "out-of-memory", "no GPU memory left", NEVER),
        (MemoryError("big"), "out-of-memory", "MemoryError: big", MORE),
        (ZeroDivisionError("x"), "failed", "ZeroDivisionError: x", NEVER),
        (RuntimeError("CUDA error: uncorrectable ECC error"), "failed", "CUDA error", SAME),
        (RuntimeError("CUDA error: device-side assert triggered"), "failed", "CUDA error", NEVER),
        (OSError(errno.ESTALE, "Stale file handle"), "failed", "Stale file handle", SAME),
    ],
)
def test_a_step_that_fails_says_why_and_exits_with_1(
    tmp_path: Path, error: Exception, status: str, reason: str, again: Again
) -> None:
    log = tmp_path / "logs" / "step.log"
    set_up_logging(log)
    with pytest.raises(SystemExit) as stop, recorded("train", tmp_path, log):
        raise error
    assert stop.value.code == 1
    state = read_json(tmp_path / "state.json")
    assert (state["state"], state["again"], state["log"]) == (status, again, str(log))
    assert reason in state["reason"]
    assert reason.split(": ")[-1] in log.read_text()


def test_the_cause_of_an_error_counts_too(tmp_path: Path) -> None:
    with pytest.raises(SystemExit), recorded("train", tmp_path, None):
        try:
            raise OSError(errno.EIO, "Input/output error")
        except OSError as error:
            raise SegbenchError("cannot be read", where="a.png") from error
    assert read_json(tmp_path / "state.json")["again"] == SAME


@pytest.mark.parametrize(("at_limit", "again"), [(True, CONTINUE), (False, SAME)])
def test_a_training_told_to_stop_keeps_its_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_limit: bool, again: Again
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with pytest.raises(SystemExit) as stop, recorded("train", tmp_path, None):
        raise pickle.loads(pickle.dumps(Stopped("stopped after iteration 3 of 8", at_limit)))
    assert stop.value.code == EX_TEMPFAIL
    state = read_json(tmp_path / "state.json")
    assert (state["state"], state["reason"]) == ("interrupted", "stopped after iteration 3 of 8")
    assert (state["again"], state["job"]) == (again, "17")


def test_a_step_ended_by_sigterm_was_interrupted(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop, recorded("evaluate", tmp_path, None):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert stop.value.code == 128 + signal.SIGTERM
    state = read_json(tmp_path / "state.json")
    assert (state["state"], state["reason"]) == ("interrupted", "told to stop (SIGTERM)")
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_forked_process_of_a_step_only_ends(tmp_path: Path) -> None:
    with recorded("evaluate", tmp_path, None):
        ready, report = os.pipe()
        child = os.fork()
        if not child:
            os.write(report, b"1")  # Python forgets signals that come while it forks
            time.sleep(30)
            os._exit(7)
        os.read(ready, 1)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        assert read_json(tmp_path / "state.json")["state"] == "running"


def test_an_error_of_the_system_is_told_without_its_number(tmp_path: Path) -> None:
    with pytest.raises(SystemExit), recorded("evaluate", tmp_path, None):
        (tmp_path / "gone.csv").open()
    assert read_json(tmp_path / "state.json")["reason"] == f"{tmp_path}/gone.csv: No such file or directory"
