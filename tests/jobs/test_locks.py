from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segbench.errors import SegbenchError
from segbench.jobs.locks import alone_in, hold, share

HOLDER = "import sys; from pathlib import Path; from segbench.jobs.locks import hold; "
HOLDER += "file = hold(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"


def test_a_claim_names_its_process_and_ends_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(SegbenchError, match=rf"run: another run uses this folder \(process {holder.pid} on "):
        hold(folder)
    holder.kill()
    holder.wait()
    with hold(folder) as file:
        assert file is not None
        assert f"process {os.getpid()} on" in (folder / ".lock").read_text()


def test_alone_waits(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from segbench.jobs.locks import alone_in\n"
    code += "with alone_in(Path(sys.argv[1])) as waited: sys.exit(7 if waited else 8)"
    with alone_in(tmp_path / "cell") as waited:
        assert not waited
        other = subprocess.Popen([sys.executable, "-c", code, tmp_path / "cell"])
        time.sleep(1)
        assert other.poll() is None
    assert other.wait(20) == 7


def test_many_may_share_what_nobody_has_alone(tmp_path: Path) -> None:
    alone = hold(tmp_path / "data")
    assert alone is not None
    with pytest.raises(SegbenchError, match="street: another run uses this folder .*\\n  remedy: wait$"):
        hold(tmp_path / "data", shared=True, where=Path("street"), remedy="wait")
    share(alone)
    with alone, hold(tmp_path / "data", shared=True) as second:
        assert second is not None
        with pytest.raises(SegbenchError, match="another run uses this folder"):
            hold(tmp_path / "data")
