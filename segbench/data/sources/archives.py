"""Safe extraction of zip and tar archives from untrusted sources.

An archive is refused, with an error that names the archive and the entry, for: entries outside of the folder,
links of any kind, devices, two entries with one name (or names that differ only in case or Unicode form),
encrypted or damaged entries, and everything beyond `Limits`.

One set of rules serves zip and tar. `tarfile.data_filter` does not: it renames absolute entries instead of
refusing them, keeps links, and knows neither limits nor names that occur twice.
"""

from __future__ import annotations

import lzma
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from segbench.contract.limits import Limits
from segbench.data.junk import is_junk
from segbench.errors import SegbenchError
from segbench.files import atomic_folder

SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
RATIO_FLOOR = 100 * 2**20
"""Bytes that any archive may extract to: label maps compress by a factor of a thousand."""
HEADER_LIMIT = 2**20
"""Largest long-name or extended header of a tar in bytes. Headers are read into memory."""

_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ValueError,
    OverflowError,
    NotImplementedError,  # a compression method that Python does not know
)


_DEFAULT = Limits()


def is_archive(path: Path) -> bool:
    """Return whether `path` is a zip or tar, by its content or by its name. A folder is none."""
    if path.is_dir():
        return False
    return path.name.lower().endswith(SUFFIXES) or _kind(path) is not None


def extract(archive: Path, target: Path, limits: Limits = _DEFAULT) -> Path:
    """Extract a zip or tar (plain, gzip, bzip2, xz; detected by content).

    A zip inside (`annotations/masks.zip`) is replaced by a folder of its name (`annotations/masks/`) with its
    contents. Junk (`is_junk`) is skipped. Permissions and times are not kept.

    Args:
        archive: the file.
        target: folder to write; it appears, or is replaced, only when the extraction is complete.
        limits: largest size, number of files and depth.

    Returns:
        `target`.

    Raises:
        SegbenchError: the archive is missing, unsafe, damaged or beyond the limits.
    """
    if not archive.is_file():
        raise SegbenchError("does not exist", where=archive, remedy="fetch it again")
    with atomic_folder(target) as partial:
        extraction = _Extraction(archive, partial, limits)
        extraction.run(archive, PurePosixPath(), depth=0)
        if not extraction.written:
            raise SegbenchError("contains no files", where=archive, remedy="fetch it again")
    return target


def _kind(path: Path) -> str | None:
    """Return 'zip', 'tar' or None, by content. A zip is detected by its start, as it may be truncated."""
    with path.open("rb") as file:
        if file.read(4) in (b"PK\x03\x04", b"PK\x05\x06"):
            return "zip"
    try:
        with tarfile.open(path, tarinfo=_Header):
            return "tar"
    except (*_DAMAGED, OSError):
        return None


