from __future__ import annotations

from pathlib import Path

import pytest

from segbench.data.junk import is_junk, listed


@pytest.mark.parametrize(
    "name", ["._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", "@eaDir", "__MACOSX", ".ipynb_checkpoints"]
)
def test_files_of_other_systems(tmp_path: Path, name: str):
    assert is_junk([name]) and is_junk(["sub", name, "a.png"])
    (tmp_path / name).mkdir()
    (tmp_path / name / "a.png").touch()
    (tmp_path / "b.png").touch()
    assert listed(tmp_path, "**/*.png") == [tmp_path / "b.png"]


def test_others_are_meant(tmp_path: Path):
    hidden = tmp_path / ".cache" / "set"  # the path of the folder itself does not count
    hidden.mkdir(parents=True)
    (hidden / "thumbs.png").touch()
    assert [p.name for p in listed(hidden)] == ["thumbs.png"]
