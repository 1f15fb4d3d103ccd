"""The fetch step: get an archive from a mirror or from upstream, and verify its checksum."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote, urlsplit

from segbench.contract.sources import Archive, Provenance, local_path
from segbench.data.sources.download import Unreachable, discard, download, exists
from segbench.errors import SegbenchError
from segbench.files import atomic_path, scratch

log = logging.getLogger(__name__)

SUMS = "SHA256SUMS"
RETRIES = 5
TIMEOUT = 30.0
PAUSE = 1.0


class _Patience(NamedTuple):
    """Arguments of `download`."""

    retries: int
    timeout: float
    pause: float


def fetch_archive(
    name: str,
    archive: Archive,
    out: Path,
    mirror: str | None = None,
    *,
    retries: int = RETRIES,
    timeout: float = TIMEOUT,
    pause: float = PAUSE,
) -> Provenance:
    """Get an archive from the first source that has it: `out` itself, the mirror, upstream.

    Files of the mirror must fit its `SHA256SUMS`, not the checksum of upstream: a mirror may have a smaller
    version of a dataset. Files of a folder become hard links if the file system allows it, else copies.

    Args:
        name: file name of the archive.
        archive: its address and checksum.
        out: file to write. If it exists, for instance because the user put it there, it is verified and kept.
        mirror: a folder, or a file:// or http address.
        retries, timeout, pause: see `download`.

    Returns:
        Where the archive came from.

    Raises:
        SegbenchError: no source has the archive, or its checksum is wrong. It says how else to get the file.
    """
    patience = _Patience(retries, timeout, pause)
    mirrored = _mirror_checksum(name, mirror, out, patience) if mirror else None
    if out.exists():
        discard(_part(out))  # of a process that was killed after the rename
        return _accept(name, archive, out, mirrored)
    if mirror and mirrored:
        address = _join(mirror, name)
        try:
            sha256 = _retrieve(address, out, mirrored, patience)
            return _provenance(name, "mirror", address, out, sha256, mirrored)
        except Unreachable as error:
            if not error.missing:
                raise _unusable(mirror, name, error) from error
            log.warning("%s: the mirror lists it but does not have it; fetching it from upstream", name)
    remedy = f"set `mirror:` to a folder or an address that has {name}, or put the file at {out}"
    if archive.url is None:
        raise SegbenchError(
            f"cannot be downloaded automatically: {archive.manual}", where=name, remedy=remedy
        )
    try:
        sha256 = _retrieve(archive.url, out, archive.checksum, patience)
    except Unreachable as error:
        raise SegbenchError(
            f"cannot be fetched from {archive.url} ({error})", where=name, remedy=remedy
        ) from error
    if archive.checksum is None:
        log.warning("%s: not verified, as no checksum is known; it has sha256:%s", name, sha256)
    return _provenance(name, "upstream", archive.url, out, sha256, archive.checksum)


def _accept(name: str, archive: Archive, out: Path, mirrored: str | None) -> Provenance:
    """Accept an existing file `out` if it has the checksum of the mirror or of upstream, or none is known."""
    sha256 = _digest(out, "sha256")
    known = [c for c in (mirrored, archive.checksum) if c]
    if not known:
        log.warning(
            "%s: using the existing file %s; not verified, as no checksum is known; it has sha256:%s",
            name,
            out,
            sha256,
        )
        return _provenance(name, "by hand", None, out, sha256, None)
    got = [_checksum_by(checksum, out, sha256) for checksum in known]
    for checksum, actual in zip(known, got):
        if actual.startswith(checksum):
            return _provenance(name, "by hand", None, out, sha256, checksum)
    raise _wrong(out, " or ".join(known), got[-1], "remove it, so that it is fetched again")


def _retrieve(address: str, out: Path, checksum: str | None, patience: _Patience) -> str:
    """Link, copy or download `address` to `out` and verify it. Return its SHA-256. Raises Unreachable."""
    local = local_path(address)
    if local is None:
        part = _part(out)
        download(address, part, **patience._asdict())
        sha256 = _digest(part, "sha256")
        if checksum and not (got := _checksum_by(checksum, part, sha256)).startswith(checksum):
            discard(part)
            raise _wrong(
                address, checksum, got, "try again; if the error persists, the published file has changed"
            )
        part.replace(out)
        discard(part)
        return sha256
    if not local.is_file():
        raise Unreachable("no such file", missing=True)
    sha256 = _digest(local, "sha256")
    if checksum and not (got := _checksum_by(checksum, local, sha256)).startswith(checksum):
        raise _wrong(local, checksum, got, "replace the file, or correct the checksum if the file is right")
    with atomic_path(out) as partial:
        try:
            os.link(local.resolve(), partial)
        except OSError:  # another file system, or one without hard links
            try:
                shutil.copyfile(local, partial)
            except OSError as error:
                raise SegbenchError(
                    f"cannot be copied from {local} ({error.strerror})",
                    where=out,
                    remedy="check the disk's space and permissions",
                ) from error
    return sha256


def _part(out: Path) -> Path:
    """Return the path of a partial download of `out`."""
    return out.with_name(f"{out.name}.part")


def _mirror_checksum(name: str, mirror: str, out: Path, patience: _Patience) -> str | None:
    """Return the checksum of `name` in the mirror's `SHA256SUMS`; None if the mirror does not have it."""
    if urlsplit(mirror).scheme not in ("", "http", "https", "file"):
        raise SegbenchError(
            f"'{mirror}' is neither a folder nor an http, https or file address",
            where="mirror",
            remedy="give a folder, or an address that begins with https://",
        )
    address = _join(mirror, SUMS)
    with scratch(out) as folder:
        sums = folder / SUMS
        try:
            _retrieve(address, sums, None, patience)
        except Unreachable as error:
            raise _unusable(mirror, SUMS, error) from error
        text = sums.read_text(encoding="utf-8", errors="replace")
    lines = (re.fullmatch(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)", line.strip()) for line in text.splitlines())
    checksums = {line[2]: f"sha256:{line[1].lower()}" for line in lines if line}
    archive = _join(mirror, name)
    local = local_path(archive)
    if name not in checksums and (
        exists(archive, timeout=patience.timeout) if local is None else local.exists()
    ):
        raise SegbenchError(
            f"does not list {name}, which the mirror has",
            where=address,
            remedy=f"if the file is right, add it: sha256sum {name} >> {SUMS}",
        )
    return checksums.get(name)


def _join(mirror: str, name: str) -> str:
    return f"{mirror.rstrip('/')}/{quote(name)}" if "://" in mirror else str(Path(mirror) / name)


def _unusable(mirror: str, name: str, error: Unreachable) -> SegbenchError:
    return SegbenchError(
        f"cannot read {name} ({error})",
        where=f"mirror {mirror}",
        remedy=f"check `mirror:` (a folder or an address with a {SUMS}), or remove it to fetch from upstream",
    )


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _checksum_by(checksum: str, path: Path, sha256: str) -> str:
    """Return the checksum of `path` by the algorithm of `checksum`, of which it may be a prefix."""
    return f"md5:{_digest(path, 'md5')}" if checksum.startswith("md5:") else f"sha256:{sha256}"


def _wrong(where: str | Path, expected: str, got: str, remedy: str) -> SegbenchError:
    return SegbenchError(f"has a wrong checksum: expected {expected}, got {got}", where=where, remedy=remedy)


def _provenance(
    name: str,
    source: Literal["mirror", "upstream", "by hand"],
    address: str | None,
    out: Path,
    sha256: str,
    checksum: str | None,
) -> Provenance:
    return Provenance(
        name=name,
        source=source,
        address=address,
        sha256=sha256,
        size=out.stat().st_size,
        verified_by=checksum,
    )
