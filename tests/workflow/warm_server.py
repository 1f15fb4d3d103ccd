"""Start snakemake and segbench without importing their libraries anew, which takes longer than a tiny run.

`WarmServer` starts this file as a process that imports the libraries, but no module of segbench, and forks a
child for each command. `bin/segbench` in the project's folder hands its arguments, environment and open files
to it. Commands that a test kills must be started as usual: a child is in no process group of its caller.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn

LIBRARIES = ("matplotlib.pyplot", "pandas", "pyarrow.parquet", "pycocotools.mask", "pydantic", "scipy.stats")
LIBRARIES += ("scipy.ndimage", "seaborn", "snakemake.cli", "timm", "torch", "torchvision.transforms.v2")
CLIENT = """#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = {{"command": "segbench", "arguments": sys.argv[1:]}}
request |= {{"folder": os.getcwd(), "environment": dict(os.environ)}}
socket.send_fds(server, [b"f"], [0, 1, 2])
server.sendall(json.dumps(request).encode() + b"\\n")
sys.exit(int(server.makefile().readline() or 1))
"""


class WarmServer:
    """Run commands by a process that has imported the libraries.

    Args:
        folder: empty folder for its socket.
    """

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "socket")
        self._process = subprocess.Popen(
            [sys.executable, __file__, self.address],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout and self._process.stdout.readline() == "ready\n"

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()

    def write_client(self, folder: Path) -> Path:
        """Write `bin/segbench` in the folder, and `bin/python` beside it; return the latter."""
        (folder / "bin").mkdir()
        python = folder / "bin/python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        client = folder / "bin/segbench"
        client.write_text(CLIENT.format(python=sys.executable, address=self.address))
        for path in (python, client):
            path.chmod(0o755)
        return python

    def run(
        self, command: str, arguments: list[str], folder: Path, environment: dict[str, str], python: Path
    ) -> subprocess.CompletedProcess[str]:
        """Run `snakemake` or `segbench` in a folder; jobs use the `segbench` beside `python`."""
        request = {
            "command": command,
            "arguments": arguments,
            "folder": str(folder),
            "environment": environment,
            "python": str(python),
        }
        outputs = [Path(self.address).parent / name for name in ("stdout", "stderr")]
        with socket.socket(socket.AF_UNIX) as server, Path(os.devnull).open() as nothing:
            server.connect(self.address)
            with outputs[0].open("w") as out, outputs[1].open("w") as errors:
                socket.send_fds(server, [b"f"], [nothing.fileno(), out.fileno(), errors.fileno()])
            server.sendall(json.dumps(request).encode() + b"\n")
            status = int(server.makefile().readline() or 1)
        texts = [path.read_text() for path in outputs]
        return subprocess.CompletedProcess([command, *arguments], status, *texts)


def serve(address: str) -> None:
    for library in LIBRARIES:
        __import__(library)
    gc.freeze()  # collections in the children leave the memory of the libraries shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while True:
            caller, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                os._exit(_attend(caller))
            caller.close()


def _attend(caller: socket.socket) -> int:
    """Run one command in a child, and send its status to the caller; end it if the caller is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(caller, 1, 3)
    request = json.loads(caller.makefile().readline())
    child = os.fork()
    if child == 0:
        caller.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        _run(request)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(child)
    ready, _, _ = select.select([ended, caller], [], [])
    if ended not in ready:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    caller.sendall(f"{status if status >= 0 else 128 - status}\n".encode())
    return 0


def _run(request: dict) -> NoReturn:
    os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[:0] = request["environment"]["PYTHONPATH"].split(os.pathsep)
    sys.argv = [request["command"], *request["arguments"]]
    sys.executable = request.get("python", sys.executable)
    if request["command"] == "snakemake":
        from snakemake.cli import main
    else:
        from segbench.cli import main
    try:
        status = main()
    except SystemExit as error:
        status = error.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    # what Python does at its end, but for freeing all objects of the libraries, which would copy their memory
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    serve(sys.argv[1])
