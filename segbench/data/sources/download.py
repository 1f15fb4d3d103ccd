"""Download of one file over HTTP, with retries, resumption and a progress display."""

from __future__ import annotations

import errno
import http.client
import logging
import re
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path

from pydantic import BaseModel

from segbench import __version__
from segbench.errors import SegbenchError
from segbench.files import write_text

log = logging.getLogger(__name__)

CHUNK = 2**20
LONGEST_PAUSE = 60.0
LOG_EVERY = 5.0
"""Seconds between two lines of progress in a log."""


class Unreachable(Exception):
    """The file cannot be downloaded. `missing`: the server does not have it (404, 410)."""

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


class _Remote(BaseModel):
    """The remote file that a partial download belongs to; stored in a note beside it."""

    url: str
    validator: str | None
    """Strong ETag or date, for If-Range."""
    size: int | None


def download(url: str, part: Path, *, retries: int, timeout: float, pause: float) -> None:
    """Download a file, and resume a partial download of it.

    A partial download is resumed only if the remote file is still the same by its ETag, its date or (if the
    server gives neither) its size. A note beside it tells which file it is. Call `discard` after the file was
    renamed or rejected.

    Args:
        url: address of the file.
        part: path to download to.
        retries: number of tries that may fail in a row without progress.
        timeout: seconds without data after which a try fails.
        pause: seconds before the first retry; doubled for each further one, up to `LONGEST_PAUSE`.

    Raises:
        Unreachable: the file cannot be downloaded.
        SegbenchError: the disk is full or not writable.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    failures, furthest = 0, _size(part)
    while True:
        try:
            return _attempt(url, part, timeout)
        except (OSError, http.client.HTTPException, ValueError) as error:
            _raise_if_final(error, part)
            reached = _size(part)
            failures, furthest = (1, reached) if reached > furthest else (failures + 1, furthest)
            if failures > retries:
                raise Unreachable(f"{_reason(error)}, after {failures} tries") from error
            seconds = min(pause * 2 ** (failures - 1), LONGEST_PAUSE)
            log.warning("%s: %s; trying again in %g s from byte %d", url, _reason(error), seconds, reached)
            time.sleep(seconds)


def discard(part: Path) -> None:
    """Remove a partial download and its note."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def exists(url: str, *, timeout: float) -> bool:
    """Return whether the server has a file at `url`."""
    try:
        with _open(url, {}, timeout, method="HEAD"):
            return True
    except (OSError, http.client.HTTPException, ValueError):
        return False


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _attempt(url: str, part: Path, timeout: float) -> None:
    known = _known(part, url)
    have = _size(part) if known else 0
    headers = {}
    if known and have:
        headers["Range"] = f"bytes={have}-"
        if known.validator:
            headers["If-Range"] = known.validator
    try:
        response = _open(url, headers, timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and known and have:
            if known.size == have and _range_total(error.headers) == have:
                return  # stopped after the last byte
            discard(part)  # shorter than the partial download: another file
            raise OSError("the remote file has changed") from error
        raise
    with response:
        if response.status == 206:
            total = _range_total(response.headers)
            started = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if known is None or total != known.size or not started or int(started[1]) != have:
                discard(part)
                raise OSError("the remote file has changed")
        else:  # the whole file: a first try, a server without ranges, or a changed file
            have = 0
            length = response.headers.get("Content-Length")
            total = int(length) if length is not None else None
            discard(part)
            remote = _Remote(url=url, validator=_validator(response.headers), size=total)
            write_text(_note(part), remote.model_dump_json())
        _check_space(part, total, have)
        with part.open("ab") as file, _progress(part.name.removesuffix(".part"), total, have) as advance:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                advance(len(chunk))
    if total is not None and _size(part) != total:
        raise OSError(f"the connection broke off at byte {_size(part)} of {total}")


def _known(part: Path, url: str) -> _Remote | None:
    try:
        known = _Remote.model_validate_json(_note(part).read_bytes())
    except (OSError, ValueError):
        return None
    resumable = known.validator is not None or known.size is not None
    return known if known.url == url and resumable else None


def _validator(headers: Message) -> str | None:
    etag = headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    return headers.get("Last-Modified")


def _range_total(headers: Message) -> int | None:
    total = headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _open(url: str, headers: dict[str, str], timeout: float, method: str = "GET") -> http.client.HTTPResponse:
    """Send a request, without urllib's handlers for ftp:, file: and data: addresses in redirects."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    headers = {"User-Agent": f"segbench/{__version__}", "Accept-Encoding": "identity", **headers}
    request = urllib.request.Request(url, headers=headers, method=method)
    response: http.client.HTTPResponse = opener.open(request, timeout=timeout)
    return response


def _raise_if_final(error: Exception, part: Path) -> None:
    """Raise errors that another try cannot fix."""
    if isinstance(error, urllib.error.HTTPError):
        if error.code < 500 and error.code not in (408, 416, 425, 429):
            raise Unreachable(_reason(error), missing=error.code in (404, 410)) from error
    elif isinstance(error, urllib.error.URLError):
        if isinstance(error.reason, (ssl.SSLCertVerificationError, str)):
            raise Unreachable(_reason(error)) from error
    elif isinstance(error, (ValueError, http.client.InvalidURL)):
        raise Unreachable(_reason(error)) from error
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise SegbenchError("the disk is full", where=part, remedy="free disk space and run again") from error
    elif isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        raise SegbenchError(
            f"cannot be written ({error.strerror})", where=part, remedy="check the folder's permissions"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__


def _check_space(part: Path, total: int | None, have: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise SegbenchError(
            f"needs {(total - have) / 1e9:.2f} GB more, but only {free / 1e9:.2f} GB are free",
            where=part,
            remedy="free disk space and run again; the download continues where it stopped",
        )


@contextmanager
def _progress(name: str, total: int | None, have: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal, else log a line every `LOG_EVERY` seconds."""
    if sys.stderr.isatty():
        from rich import progress as rich
        from rich.console import Console

        with rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.DownloadColumn(),
            rich.TransferSpeedColumn(),
            rich.TimeRemainingColumn(),
            console=Console(stderr=True),
        ) as bar:
            task = bar.add_task(name, total=total, completed=have)
            yield lambda count: bar.advance(task, count)
    else:
        done, logged = have, time.monotonic()

        def advance(count: int) -> None:
            nonlocal done, logged
            done += count
            if time.monotonic() - logged >= LOG_EVERY:
                logged = time.monotonic()
                log.info(
                    "%s: %.1f MB%s",
                    name,
                    done / 1e6,
                    f" of {total / 1e6:.1f} MB ({done / total:.0%})" if total else "",
                )

        yield advance
