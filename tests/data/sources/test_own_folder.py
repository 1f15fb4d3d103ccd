from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from segbench.data.sources import own_folder
from segbench.data.sources.own_folder import digest, read_by


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own" / "inner").mkdir(parents=True)
    (tmp_path / "own" / "inner" / "a.json").write_text("{}")
    (tmp_path / "own" / "b.png").write_bytes(b"b")
    return tmp_path / "own"


def test_content_decides_and_times_do_not(folder: Path, tmp_path: Path) -> None:
    cache, file = tmp_path / "cache", folder / "inner" / "a.json"
    first = digest(folder, cache)
    stat = file.stat()
    os.utime(file, (1, 1))
    assert digest(folder, cache) == first
    file.write_text("[]")  # the same length
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digest(folder, cache) != first
    file.write_text("{}")
    assert digest(folder, cache) == first
    shutil.rmtree(cache)
    assert digest(folder, cache) == first


def test_names_count_and_files_of_other_systems_do_not(folder: Path, tmp_path: Path) -> None:
    first = digest(folder, tmp_path / "cache")
    for name in (".DS_Store", "._b.png", "Thumbs.db", "desktop.ini", "@eaDir/b.png", "__MACOSX/b.png"):
        (folder / "inner" / name).parent.mkdir(exist_ok=True)
        (folder / "inner" / name).touch()
    assert digest(folder, tmp_path / "cache") == first
    (folder / "b.png").rename(folder / "c.png")
    assert digest(folder, tmp_path / "cache") != first


def test_a_file_is_read_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    content = own_folder._content
    monkeypatch.setattr(own_folder, "_content", lambda path: read.append(path.name) or content(path))
    digest(folder, tmp_path / "cache")
    (folder / "b.png").write_bytes(b"new")
    digest(folder, tmp_path / "cache")
    assert sorted(read) == ["a.json", "b.png", "b.png"]


def test_a_damaged_cache_and_an_empty_folder(folder: Path, tmp_path: Path) -> None:
    first = digest(folder, tmp_path / "cache")
    (cache,) = (tmp_path / "cache").iterdir()
    for damage in ("{", "[]", "null", '{"b.png": 1}'):
        cache.write_text(damage)
        assert digest(folder, tmp_path / "cache") == first
    assert digest(tmp_path / "nothing", tmp_path / "cache") != first


def test_csv_files_count_where_an_option_of_the_conversion_names_them(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    (folder / "tables").mkdir(parents=True)
    cases, patients = folder / "tables/cases.csv", folder / "patients.CSV"
    columns = {"file": "tables/cases.csv", "columns": ["scanner"]}
    options = {"folder": str(folder), "metadata": columns}
    pairs = "segbench.data.converters.pairs:convert"

    def seen(convert: str, options: dict) -> str:
        return digest(folder, tmp_path / "cache", counts=read_by(convert, options))

    grouped = options | {"group": {"file": "tables/cases.csv", "column": "patient"}}
    before = seen(pairs, options), seen(pairs, grouped), seen("mine:convert", options)
    cases.write_text("image,scanner\n")
    patients.write_text("image\n")
    after = seen(pairs, options), seen(pairs, grouped), seen("mine:convert", options)
    assert [a == b for a, b in zip(before, after)] == [True, False, False]
    assert seen(pairs, {"folder": str(folder)}) == before[0]
    (folder / "a.png").write_text("image")
    assert seen(pairs, options) != before[0]
