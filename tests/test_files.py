from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segbench.errors import SegbenchError
from segbench.files import UNFINISHED, atomic_folder, atomic_path, read_json, write_json


def test_a_file_appears_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with pytest.raises(ZeroDivisionError), atomic_path(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert list(path.parent.iterdir()) == []
    with atomic_path(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_an_older_folder_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with atomic_folder(folder) as partial:
        (partial / "old").touch()
    with pytest.raises(ZeroDivisionError), atomic_folder(folder) as partial:
        (partial / "new").touch()
        raise ZeroDivisionError
    assert [p.name for p in folder.iterdir()] == ["old"]
    with atomic_folder(folder) as partial:
        (partial / "new").touch()
    assert [p.name for p in folder.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


KILLED = """
import os, signal, sys
from pathlib import Path
from segbench.files import UNFINISHED, atomic_folder, atomic_path
make = atomic_folder if sys.argv[2] == "folder" else atomic_path
with make(Path(sys.argv[1])) as partial:
    (partial / "inner").mkdir() if partial.is_dir() else partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path, kind: str) -> None:
    """Also one of another file; work of a process that lives stays."""
    assert subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a", kind], check=False).returncode == -9
    left = list((tmp_path / UNFINISHED).iterdir())
    assert len(left) == 2 and not (tmp_path / "a").exists()
    with atomic_folder(tmp_path / "c") as alive:
        (alive / "whole").touch()
        write_json(tmp_path / "b.json", 1)
        assert not any(path.exists() for path in left)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["b.json", "c", "c/whole"]


def test_writers_of_one_place_at_once(tmp_path: Path) -> None:
    """Nobody takes another's files, and nothing stays."""

    def work(number: int) -> None:
        for _ in range(20):
            with atomic_folder(tmp_path / "same") as folder:
                write_json(folder / "a.json", number)
            write_json(tmp_path / f"{number}.json", number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert read_json(tmp_path / "same" / "a.json") in range(4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.json", "1.json", "2.json", "3.json", "same"]


def test_json_survives_and_a_broken_file_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "vénule"})
    assert read_json(tmp_path / "a.json") == {"name": "vénule"}
    (tmp_path / "b.json").write_text('{"a": ')
    with pytest.raises(SegbenchError, match=r"b\.json: is not valid JSON"):
        read_json(tmp_path / "b.json")
    with pytest.raises(SegbenchError, match=r"c\.json: cannot be read \(No such file"):
        read_json(tmp_path / "c.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_with_a_byte_order_mark(tmp_path: Path, encoding: str):
    (tmp_path / "a.json").write_text('{"label": "核"}', encoding=encoding)
    assert read_json(tmp_path / "a.json") == {"label": "核"}


def test_json_in_another_encoding(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text('{"label": "细胞核"}', encoding="gbk")
    assert read_json(path, "gbk") == {"label": "细胞核"}
    with pytest.raises(SegbenchError, match=r"a\.json: is not text in UTF-8, perhaps gbk.*\n.*in UTF-8$"):
        read_json(path)
    with pytest.raises(SegbenchError, match="or name its `encoding` in the dataset's options"):
        read_json(path, "utf-8")
    with pytest.raises(SegbenchError, match="is not text in UTF-8 nor ascii"):
        read_json(path, "ascii")
    path.write_text('{"label": "核"}', encoding="utf-8")  # one of UTF-8 among those of another encoding
    assert read_json(path, "gbk") == {"label": "核"}


def test_bytes_that_are_no_text(tmp_path: Path):
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SegbenchError, match=r"a\.json: is not"):
        read_json(tmp_path / "a.json")
