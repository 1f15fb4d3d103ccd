"""Damaged annotations, images and archives on their way through `segbench convert`."""

from __future__ import annotations

import io
import random
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from forked import check, random_of, seeds
from mutations import (
    damaged,
    damaged_image,
    damaged_json,
    damaged_lines,
    damaged_mat,
    disguised_json,
    turned_image,
)
from sources import SOURCES, Members, packed, spec, zipped

NAMES = (
    "../evil",
    "../../../../../../evil",
    "/evil",
    "C:\\evil",
    "..\\evil",
    "a/../../evil",
    "line\nbreak",
    "bell\a",
    "x" * 300,
    "y" * 200 + "/" + "y" * 200,
    "dir/" * 200 + "z",
    "\N{RIGHT-TO-LEFT MARK}Ü",
    "<script>alert(1)</script>",
    ".",
    "",
    "//",
    "~root",
    "$HOME",
)
DAMAGE = {".json": damaged_json, ".txt": damaged_lines, ".mat": damaged_mat, ".npy": damaged}


def convert(folder: Path, source: str, archives: dict[str, bytes], named: list[str]) -> None:
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    options: list[str | Path] = []
    for name, content in archives.items():
        (folder / "in" / name).write_bytes(content)
        options += ["--archive", folder / "in" / name]
    out = folder / "out" / "data"
    result = check(
        folder, named, "convert", source, "--out", out, "--spec", spec(source), "--state", folder / "state",
        *options,
    )  # fmt: skip
    found = [path.name for path in (folder / "out").iterdir() if path.name != ".locks"]
    assert found == ([] if result.status else ["data"])
    assert result.status or (out / "dataset.json").is_file()


def pack(archives: dict[str, Members]) -> dict[str, bytes]:
    return {name: packed(name, members) for name, members in archives.items()}


def damage_one(archives: dict[str, Members], rng: random.Random) -> str:
    """Damage a file in its own way, or leave it out; returns its name."""
    everything = [(a, m) for a, members in archives.items() for m in members]
    special = [(a, m) for a, m in everything if Path(m).suffix in DAMAGE]
    archive, member = rng.choice(special if special and rng.random() < 0.7 else everything)
    if rng.random() < 0.05 and len(archives[archive]) > 1:
        del archives[archive][member]
    else:
        how = DAMAGE.get(Path(member).suffix, damaged_image)
        archives[archive][member] = how(archives[archive][member], rng)
    return member


@pytest.mark.parametrize("source", SOURCES)
def test_sound_sources_convert(source: str, tmp_path: Path) -> None:
    convert(tmp_path, source, pack(SOURCES[source][0]()), [])
    assert (tmp_path / "out" / "data").is_dir()


@pytest.mark.parametrize("seed", seeds(8))
@pytest.mark.parametrize("source", SOURCES)
def test_a_damaged_file(source: str, seed: int, tmp_path: Path) -> None:
    archives = SOURCES[source][0]()
    rng = random_of(source, seed)
    damage_one(archives, rng)
    convert(tmp_path, source, pack(archives), [*archives, "data"])


@pytest.mark.parametrize("seed", seeds(12))
@pytest.mark.parametrize("source", ["labelme", "via"])
def test_a_disguised_annotation(source: str, seed: int, tmp_path: Path) -> None:
    archives = SOURCES[source][0]()
    rng = random_of("disguised", source, seed)
    for members in archives.values():
        for name in list(members):
            if rng.random() < 0.4:
                members[name] = (disguised_json if name.endswith(".json") else turned_image)(
                    members[name], rng
                )
        for junk in ("._a.json", "Thumbs.db", "@eaDir/a.jpg", ".DS_Store"):
            members[junk] = rng.randbytes(9)
    convert(tmp_path, source, pack(archives), [*archives, "data"])


def with_entry(data: bytes, rng: random.Random) -> bytes:
    """A zip or tar with one entry more: an odd or known name, a link, a device, a bomb, an archive, a lie."""
    is_zip = data.startswith(b"PK")
    file = io.BytesIO() if is_zip else io.BytesIO(packed("x.tar", {}))
    kind = rng.choice(("name", "name", "known", "case", "link", "bomb", "deep", "encrypted", "method"))
    if is_zip:
        file.write(data)
        with zipfile.ZipFile(file, "a") as archive:
            known = archive.namelist()
            info = zipfile.ZipInfo({"known": known[0], "case": known[-1].swapcase()}.get(kind, "added"))
            if kind == "name":
                info.filename = rng.choice(NAMES)
            info.external_attr = (rng.choice((stat.S_IFLNK, stat.S_IFCHR)) << 16) if kind == "link" else 0
            content = bytes(120 * 2**20) if kind == "bomb" else b"../evil"
            for _ in range(rng.randrange(1, 5) if kind == "deep" else 0):
                content, info.filename = zipped({"in.zip": content}), "deep.zip"
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, 1)
        changed = bytearray(file.getvalue())
        at = changed.rfind(b"PK\x01\x02")  # the directory's entry of what was added last
        if kind == "encrypted":
            changed[at + 8] |= 1
        if kind == "method":
            changed[at + 10] = 97
        return bytes(changed)
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for info in old:
            archive.addfile(info, old.extractfile(info))
        known = old.getnames()
        added = tarfile.TarInfo({"known": known[0], "case": known[-1].swapcase()}.get(kind, "added"))
        if kind == "name":
            added.name = rng.choice(NAMES)
        if kind == "link":
            added.type = rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE))
            added.linkname = rng.choice((known[0], "../../../evil", "/etc/passwd"))
        added.size = 120 * 2**20 if kind == "bomb" else 0
        archive.addfile(added, io.BytesIO(bytes(added.size)))
    return file.getvalue()


@pytest.mark.parametrize("seed", seeds(12))
@pytest.mark.parametrize("source", ["camvid", "voc", "sbd", "coco_panoptic"])
def test_a_damaged_archive(source: str, seed: int, tmp_path: Path) -> None:
    rng = random_of("archive", source, seed)
    archives = pack(SOURCES[source][0]())
    name = rng.choice(list(archives))
    archives[name] = rng.choice((damaged, with_entry))(archives[name], rng)
    convert(tmp_path, source, archives, [name, "data"])
