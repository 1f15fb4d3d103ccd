from __future__ import annotations

import errno
from pathlib import Path

import pytest

from segbench.contract.sources import Archive
from segbench.data.sources.borrow import borrowed
from segbench.errors import SegbenchError


@pytest.fixture
def upstream(tmp_path: Path) -> dict[Path, Archive]:
    """Two archives at upstream, to be fetched into `archives/`."""
    (tmp_path / "upstream").mkdir()
    found = {}
    for name in ("a.zip", "b.zip"):
        (tmp_path / "upstream" / name).write_text(name)
        found[tmp_path / "archives" / name] = Archive(url=(tmp_path / "upstream" / name).as_uri())
    return found


def left(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "archives").iterdir() if p.is_file())


def test_archives_are_there_in_the_block_only(tmp_path: Path, upstream: dict[Path, Archive]) -> None:
    with borrowed(upstream):
        assert {path.read_text() for path in upstream} == {"a.zip", "b.zip"}
    assert left(tmp_path) == []
    assert len(list((tmp_path / "upstream").iterdir())) == 2


def test_what_a_user_has_put_there_stays(tmp_path: Path, upstream: dict[Path, Archive]) -> None:
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "a.zip").write_text("by hand")
    for _ in range(2):
        with borrowed(upstream):
            pass
        assert (tmp_path / "archives" / "a.zip").read_text() == "by hand"
        assert not (tmp_path / "archives" / "b.zip").exists()


@pytest.mark.parametrize("stop", [SystemExit(75), OSError(errno.ENOSPC, "full"), MemoryError()])
def test_an_interrupted_block_goes_on_without_fetching_again(
    tmp_path: Path, upstream: dict[Path, Archive], stop: BaseException
) -> None:
    with pytest.raises(type(stop)), borrowed(upstream):
        raise stop
    assert [name for name in left(tmp_path) if name.endswith("zip")] == ["a.zip", "b.zip"]
    for name in ("a.zip", "b.zip"):
        (tmp_path / "upstream" / name).unlink()
    with borrowed(upstream):
        pass
    assert left(tmp_path) == []


def test_after_an_error_nothing_stays(tmp_path: Path, upstream: dict[Path, Archive]) -> None:
    with pytest.raises(SegbenchError), borrowed(upstream):
        raise SegbenchError("a damaged archive")
    assert left(tmp_path) == []


def test_a_failed_fetch_keeps_what_is_complete(tmp_path: Path, upstream: dict[Path, Archive]) -> None:
    (tmp_path / "upstream" / "b.zip").unlink()
    with pytest.raises(SegbenchError, match=r"b\.zip"), borrowed(upstream):
        raise AssertionError("not reached")
    assert "a.zip" in left(tmp_path)
