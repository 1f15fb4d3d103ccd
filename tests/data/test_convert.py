from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import zipfile
from collections.abc import Iterator
from functools import partial
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any

import fork_server
import numpy as np
import pytest
from PIL import Image

from segbench.contract.view import Category
from segbench.data import convert as module
from segbench.data.convert import RECORD, ConvertSpec, convert_dataset, restored
from segbench.data.dataset import Archives, Converted, Sample
from segbench.data.writing import writer
from segbench.errors import OutOfMemory, SegbenchError
from segbench.files import UNFINISHED

CLASSES = [Category(id=1, name="disc", isthing=True, color=(9, 0, 0))]
IMAGES = 40
SIDE = 16


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert an archive of grey images, whose objects are their bright pixels; `deep`: of 16 bits."""
    (root,) = archives.values()
    samples = _samples(root, Path(options["log"]), options.get("die_after", 10**6))
    return Converted(CLASSES, True, "test", samples, orientation="stored")


def _samples(root: Path, log: Path, die_after: int) -> Iterator[Sample]:
    for number, path in enumerate(sorted(root.iterdir())):
        if number == die_after and not log.with_suffix(".died").exists():
            log.with_suffix(".died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        split = "test" if number % 4 == 3 else "train"
        yield Sample(split, path.stem, path, load=partial(_truth, path, log))


def _truth(path: Path, log: Path) -> dict[str, Any]:
    with log.open("a") as file:
        file.write(f"{path.name} {os.getpid()}\n")
    array = np.asarray(Image.open(path))
    if path.stem.startswith("bad"):
        raise SegbenchError("has no truth", where=path, remedy="remove it")
    if path.stem.startswith("dead"):
        os.kill(os.getpid(), signal.SIGKILL)
    objects = [{"category_id": 1, "segmentation": array >= bound} for bound in (200, 250)]
    return {"instances": objects, "semantic": (array >= 200).astype(int)}


def archive(path: Path, *more: str, deep: bool = False) -> Path:
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as file:
        for name in [f"{number:03d}" for number in range(IMAGES)] + [*more]:
            content = io.BytesIO()
            array = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
            Image.fromarray(array.astype(np.uint16) * 7 + 300 if deep else array).save(content, "PNG")
            file.writestr(f"{name}.png", content.getvalue())
    return path


def spec(log: Path, **options: Any) -> ConvertSpec:
    about = {"title": "Discs", "licence": "none", "citation": "none", "tasks": ["semantic", "instance"]}
    options |= {"log": str(log)}
    return ConvertSpec(convert=f"{__name__}:convert", channels=1, options=options, **about)


def run(source: Path, out: Path, processes: int, **options: Any) -> list[str]:
    """Convert, and return the names of the images whose truth was read, a line each with the process."""
    log = out.parent / f"{out.name}.log"
    log.write_text("")
    convert_dataset("toy", spec(log, **options), [source], out, processes=processes)
    return log.read_text().splitlines()


def files(root: Path) -> dict[str, str]:
    """Hash all files but the record of the input, which differs in its options."""
    paths = (p for p in sorted(root.rglob("*")) if p.is_file() and p.name != RECORD)
    found = {str(p.relative_to(root)): p.read_bytes() for p in paths}
    return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start processes from the second image on, for two images each."""
    ensure_running()  # with what `fork_server` has chosen, for all tests
    monkeypatch.setattr(writer, "_FEW", 1)
    monkeypatch.setattr(writer, "_CHUNK", 2)


@pytest.mark.parametrize("deep", [False, True])
def test_processes_do_not_change_the_result(tmp_path: Path, few: None, deep: bool) -> None:
    source = archive(tmp_path / "discs.zip", deep=deep)
    alone = run(source, tmp_path / "alone", 1)
    together = run(source, tmp_path / "together", 3)
    assert files(tmp_path / "alone") == files(tmp_path / "together")
    assert len(alone) == len(together) == IMAGES
    pids = {int(line.split()[1]) for line in together}
    assert {int(line.split()[1]) for line in alone} == {os.getpid()} and len(pids - {os.getpid()}) > 1
    assert not (tmp_path / UNFINISHED).exists()
    assert len(json.loads((tmp_path / "alone/train/instances.json").read_text())["images"]) == 30