class _Header(tarfile.TarInfo):
    """Raises an error for a damaged header, where Python silently ends, and for huge headers."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # the regular end
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0 or (self.type in b"xgXLK" and self.size > HEADER_LIMIT):
            raise tarfile.ReadError(f"header of {self.size} bytes")
        return super()._proc_member(tar)  # type: ignore[misc]


class _Extraction:
    """Extracts one archive, and counts what it has extracted so far."""

    def __init__(self, archive: Path, folder: Path, limits: Limits) -> None:
        self.archive, self.folder, self.limits = archive, folder, limits
        self.entries = self.bytes = 0
        self.max_bytes = min(
            limits.max_bytes, max(RATIO_FLOOR, int(archive.stat().st_size * limits.max_ratio))
        )
        self._nested: list[PurePosixPath] = []
        self._spelling: dict[str, str] = {}
        self.written: set[PurePosixPath] = set()

    def refuse(self, what: str, remedy: str = "do not use this archive, or create it again") -> SegbenchError:
        return SegbenchError(what, where=self.archive, remedy=remedy)

    def run(self, path: Path, prefix: PurePosixPath, depth: int) -> None:
        inside = f" (in {prefix}.zip inside)" if depth else ""
        kind = _kind(path)
        if kind is None:
            with path.open("rb") as file:
                start = file.read(16)
            raise self.refuse(
                f"is not a zip or tar archive, or is damaged (it starts with {start!r})", "fetch it again"
            )
        self._nested = []
        with self._damage_named(inside):
            self._zip(path, prefix) if kind == "zip" else self._tar(path, prefix)
        for name in self._nested:  # the recursion below starts its own list
            if depth == self.limits.max_depth:
                raise self.refuse(
                    f"contains archives more than {depth} levels deep ({name})", "raise `limits.max_depth`"
                )
            self.run(self.folder / name, name.with_suffix(""), depth + 1)
            (self.folder / name).unlink()

    @contextmanager
    def _damage_named(self, inside: str) -> Iterator[None]:
        try:
            yield
        except (*_DAMAGED, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # gzip and bzip2 raise it without
                raise self.refuse(
                    f"cannot be extracted{inside} ({error.strerror})",
                    "check the disk's space and permissions",
                ) from error
            what = f"is truncated or damaged{inside} ({str(error) or type(error).__name__})"
            raise self.refuse(what, "fetch it again") from error

    def _zip(self, path: Path, prefix: PurePosixPath) -> None:
        with zipfile.ZipFile(path) as source:
            self._check_total(len(source.infolist()), sum(i.file_size for i in source.infolist()))
            for info in source.infolist():
                mode = stat.S_IFMT(info.external_attr >> 16)
                if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise self.refuse(f"entry {info.filename!r} is a link or a device")
                if info.flag_bits & 0x1:
                    raise self.refuse(
                        f"entry {info.filename!r} is encrypted",
                        "replace the archive with one that has no password",
                    )
                is_dir = info.filename.endswith(("/", "\\"))
                name = self._admit(info.filename, prefix, is_dir, info.file_size)
                if name is not None and not is_dir:
                    with source.open(info) as stream:
                        self._write(name, stream, info.file_size)

    def _tar(self, path: Path, prefix: PurePosixPath) -> None:
        with tarfile.open(path, tarinfo=_Header) as source:
            for info in source:
                if not (info.isreg() or info.isdir()):
                    raise self.refuse(
                        f"entry {info.name!r} is a link or a device",
                        "archive the files themselves (`tar --dereference`)",
                    )
                name = self._admit(info.name, prefix, info.isdir(), info.size)
                if name is not None and info.isreg():
                    stream = source.extractfile(info)
                    assert stream is not None
                    self._write(name, stream, info.size)
            while source.fileobj is not None and source.fileobj.read(2**20):
                pass  # read to the end of the compressed stream, where its checksum is

    def _check_total(self, entries: int, size: int) -> None:
        if self.entries + entries > self.limits.max_files:
            raise self.refuse(
                f"contains more than {self.limits.max_files} entries",
                "raise `limits.max_files` if you trust it",
            )
        if self.bytes + size > self.max_bytes:
            key = "max_bytes" if self.max_bytes == self.limits.max_bytes else "max_ratio"
            raise self.refuse(
                f"extracts to more than {self.max_bytes} bytes ({key} = {getattr(self.limits, key):g})",
                f"raise `limits.{key}` if you trust it",
            )

    def _admit(self, raw: str, prefix: PurePosixPath, is_dir: bool, size: int) -> PurePosixPath | None:
        """Return the path of an entry in the folder, or None to skip it. SegbenchError for unsafe names."""
        name = raw.replace("\\", "/")  # zips made on Windows
        parts = [p for p in name.split("/") if p not in ("", ".")]
        if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in parts:
            raise self.refuse(f"entry {raw!r} would be written outside of the folder")
        if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", name) or (not parts and not is_dir):
            raise self.refuse(f"entry {raw!r} does not have a valid name")
        if not parts or is_junk(parts):
            return None
        self._check_total(1, size)
        self.entries += 1
        self.bytes += size
        path = prefix.joinpath(*parts)
        self._check_clash(path, is_dir)
        if is_dir:
            (self.folder / path).mkdir(parents=True, exist_ok=True)
        return path

    def _check_clash(self, path: PurePosixPath, is_dir: bool) -> None:
        """Refuse two entries with one name: the file system would decide which of them is written."""
        for part in [path, *path.parents][:-1]:
            spelling = str(part)
            key = unicodedata.normalize("NFC", spelling).casefold()
            known = self._spelling.setdefault(key, spelling)
            if known != spelling:
                raise self.refuse(f"entries {known!r} and {spelling!r} differ only in case")
        if path in self.written or any(p in self.written for p in path.parents):
            raise self.refuse(f"entry {str(path)!r} occurs twice")
        if not is_dir:
            if (self.folder / path).is_dir():
                raise self.refuse(f"entry {str(path)!r} occurs twice, as a file and as a folder")
            self.written.add(path)

    def _write(self, name: PurePosixPath, stream: IO[Any], size: int) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            shutil.copyfileobj(stream, file, 2**20)
            if file.tell() != size:
                raise EOFError(f"{name} has {file.tell()} of {size} bytes")
        if name.suffix.lower() == ".zip" and _kind(path) == "zip":
            self._nested.append(name)
