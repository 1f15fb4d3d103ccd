"""Safe extraction of zip and tar archives, which may come from anywhere.

Refused, with the archive and the entry named: entries that would land outside the folder, links of any kind
(also those that stay inside: none of the known sources has any), devices, two entries of one name (also where
they differ in case or Unicode form only), encrypted or damaged entries, and anything beyond `Limits`.
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
"""Bytes that may always be extracted: small archives of flat label maps shrink a thousandfold."""
HEADER_LIMIT = 2**20
"""Largest long-name or extended header of a tar, which is read into memory."""

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
    """Whether `path` is to be extracted: a zip or a tar by content, or one by name, whatever it holds."""
    return path.name.lower().endswith(SUFFIXES) or _kind(path) is not None


def extract(archive: Path, target: Path, limits: Limits = _DEFAULT) -> Path:
    """Extract a zip or tar (plain, gzip, bzip2, xz), told apart by content, into the folder `target`.

    A zip inside (`annotations/masks.zip`) is replaced by a folder named after it (`annotations/masks/`) with
    its contents. Hidden files and those of other systems (`is_junk`) are skipped; permissions and times
    are not kept. `target` appears (or replaces an older one) when everything is there, else stays as it was.
    """
    if not archive.is_file():
        raise SegbenchError("is not there", where=archive, remedy="fetch it again")
    with atomic_folder(target) as partial:
        extraction = _Extraction(archive, partial, limits)
        extraction.run(archive, PurePosixPath(), depth=0)
        if not extraction.written:
            raise SegbenchError("holds no files", where=archive, remedy="fetch it again")
    return target


def _kind(path: Path) -> str | None:
    """'zip', 'tar' or None, by content. A zip is known by its start, so that a truncated one is still one."""
    with path.open("rb") as file:
        if file.read(4) in (b"PK\x03\x04", b"PK\x05\x06"):
            return "zip"
    try:
        with tarfile.open(path, tarinfo=_Header):
            return "tar"
    except (*_DAMAGED, OSError):
        return None


class _Header(tarfile.TarInfo):
    """Python ends a tar quietly at the first damaged header; this says so, and refuses huge headers."""

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
    """One archive on its way into `folder`, and what has come out of it so far."""

    def __init__(self, archive: Path, folder: Path, limits: Limits) -> None:
        self.archive, self.folder, self.limits = archive, folder, limits
        self.entries = self.bytes = 0
        self.max_bytes = min(
            limits.max_bytes, max(RATIO_FLOOR, int(archive.stat().st_size * limits.max_ratio))
        )
        self._nested: list[PurePosixPath] = []
        self._spelling: dict[str, str] = {}
        self.written: set[PurePosixPath] = set()

    def refuse(self, what: str, remedy: str = "do not use this archive, or make it anew") -> SegbenchError:
        return SegbenchError(what, where=self.archive, remedy=remedy)

    def run(self, path: Path, prefix: PurePosixPath, depth: int) -> None:
        inside = f" (in {prefix}.zip inside)" if depth else ""
        kind = _kind(path)
        if kind is None:
            with path.open("rb") as file:
                start = file.read(16)
            raise self.refuse(
                f"is no zip or tar archive, or a damaged one (it starts with {start!r})", "fetch it again"
            )
        self._nested = []
        with self._damage_named(inside):
            self._zip(path, prefix) if kind == "zip" else self._tar(path, prefix)
        for name in self._nested:  # this list, while the recursion below begins its own
            if depth == self.limits.max_depth:
                raise self.refuse(
                    f"holds archives more than {depth} deep ({name})", "raise `limits.max_depth`"
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
                        "decrypt the archive and put it there without a password",
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
                pass  # to the end of the compressed stream, where its checksum stands

    def _check_total(self, entries: int, size: int) -> None:
        if self.entries + entries > self.limits.max_files:
            raise self.refuse(
                f"holds more than {self.limits.max_files} entries", "raise `limits.max_files` if you trust it"
            )
        if self.bytes + size > self.max_bytes:
            key = "max_bytes" if self.max_bytes == self.limits.max_bytes else "max_ratio"
            raise self.refuse(
                f"extracts to more than {self.max_bytes} bytes ({key} = {getattr(self.limits, key):g})",
                f"raise `limits.{key}` if you trust it",
            )

    def _admit(self, raw: str, prefix: PurePosixPath, is_dir: bool, size: int) -> PurePosixPath | None:
        """The entry's path below the folder; None where it is to be left out. Errors for unsafe names."""
        name = raw.replace("\\", "/")  # zips made on Windows
        parts = [p for p in name.split("/") if p not in ("", ".")]
        if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in parts:
            raise self.refuse(f"entry {raw!r} would land outside the folder")
        if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", name) or (not parts and not is_dir):
            raise self.refuse(f"entry {raw!r} has no valid name")
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
        """One name, one entry: else the later one wins, and what is on disk depends on the file system."""
        for part in [path, *path.parents][:-1]:
            spelling = str(part)
            key = unicodedata.normalize("NFC", spelling).casefold()
            known = self._spelling.setdefault(key, spelling)
            if known != spelling:
                raise self.refuse(f"entries {known!r} and {spelling!r} differ in case only")
        if path in self.written or any(p in self.written for p in path.parents):
            raise self.refuse(f"entry {str(path)!r} is there twice")
        if not is_dir:
            if (self.folder / path).is_dir():
                raise self.refuse(f"entry {str(path)!r} is there twice, as a file and as a folder")
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
