"""Archives that stay on the disk only while a dataset is converted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from segbench.contract.sources import Archive, Provenance
from segbench.data.sources.fetch import fetch_archive
from segbench.files import is_continued, read_json, write_text
from segbench.jobs.locks import alone_with


@contextmanager
def borrowed(archives: Mapping[Path, Archive], mirror: str | None = None) -> Iterator[None]:
    """Fetch archives for the block, and remove them at its end.

    Archives that a user has put in place stay. If the process is killed, told to stop or runs out of memory
    or disk, all stay for the next call; after any other error of the block, the fetched ones are removed.

    Args:
        archives: file to write -> address and checksum.
        mirror: see `fetch_archive`.

    Raises:
        SegbenchError: an archive cannot be fetched. Those that were fetched before stay.
    """
    with ExitStack() as locks:
        for path in sorted(archives):  # in order: two datasets that share archives wait for each other
            locks.enter_context(alone_with(path))
        ours = [path for path, archive in archives.items() if _fetched(path, archive, mirror)]
        try:
            yield
        except Exception as error:
            if not is_continued(error):
                _remove(ours)
            raise
        _remove(ours)


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _fetched(path: Path, archive: Archive, mirror: str | None) -> bool:
    """Fetch an archive, unless an earlier call has. Return False if the user put it there."""
    record = _record(path)
    if path.exists() and record.exists():
        provenance = Provenance.model_validate(read_json(record))
    else:
        provenance = fetch_archive(path.name, archive, path, mirror)
        write_text(record, provenance.model_dump_json(indent=2) + "\n")
    return provenance.source != "by hand"


def _remove(paths: list[Path]) -> None:
    for path in paths:  # the archive first: one without a record would be taken for the user's
        path.unlink(missing_ok=True)
        _record(path).unlink(missing_ok=True)
