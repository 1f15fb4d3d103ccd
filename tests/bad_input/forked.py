"""`segbench` on bad input, each time in a process of its own: what must hold whatever the input is."""

from __future__ import annotations

import gc
import hashlib
import os
import random
import re
import resource
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from fork_server import CONTEXT

from segbench.cli import main

SECONDS = 30.0
"""Most time of a call; most take a tenth of a second."""
MEMORY = 3 * 2**30
"""Most bytes that a call may ask for."""
CASES = float(os.environ.get("SEGBENCH_FUZZ", "1"))
"""Multiplies the number of seeds of every test."""


def seeds(count: int) -> range:
    return range(round(count * CASES))


def random_of(*words: object) -> random.Random:
    return random.Random(" ".join(map(str, words)))


@dataclass
class Call:
    status: int
    output: str

    @property
    def message(self) -> str:
        """What stands after the last `error:` that begins a line, perhaps after a time."""
        *_, last = re.split(r"^(?:[\d:]+ )?error: ", self.output, flags=re.MULTILINE)
        return last


def call(folder: Path, *arguments: str | Path) -> Call:
    """`segbench` with these arguments, in a forked process and in `folder`/cwd; a hang fails the test."""
    for name in ("cwd", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    process = CONTEXT.Process(target=_child, args=(folder, [str(a) for a in arguments]))
    process.start()
    process.join(SECONDS)
    hangs = process.is_alive()
    if hangs:
        process.kill()
        process.join()
    output = (folder / "output").read_text(errors="replace")
    (folder / "output").unlink()
    assert not hangs, f"still running after {SECONDS} s: {output}"
    assert process.exitcode is not None
    return Call(process.exitcode, output)


def _child(folder: Path, arguments: list[str]) -> None:
    os.chdir(folder / "cwd")
    tempfile.tempdir = str(folder / "tmp")
    with (folder / "output").open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    torch.set_num_threads(1)
    gc.disable()  # it would copy all that the processes share
    sys.argv = ["segbench", *arguments]
    main()


def contents(folder: Path, without: tuple[str, ...] = ()) -> dict[str, str]:
    """What each path below `folder` holds; but for what lies in these of its folders."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.split("/")[0] not in without:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return found


def check(folder: Path, named: list[str], *arguments: str | Path, out: str = "out") -> Call:
    """The call works, or says what is wrong and where, and what to do; it writes into `out` and `state` only,
    and nothing half-done stays.

    `named`: words of which the message has at least one.
    """
    (folder / "cwd").mkdir(exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    beside, before = sorted(folder.parent.iterdir()), contents(folder, (out, "state"))
    result = call(folder, *arguments)
    assert sorted(folder.parent.iterdir()) == beside, "wrote beside its folder"
    assert contents(folder, (out, "state")) == before, "wrote outside of its folders"
    left = [n for n in contents(folder / out) if re.search(r"(^|/)\.(?!locks\b)", n)]
    assert not left, f"half-done files stay: {left}"
    assert "Traceback" not in result.output, result.output
    if result.status:
        assert result.status == 1, result
        assert "error: " in result.output and "remedy: " in result.message, result.output
        assert any(word in result.message for word in named), result.output
    return result
