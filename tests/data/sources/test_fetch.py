from __future__ import annotations

import errno
import hashlib
import random
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import ValidationError

from segbench.contract.sources import Archive
from segbench.data.sources import download as download_module
from segbench.data.sources.fetch import fetch_archive
from segbench.errors import SegbenchError

BODY = random.Random(0).randbytes(300_000)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`. Each request takes the next fault: a status, or the byte after which to cut."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/set.zip": BODY}
        self.faults: list[tuple[str, int]] = []
        self.etag: str | None = '"one"'
        self.ranges = True
        self.redirect: str | None = None
        self.requests: list[tuple[str, str | None, str | None]] = []
        """Method and path, Range and If-Range of each request."""

    def url(self, path: str = "/set.zip") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.respond()

    def do_GET(self) -> None:
        self.respond()

    def respond(self) -> None:
        server, wanted, condition = self.server, self.headers.get("Range"), self.headers.get("If-Range")
        server.requests.append((f"{self.command} {self.path}", wanted, condition))
        fault, value = server.faults.pop(0) if server.faults and self.command == "GET" else ("", 0)
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        body = server.files.get(self.path)
        if fault == "status" or body is None:
            self.send_error(value or 404)
            return
        start, status = 0, 200
        if wanted and server.ranges and condition in (None, server.etag):
            start, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[start : value if fault == "cut" else None])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the pauses between tries instead of waiting."""
    waited: list[float] = []
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download_module.time, "sleep", waited.append)
    return waited


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "archives" / "set.zip"


def upstream(server: Server, checksum: str | None = f"sha256:{sha256(BODY)}") -> Archive:
    return Archive(url=server.url(), checksum=checksum)


def only(out: Path) -> None:
    assert out.read_bytes() == BODY
    assert [p.name for p in out.parent.iterdir()] == [out.name]


def left_half(server: Server, out: Path) -> None:
    """Run a download that fails halfway."""
    server.faults = [("cut", 150_000), ("status", 503)]
    with pytest.raises(SegbenchError, match="503"):
        fetch_archive("set.zip", upstream(server), out, retries=1)
    assert not out.exists()
    assert (out.parent / "set.zip.part").read_bytes() == BODY[:150_000]
    server.requests.clear()


@pytest.mark.parametrize(
    "checksum",
    [f"sha256:{sha256(BODY)}", f"sha256:{sha256(BODY)[:8]}", f"MD5:{hashlib.md5(BODY).hexdigest().upper()}"],
)
def test_download_is_verified(server: Server, out: Path, checksum: str) -> None:
    got = fetch_archive("set.zip", upstream(server, checksum), out)
    only(out)
    assert (got.source, got.address, got.sha256) == ("upstream", server.url(), sha256(BODY))
    assert (got.size, got.verified_by) == (len(BODY), checksum.lower())


def test_without_a_checksum_it_warns(server: Server, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert fetch_archive("set.zip", upstream(server, None), out).verified_by is None
    assert sha256(BODY) in caplog.text


def test_transient_errors_are_tried_again(server: Server, out: Path, pauses: list[float]) -> None:
    server.faults = [("status", 503), ("status", 500), ("status", 429)]
    fetch_archive("set.zip", upstream(server), out, retries=3)
    only(out)
    assert pauses == [1, 2, 4]


def test_it_gives_up(server: Server, out: Path) -> None:
    server.faults = [("status", 503)] * 9
    with pytest.raises(SegbenchError, match="503") as caught:
        fetch_archive("set.zip", upstream(server), out, retries=2)
    assert len(server.requests) == 3
    assert "mirror:" in str(caught.value) and str(out) in str(caught.value)


def test_a_cut_connection_is_resumed(server: Server, out: Path, pauses: list[float]) -> None:
    """Progress resets the count of failures: eight cuts, two retries."""
    server.faults = [("cut", 30_000 * i) for i in range(1, 9)]
    fetch_archive("set.zip", upstream(server), out, retries=2)
    only(out)
    assert [r[1] for r in server.requests[1:]] == [f"bytes={30_000 * i}-" for i in range(1, 9)]
    assert pauses == [1] * 8


def test_a_later_run_goes_on(server: Server, out: Path) -> None:
    left_half(server, out)
    fetch_archive("set.zip", upstream(server), out)
    only(out)
    assert server.requests == [("GET /set.zip", "bytes=150000-", '"one"')]


def test_a_changed_file_is_not_glued(server: Server, out: Path) -> None:
    left_half(server, out)
    server.etag, server.files["/set.zip"] = '"two"', BODY[::-1]
    fetch_archive("set.zip", upstream(server, None), out)
    assert out.read_bytes() == BODY[::-1]


@pytest.mark.parametrize("changed", [BODY[::-1] + b"longer", BODY[::-1][:100_000], BODY[::-1][:150_000]])
def test_without_etag_the_size_tells(server: Server, out: Path, changed: bytes) -> None:
    server.etag = None
    left_half(server, out)
    server.files["/set.zip"] = changed
    fetch_archive("set.zip", upstream(server, None), out)
    assert out.read_bytes() == changed


def test_no_etag_same_size_goes_on(server: Server, out: Path) -> None:
    server.etag = None
    left_half(server, out)
    fetch_archive("set.zip", upstream(server), out)
    only(out)
    assert server.requests == [("GET /set.zip", "bytes=150000-", None)]


def test_a_part_of_another_address_is_not_used(server: Server, out: Path) -> None:
    left_half(server, out)
    server.files["/other.zip"] = BODY
    fetch_archive("set.zip", Archive(url=server.url("/other.zip")), out)
    assert [r[1] for r in server.requests] == [None]
    only(out)


def test_a_complete_part_is_used(server: Server, out: Path) -> None:
    """Killed after the last byte, before the rename."""
    left_half(server, out)
    (out.parent / "set.zip.part").write_bytes(BODY)
    fetch_archive("set.zip", upstream(server), out)
    only(out)


def test_a_server_without_ranges_starts_over(server: Server, out: Path) -> None:
    server.ranges = False
    left_half(server, out)
    fetch_archive("set.zip", upstream(server), out)
    only(out)


def test_always_cut_without_ranges_ends(server: Server, out: Path) -> None:
    server.ranges, server.faults = False, [("cut", 1000)] * 50
    with pytest.raises(SegbenchError, match="broke off at byte 1000 of 300000"):
        fetch_archive("set.zip", upstream(server), out, retries=3)
    assert len(server.requests) <= 5


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_wrong_checksum(server: Server, out: Path, algorithm: str) -> None:
    expected = f"{algorithm}:{'0' * hashlib.new(algorithm).digest_size * 2}"
    got = f"{algorithm}:{hashlib.new(algorithm, BODY).hexdigest()}"
    with pytest.raises(SegbenchError, match=f"expected {expected}, got {got}"):
        fetch_archive("set.zip", upstream(server, expected), out)
    assert not list(out.parent.iterdir())


def test_not_found_is_not_tried_again(server: Server, out: Path) -> None:
    with pytest.raises(SegbenchError, match="404") as caught:
        fetch_archive("set.zip", Archive(url=server.url("/nothing.zip")), out)
    assert len(server.requests) == 1
    assert "mirror:" in str(caught.value) and str(out) in str(caught.value)


def test_nobody_answers(out: Path, pauses: list[float]) -> None:
    with pytest.raises(SegbenchError, match="refused") as caught:
        fetch_archive("set.zip", Archive(url="http://127.0.0.1:1/set.zip"), out, retries=2)
    assert pauses == [1, 2] and "mirror:" in str(caught.value)


def test_the_first_pause_can_be_set(out: Path, pauses: list[float]) -> None:
    with pytest.raises(SegbenchError):
        fetch_archive("set.zip", Archive(url="http://127.0.0.1:1/set.zip"), out, retries=2, pause=0.5)
    assert pauses == [0.5, 1]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/set.zip"])
def test_redirects_stay_on_http(server: Server, out: Path, target: str) -> None:
    server.redirect = target
    with pytest.raises(SegbenchError, match="cannot be fetched"):
        fetch_archive("set.zip", upstream(server), out)
    assert not out.exists()


def test_a_full_disk(server: Server, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = download_module.shutil.disk_usage(out.parent.parent)
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(SegbenchError, match=r"are free"):
        fetch_archive("set.zip", upstream(server), out)
    monkeypatch.undo()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download_module, "_progress", full)
    with pytest.raises(SegbenchError, match="disk is full"):
        fetch_archive("set.zip", upstream(server), out)


def test_progress_is_logged(
    server: Server, out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(download_module, "LOG_EVERY", 0.0)
    monkeypatch.setattr(download_module, "CHUNK", 100_000)
    caplog.set_level("INFO")
    fetch_archive("set.zip", upstream(server), out)
    assert "set.zip: 0.1 MB of 0.3 MB (33%)" in caplog.text


def test_progress_bar_on_a_terminal(
    server: Server, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download_module.sys.stderr, "isatty", lambda: True)
    fetch_archive("set.zip", upstream(server), out)
    only(out)
    assert "set.zip" in capsys.readouterr().err


def make_mirror(folder: Path, content: bytes = BODY, sums: dict[str, str] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "set.zip").write_bytes(content)
    listed = {"set.zip": sha256(content)} if sums is None else sums
    (folder / "SHA256SUMS").write_text("# comment\n" + "".join(f"{h}  {n}\n" for n, h in listed.items()))
    return folder


Address = Callable[[Path], str]


@pytest.fixture(params=["folder", "file", "http"])
def address(request: pytest.FixtureRequest, server: Server) -> Address:
    """The address of a folder, in each form that `mirror:` accepts."""

    def of(folder: Path) -> str:
        server.files = {f"/mirror/{p.name}": p.read_bytes() for p in folder.iterdir()}
        return {"folder": str(folder), "file": folder.as_uri(), "http": server.url("/mirror/")}[request.param]

    return of


GONE = Archive(url="http://127.0.0.1:1/set.zip", checksum=f"sha256:{'0' * 64}")


def test_the_mirror_comes_first_and_its_sums_win(tmp_path: Path, out: Path, address: Address) -> None:
    mirror = address(make_mirror(tmp_path / "my mirror"))
    got = fetch_archive("set.zip", GONE, out, mirror)
    only(out)
    assert (got.source, got.sha256, got.verified_by) == ("mirror", sha256(BODY), f"sha256:{sha256(BODY)}")
    assert fetch_archive("set.zip", GONE, out, mirror).source == "by hand"


def test_a_folder_is_linked_or_else_copied(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = make_mirror(tmp_path / "mirror")
    fetch_archive("set.zip", GONE, out, str(mirror))
    assert out.samefile(mirror / "set.zip")
    out.unlink()

    def other_device(*_: object) -> None:
        raise OSError(errno.EXDEV, "other device")

    monkeypatch.setattr("os.link", other_device)
    fetch_archive("set.zip", GONE, out, str(mirror))
    assert not out.samefile(mirror / "set.zip")
    only(out)


def test_a_damaged_mirror_file(tmp_path: Path, out: Path, address: Address) -> None:
    mirror = address(make_mirror(tmp_path / "mirror", BODY[:-1], {"set.zip": sha256(BODY)}))
    with pytest.raises(
        SegbenchError, match=f"expected sha256:{sha256(BODY)}, got sha256:{sha256(BODY[:-1])}"
    ):
        fetch_archive("set.zip", GONE, out, mirror)
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_an_unlisted_mirror_file(tmp_path: Path, out: Path, address: Address) -> None:
    mirror = address(make_mirror(tmp_path / "mirror", sums={"other.zip": sha256(BODY)}))
    with pytest.raises(SegbenchError, match=r"does not list set.zip, which the mirror has\n.*sha256sum"):
        fetch_archive("set.zip", GONE, out, mirror)


def test_a_mirror_without_the_file_leads_upstream(
    tmp_path: Path, out: Path, address: Address, server: Server
) -> None:
    folder = make_mirror(tmp_path / "mirror")
    (folder / "set.zip").unlink()
    for sums in (f"{sha256(b'')}  other.zip\n", f"{sha256(BODY)}  set.zip\n"):
        (folder / "SHA256SUMS").write_text(sums)
        mirror = address(folder)
        server.files["/set.zip"] = BODY
        assert fetch_archive("set.zip", upstream(server), out, mirror).source == "upstream"
        only(out)
        out.unlink()


def test_a_mirror_that_is_none(tmp_path: Path, out: Path, server: Server) -> None:
    for mirror in (str(tmp_path / "typo"), str(tmp_path), server.url("/typo"), "http://127.0.0.1:1"):
        with pytest.raises(SegbenchError, match=f"{re.escape(mirror)}: cannot read SHA256SUMS"):
            fetch_archive("set.zip", upstream(server), out, mirror, retries=0)
    with pytest.raises(SegbenchError, match="'s3://bucket' is neither"):
        fetch_archive("set.zip", upstream(server), out, "s3://bucket")


def test_a_file_put_there_by_hand(out: Path, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    out.parent.mkdir()
    out.write_bytes(BODY)
    manual = Archive(manual="accept the terms at example.org", checksum=f"sha256:{sha256(BODY)}")
    assert fetch_archive("set.zip", manual, out).source == "by hand"
    assert fetch_archive("set.zip", Archive(manual="ask"), out).verified_by is None
    assert sha256(BODY) in caplog.text
    out.write_bytes(b"half")
    with pytest.raises(
        SegbenchError, match=rf"(?s){out}: .*expected.*got sha256:{sha256(b'half')}.*remove it"
    ):
        fetch_archive("set.zip", upstream(server), out)
    assert out.read_bytes() == b"half" and not server.requests


def test_a_gated_set_says_what_to_do(tmp_path: Path, out: Path) -> None:
    manual = Archive(manual="register at example.org and take set.zip")
    with pytest.raises(SegbenchError, match=r"register at example.org") as caught:
        fetch_archive("set.zip", manual, out)
    assert str(out) in str(caught.value) and "mirror:" in str(caught.value)
    assert fetch_archive("set.zip", manual, out, str(make_mirror(tmp_path / "mirror"))).source == "mirror"


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"url": "ftp://example.org/a.zip"},
        {"url": "a.zip"},
        {"url": "https://example.org/a", "manual": "both"},
        {"url": "https://example.org/a", "checksum": "sha256:xyz"},
        {"url": "https://example.org/a", "checksum": "sha1:0123456789"},
        {"url": "https://example.org/a", "sum": "md5:0"},
    ],
)
def test_wrong_entries_are_refused(entry: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Archive(**entry)


def test_a_file_address_upstream(tmp_path: Path, out: Path) -> None:
    source = make_mirror(tmp_path / "with space") / "set.zip"
    got = fetch_archive("set.zip", Archive(url=source.as_uri(), checksum=f"sha256:{sha256(BODY)}"), out)
    assert got.source == "upstream"
    only(out)
    with pytest.raises(SegbenchError, match="no such file"):
        fetch_archive("x.zip", Archive(url=f"{source.as_uri()}x"), out.with_name("x.zip"))
