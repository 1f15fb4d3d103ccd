from __future__ import annotations

from pathlib import Path

import pytest

from segbench.errors import SegbenchError
from segbench.files import atomic_folder, atomic_path, read_json, write_json


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


def test_json_survives_and_a_broken_file_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "vénule"})
    assert read_json(tmp_path / "a.json") == {"name": "vénule"}
    (tmp_path / "b.json").write_text('{"a": ')
    with pytest.raises(SegbenchError, match=r"b\.json: is not valid JSON"):
        read_json(tmp_path / "b.json")
    with pytest.raises(SegbenchError, match=r"c\.json: cannot be read \(No such file"):
        read_json(tmp_path / "c.json")
