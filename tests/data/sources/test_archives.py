from __future__ import annotations

import io
import random
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segbench.contract.limits import Limits
from segbench.data.sources.archives import extract, is_archive
from segbench.errors import SegbenchError

FILES = {"set/a.png": b"a" * 3000, "set/deep/b.txt": b"b", "set/empty": b""}


def make_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(archive: Path, match: str, limits: Limits | None = None) -> None:
    """Check that extraction fails with one error and leaves no files."""
    before = sorted(archive.parent.iterdir())
    with pytest.raises(SegbenchError, match=match) as caught:
        extract(archive, archive.parent / "out", limits or Limits())
    assert archive.name in str(caught.value) and "remedy" in str(caught.value)
    assert sorted(archive.parent.iterdir()) == before


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_formats_are_told_by_content(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "name.says.nothing"
    make_zip(path, FILES) if mode == "zip" else make_tar(path, FILES, mode)
    assert is_archive(path)
    assert extract(path, tmp_path / "out") == tmp_path / "out"
    assert tree(tmp_path / "out") == FILES


def test_nested_zips_become_folders_and_junk_is_skipped(tmp_path: Path) -> None:
    inner = make_zip(
        tmp_path / "i.zip", {"masks/1.png": b"1", "masks/__MACOSX/x": b"", "more.zip": b"no zip"}
    )
    middle = make_zip(tmp_path / "m.zip", {"inner.zip": inner.read_bytes()})
    outer = make_zip(
        tmp_path / "o.zip",
        {
            "ann/middle.ZIP": middle.read_bytes(),
            "ann/x.json": b"{}",
            "__MACOSX/._x": b"",
            ".DS_Store": b"",
            "sub/Thumbs.db": b"",
            "@eaDir/a.png": b"",
            "ann/._x.json": b"",
            "weights.npz": inner.read_bytes(),
        },
    )
    extract(outer, tmp_path / "out")
    assert tree(tmp_path / "out") == {
        "ann/x.json": b"{}",
        "ann/middle/inner/masks/1.png": b"1",
        "ann/middle/inner/more.zip": b"no zip",
        "weights.npz": inner.read_bytes(),
    }
    refused(outer, "more than 1 levels deep", Limits(max_depth=1))


def test_windows_separators_and_folder_entries(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "w.zip", {"set\\": b"", "set\\a.txt": b"a", "other/": b"", "./b.txt": b"b"})
    extract(path, tmp_path / "out")
    assert tree(tmp_path / "out") == {"set/a.txt": b"a", "b.txt": b"b"}
    assert (tmp_path / "out/other").is_dir()


def test_permissions_are_not_kept(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("tool")
    info.external_attr = (stat.S_IFREG | stat.S_ISUID | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr(info, b"x")
    extract(tmp_path / "p.zip", tmp_path / "out")
    assert not (tmp_path / "out/tool").stat().st_mode & (stat.S_ISUID | 0o111)


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/evil", "C:\\evil", "..\\evil", "a/..\\..\\evil"]
)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_traversal_is_refused(tmp_path: Path, name: str, make: object) -> None:
    archive = make(tmp_path / "t.archive", {"fine": b"", name: b"x"})  # type: ignore[operator]
    refused(archive, "outside of the folder")


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with tarfile.open(tmp_path / "l.tar", "w") as tar:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, "../../etc/passwd"
            tar.addfile(info)
        refused(tmp_path / "l.tar", "'link' is a link or a device")
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "l.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    refused(tmp_path / "l.zip", "'link' is a link or a device")


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["a", "a"], "twice"),
        (["a/b.png", "A/c.png"], "differ only in case"),
        (["caf\u00e9", "cafe\u0301"], "differ only in case"),
        (["a", "a/b"], "twice"),
        (["a/b", "a"], "as a file and as a folder"),
        (["a.zip/x", "line\nbreak"], "does not have a valid name"),
    ],
)
def test_names_that_clash(tmp_path: Path, names: list[str], match: str) -> None:
    with tarfile.open(tmp_path / "c.tar", "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    refused(tmp_path / "c.tar", match)


def test_limits(tmp_path: Path) -> None:
    many = make_zip(tmp_path / "many.zip", {f"{i}": b"12345" for i in range(10)})
    refused(many, r"more than 9 entries.*\n.*max_files", Limits(max_files=9))
    refused(many, r"more than 49 bytes \(max_bytes = 49\)", Limits(max_bytes=49))
    extract(many, tmp_path / "out", Limits(max_files=10, max_bytes=50))
    refused(make_tar(tmp_path / "m.tgz", {"a": b"0" * 60}, "w:gz"), "max_bytes", Limits(max_bytes=59))


def test_bombs(tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "i.zip", {"zeros": bytes(60 * 2**20)})
    bomb = make_zip(tmp_path / "bomb.zip", {f"{i}.zip": inner.read_bytes() for i in range(4)})
    refused(bomb, "max_ratio = 200")
    info = tarfile.TarInfo("huge")
    info.size = 2**40
    (tmp_path / "huge.tar").write_bytes(info.tobuf() + bytes(1024))
    refused(tmp_path / "huge.tar", "extracts to more than")
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 2**31
    (tmp_path / "pax.tar").write_bytes(tarfile.TarInfo("a").tobuf() + header.tobuf() + bytes(1024))
    refused(tmp_path / "pax.tar", "header of 2147483648 bytes")


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_truncated_anywhere_is_an_error(tmp_path: Path, mode: str) -> None:
    """Also where Python's tarfile ends silently: between two entries, and in a header."""
    files = {f"f{i}": random.Random(i).randbytes(700) for i in range(6)}
    path = tmp_path / "cut.zip"
    make_zip(path, files) if mode == "zip" else make_tar(path, files, mode)
    whole = path.read_bytes()
    end = 6 * (512 + 1024) if mode == "w" else len(whole)  # a plain tar is padded
    for size in {1, 4, 300, 512, 1536, 1536 * 3, 1536 * 3 + 100, end // 2, end - 20, end - 1} - {end}:
        path.write_bytes(whole[: min(size, end - 1)])
        refused(path, "damaged")


def test_damaged_content_is_an_error(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", FILES, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"aaa", b"axa", 1))
    refused(path, "CRC")


def test_encrypted_is_an_error(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "e.zip", FILES)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refused(path, "encrypted")


def test_what_is_no_archive(tmp_path: Path) -> None:
    page = tmp_path / "data.zip"
    page.write_text("<html>please log in</html>")
    assert is_archive(page)
    refused(page, "<html>please")
    image = tmp_path / "volume.tif"
    image.write_bytes(b"II*\x00" + bytes(600))
    assert not is_archive(image)
    assert not is_archive(tmp_path)  # a folder
    refused(make_zip(tmp_path / "none.zip", {}), "no files")
    with pytest.raises(SegbenchError, match="does not exist"):
        extract(tmp_path / "missing.zip", tmp_path / "out")


def test_an_older_folder_stays_on_failure(tmp_path: Path) -> None:
    extract(make_zip(tmp_path / "a.zip", {"old": b"1"}), tmp_path / "out")
    with pytest.raises(SegbenchError):
        extract(make_zip(tmp_path / "b.zip", {"new": b"2", "../x": b""}), tmp_path / "out")
    assert tree(tmp_path / "out") == {"old": b"1"}
    extract(make_zip(tmp_path / "b.zip", {"new": b"2"}), tmp_path / "out")
    assert tree(tmp_path / "out") == {"new": b"2"}


hostile = st.lists(
    st.sampled_from(
        ["..", ".", "", "a", "A", "b.zip", "/", "\\", "C:", "~", "\x00", "\n", "é", "__MACOSX", "x" * 300]
    )
    | st.text(max_size=5),
    min_size=1,
    max_size=4,
)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(names=st.lists(st.tuples(hostile, st.sampled_from("/\\")), min_size=1, max_size=4), tar=st.booleans())
@quick
def test_hostile_names_stay_inside(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[list[str], str]], tar: bool
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    archive = folder / "h"
    try:
        (make_tar if tar else make_zip)(archive, {sep.join(parts): b"x" for parts, sep in names})
    except (ValueError, IndexError):  # Python cannot write such a name
        return
    try:
        extract(archive, folder / "out")
    except SegbenchError:
        assert sorted(folder.iterdir()) == [archive]
    else:
        assert sorted(folder.iterdir()) == [archive, folder / "out"]
        assert not any(p.is_symlink() for p in folder.rglob("*"))


@given(st.data())
@quick
def test_any_damage_is_one_clear_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damage")
    archive = folder / "d"
    if data.draw(st.booleans()):
        make_zip(archive, FILES)
    else:
        make_tar(archive, {**FILES, "n" * 150: b"long"}, data.draw(st.sampled_from(["w", "w:gz"])))
    content = bytearray(archive.read_bytes().rstrip(b"\x00") + bytes(1024))
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=6)):
        content[position] = data.draw(st.integers(0, 255))
    archive.write_bytes(content)
    try:
        extract(archive, folder / "out")
    except SegbenchError:
        assert sorted(folder.iterdir()) == [archive]


def test_the_mirror_archives(mirror: Path, tmp_path: Path) -> None:
    for path in sorted(p for p in mirror.iterdir() if p.is_file() and is_archive(p)):
        assert tree(extract(path, tmp_path / path.name)), path
    inside = tmp_path / "panoptic_annotations_trainval2017.zip/annotations"
    assert sorted(p.name for p in inside.iterdir()) == [
        "panoptic_train2017", "panoptic_train2017.json", "panoptic_val2017", "panoptic_val2017.json",
    ]  # fmt: skip
    assert len(list(inside.rglob("*.png"))) == 100
    assert not is_archive(mirror / "train-volume.tif")