def run_killed(source: Path, out: Path, processes: int, **options: Any) -> list[str]:
    """Convert in another process, which is killed. Return the images whose truth it has read."""
    log = out.parent / f"{out.name}.log"
    process = fork_server.CONTEXT.Process(target=run, args=(source, out, processes), kwargs=options)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return log.read_text().splitlines()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_conversion_continues(tmp_path: Path, few: None, processes: int) -> None:
    source = archive(tmp_path / "discs.zip")
    run(source, tmp_path / "whole", 1)
    before = run_killed(source, tmp_path / "out", processes, die_after=30)
    assert before and not (tmp_path / "out").exists()
    (work,) = (tmp_path / UNFINISHED / "out.work").iterdir()
    extracted = {p.name: p.stat().st_ino for p in (work / "discs.zip").iterdir()}
    finished = (work / "journal").read_bytes().count(b"\n")
    with (work / "journal").open("ab") as file:
        file.write(b'{"number": 30, "split')  # a line that is not complete
    after = run(source, tmp_path / "out", processes, die_after=30)
    assert finished > 10 and len(after) == IMAGES - finished
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert not (tmp_path / UNFINISHED).exists()
    images = {p.name: p.stat().st_ino for p in (tmp_path / "out").glob("*/images/*")}
    assert images == extracted  # the archive was extracted once


@pytest.mark.parametrize("change", ["archive", "options", "code"])
def test_another_input_starts_again(tmp_path: Path, monkeypatch, few: None, change: str) -> None:
    source = archive(tmp_path / "discs.zip")
    run_killed(source, tmp_path / "out", 1, die_after=30)
    options = {"die_after": 30}
    if change == "archive":
        archive(source, "new")
    elif change == "options":
        options["extra"] = 1
    else:
        monkeypatch.setattr(module, "fingerprint", lambda *_: "other")
    assert len(run(source, tmp_path / "out", 1, **options)) == IMAGES + (change == "archive")
    assert not (tmp_path / UNFINISHED).exists()


def test_a_file_that_was_cut_off_is_written_again(tmp_path: Path, few: None) -> None:
    """As after a power cut."""
    source = archive(tmp_path / "discs.zip")
    run(source, tmp_path / "whole", 1)
    run_killed(source, tmp_path / "out", 1, die_after=30)
    (work,) = (tmp_path / UNFINISHED / "out.work").iterdir()
    (work / "dataset/train/semantic/000.png").write_bytes(b"")
    after = run(source, tmp_path / "out", 1, die_after=30)
    assert after[0].startswith("000.png") and len(after) == IMAGES - 30 + 1
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_errors_of_all_processes_are_listed_in_order(tmp_path: Path, few: None) -> None:
    bad = [f"bad{number}" for number in range(5)]
    source = archive(tmp_path / "discs.zip", *bad)
    texts = []
    for processes in (1, 3):
        with pytest.raises(SegbenchError, match="5 errors") as error:
            run(source, tmp_path / "out", processes)
        texts.append(str(error.value))
        assert error.value.remedy == "remove it"
    assert texts[0] == texts[1]
    assert texts[0].splitlines()[1:6] == [f"  discs.zip/{name}.png: has no truth" for name in bad]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["discs.zip", "out.log"]


def test_an_error_in_a_process_keeps_its_file_and_remedy(tmp_path: Path, few: None) -> None:
    source = archive(tmp_path / "discs.zip", "bad")
    with pytest.raises(SegbenchError, match=r"discs\.zip/bad\.png: has no truth") as error:
        run(source, tmp_path / "out", 2)
    assert (error.value.where, error.value.remedy) == ("discs.zip/bad.png", "remove it")


def test_a_process_that_is_killed_is_out_of_memory(tmp_path: Path, few: None) -> None:
    source = archive(tmp_path / "discs.zip", "dead")
    with pytest.raises(OutOfMemory, match="a process of this step was killed") as error:
        run(source, tmp_path / "out", 2)
    assert "fewer threads" in str(error.value.remedy)
    assert not (tmp_path / "out").exists() and (tmp_path / UNFINISHED / "out.work").is_dir()


def test_a_folder_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "discs").mkdir()
    with pytest.raises(SegbenchError, match=r"discs: is a folder, not a file\n  remedy: pack it as a zip"):
        run(tmp_path / "discs", tmp_path / "out", 1)


def test_a_finished_conversion_gets_its_description_back(tmp_path: Path) -> None:
    """Snakemake removes `dataset.json` if the check of the dataset, in the same job, fails or is killed."""
    source, out = archive(tmp_path / "discs.zip"), tmp_path / "out"
    run(source, out, 1)
    whole, given = files(out), spec(tmp_path / "out.log")
    assert not restored("toy", given, [source], out)  # nothing is missing: it is converted again
    (out / "dataset.json").unlink()
    assert not restored("toy", given.model_copy(update={"title": "Other"}), [source], out)
    assert restored("toy", given, [source], out) and files(out) == whole
    (out / "dataset.json").unlink()
    source.rename(tmp_path / "aside.zip")  # archives may be gone
    assert restored("toy", given, [source], out) and files(out) == whole
    (out / "dataset.json").unlink()
    archive(source, "more")
    assert not restored("toy", given, [source], out)
