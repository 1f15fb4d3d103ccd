"""Hash of a user's own folder, to detect changes since a dataset was converted.

Times alone are not enough: unpacking, `rsync -t` and `cp -p` keep old times for new content, and a copy of
the same content has a new time. So the content is hashed. A file is read again only if its size, mtime or
ctime changed; programs that copy files cannot set ctime.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from segbench.data.junk import is_junk
from segbench.errors import SegbenchError
from segbench.files import read_json, write_json


def digest(
    folder: Path,
    cache: Path | None = None,
    files: Iterable[Path] | None = None,
    *,
    counts: Callable[[Path], bool] = lambda path: True,
) -> str:
    """Return a hash of the names and contents of the files below `folder`, without junk.

    Args:
        folder: the folder.
        cache: folder that stores the hashes of files that were read before; None: all files are read.
        files: the files that count, most of them in `folder`; None: all below it.
        counts: whether a file counts, by its absolute path.

    Raises:
        SegbenchError: a file cannot be read.
    """
    root = folder.absolute()
    key = f"{root}" if files is None else f"{root}: some files"
    name = f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    remembered = cache / name if cache else None
    before: Any = {}
    with suppress(SegbenchError):
        before = read_json(remembered) if remembered and remembered.exists() else {}
    before = before if isinstance(before, dict) else {}
    found: dict[str, list[Any]] = {}
    for path in filter(counts, _all_below(root) if files is None else files):
        inner = str(path).removeprefix(f"{folder}{os.sep}").removeprefix(f"{root}{os.sep}")
        stat = path.stat()
        seen = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        known = before.get(inner)
        same = isinstance(known, list) and len(known) == 4 and known[:3] == seen
        found[inner] = known if same else [*seen, _content(path)]
    if remembered and found != before:
        with suppress(OSError):  # only a cache
            write_json(remembered, found, indent=None)
    content = json.dumps({name: of[3] for name, of in found.items()})
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def read_by(convert: str, options: Mapping[str, Any]) -> Callable[[Path], bool]:
    """Return a function that says whether a conversion may read a file of the dataset's folder.

    Our converters read no CSV file but those that an option names, such as that of `group`. That of
    `metadata` is for the report, and so may be others; a change of them converts nothing again.

    Args:
        convert: Python path of the converter.
        options: its options.
    """
    if not convert.startswith("segbench.data.converters."):
        return lambda path: True
    folder = Path(str(options.get("folder"))).expanduser().absolute()
    named = {folder / text for text in _texts({k: v for k, v in options.items() if k != "metadata"})}
    return lambda path: path.suffix.lower() != ".csv" or path in named


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(one)


def _all_below(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        if not is_junk(path.relative_to(root).parts) and path.is_file():
            yield path


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    except OSError as error:
        raise SegbenchError(
            f"cannot be read ({error.strerror})", where=path, remedy="check its permissions, or remove it"
        ) from error
