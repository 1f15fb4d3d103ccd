"""`segbench bundle`: one archive of a run."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from edited import edit
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from segbench.cli import app
from segbench.contract.run import RunDescription
from segbench.errors import SegbenchError
from segbench.runs.bibtex import bibtex
from segbench.runs.bundle import bundle
from segbench.runs.cited import Cited
from segbench.runs.compare import compare
from segbench.runs.latex import escaped
from segbench.runs.private import Private
from segbench.runs.results import read_results
from segbench.runs.verify import verify

REGISTRY = Path(__file__).parents[2] / "config"
CELL = "cells/bubbles/unet/seed0"


def bundled(run: Path, out: Path, **options: Any) -> tuple[dict[str, bytes], list[str]]:
    missing = bundle(RunDescription.read(run / "run.json"), out, REGISTRY, **options)
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name) for name in archive.namelist()}, missing


def test_equal_runs_give_equal_bytes_without_private_names(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/jo.doe")
    edit(run / CELL / "training.json", node="lab7", slurm_job="99", versions={"torch": "2.15.0"})
    edit(
        run / CELL / "state.json", state="failed", reason="/home/jo.doe/x/a.png: torn", log="/var/log/jo.doe"
    )
    config = f"run: {{data: /scratch/jo.doe/data, results: {run.parent}, mirror: 'https://jo:pw@host/m'}}\n"
    edit(run / "run.json", config_yaml=config)
    (run / "report").mkdir()
    picture = "data:image/png;base64,/9j/4AAQ/abc+/d"
    script = "<script>let a = b.replace(/x/g, '/y/z')</script>"
    page = f"<p>{tmp_path}/a.png, /opt/jo.doe/b</p><img src='{picture}'>{script}"
    (run / "report" / "index.html").write_text(page)
    found, missing = bundled(run, tmp_path / "a.zip")
    bundled(run, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    for name, content in found.items():
        assert not re.search(rb"jo\.doe|jo:pw|lab7|/home|/scratch", content), name
        assert str(tmp_path).encode() not in content, name
    assert found["report/index.html"].decode().endswith(f"<img src='{picture}'>{script}")
    assert missing == ["cells/bubbles/unet/seed0: failed: …/x/a.png: torn"]
    assert "- cells/bubbles/unet/seed0: failed" in found["README.md"].decode()


def test_the_bundle_is_verified_and_compared_like_the_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled(run, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    monkeypatch.chdir(tmp_path / "unpacked")
    found = verify(RunDescription.read(Path("run.json")))
    assert not found.deviations.found and found.exit_status == 0
    same = compare(read_results("."), read_results(str(run)), 0.0, exact=True)
    assert same.exit_status == 0 and len(same.scores) == 8


def test_the_crate_describes_every_file(run: Path, tmp_path: Path) -> None:
    """RO-Crate 1.1: descriptor, root with name, description, date and licence; all links lead somewhere."""
    orcid, home = "https://orcid.org/0000-0002-1825-0097", "https://www.example.org/"
    found, _ = bundled(
        run,
        tmp_path / "a.zip",
        licence="https://creativecommons.org/licenses/by/4.0/",
        authors=[f"Josiah Carberry <{orcid}>", "Jo Doe"],
        publisher=f"A university <{home}>",
    )
    crate = json.loads(found["ro-crate-metadata.json"])
    assert crate["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(entities) == len(crate["@graph"]) and all("@type" in one for one in entities.values())
    descriptor, root = entities["ro-crate-metadata.json"], entities["./"]
    assert descriptor["about"] == {"@id": "./"} and descriptor["@type"] == "CreativeWork"
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert root["@type"] == "Dataset" and root["name"] and root["description"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", root["datePublished"])
    assert root["license"] == {"@id": "https://creativecommons.org/licenses/by/4.0/"}
    assert root["author"] == [{"@id": orcid}, {"@id": "#Person-Jo%20Doe"}]
    person = {"@id": orcid, "@type": "Person", "name": "Josiah Carberry", "url": orcid}
    assert entities[orcid] == person | {"affiliation": {"@id": home}}
    assert root["publisher"] == {"@id": home}
    organisation = {"@id": home, "@type": "Organization", "name": "A university", "url": home}
    assert entities[home] == organisation
    assert not any(
        isinstance(value, list) and len(value) == 1 for one in crate["@graph"] for value in one.values()
    )
    links = [
        link["@id"]
        for entity in entities.values()
        for value in entity.values()
        for link in (value if isinstance(value, list) else [value])
        if isinstance(link, dict)
    ]
    outside = {"https://w3id.org/ro/crate/1.1"}
    assert set(links) - set(entities) == outside
    files = {unquote(key) for key, one in entities.items() if one["@type"] == "File"}
    assert files == set(found) - {"ro-crate-metadata.json"}
    assert {link["@id"] for link in root["hasPart"]} == {
        key for key, one in entities.items() if one["@type"] == "File"
    }
    scores = entities[f"{CELL}/scores.csv"]
    assert scores["contentSize"] == str(len(found[f"{CELL}/scores.csv"])) and len(scores["sha256"]) == 64
    assert entities["#dataset-bubbles"]["license"] == "CC0-1.0"


@pytest.mark.parametrize("wrong", ["", "<https://a.org>", "Jo <a.org>", "Jo <https://a.org> x"])
def test_an_author_has_a_name(run: Path, tmp_path: Path, wrong: str) -> None:
    with pytest.raises(SegbenchError, match="is neither a name nor a name with an address"):
        bundled(run, tmp_path / "a.zip", authors=[wrong])
    assert not (tmp_path / "a.zip").exists()


def test_citations_licences_and_tables(run: Path, tmp_path: Path) -> None:
    found, missing = bundled(run, tmp_path / "a.zip")
    assert missing == ["report/"]
    citations = found["citations.bib"].decode()
    assert "@inproceedings{he2017mask,\n  author = {He and Gkioxari and Dollár and Girshick}," in citations
    assert (
        "@inproceedings{ronneberger2015convolutional," in citations and "@misc{dataset_bubbles," in citations
    )
    licences = found["licences.md"].decode()
    assert "| dataset | bubbles | Bubbles (generated) | CC0-1.0 |" in licences
    table = found["latex/bubbles_instance.tex"].decode()
    assert r"\toprule" in table and r"\bottomrule" in table and r"\cite{he2017mask}" in table
    rows = [line for line in table.splitlines() if line.endswith(r"\\")]
    columns = re.search(r"\\begin{tabular}{(\w+)}", table)
    assert columns and {line.count(" & ") + 1 for line in rows} == {len(columns[1])}
    assert len(rows) == 1 + 2 + 2 and r"control\_random" in table
    cited = set(re.findall(r"\\cite{(\w+)}", table))
    assert cited <= set(re.findall(r"@\w+{(\w+),", citations))
    cells = list(csv.DictReader(io.StringIO(found["summary/cells.csv"].decode())))
    assert len(cells) == 6 and "train_seconds" in cells[0]


def test_models_and_images_are_left_out_unless_asked(run: Path, tmp_path: Path) -> None:
    (run / CELL / "model.pt").write_bytes(b"weights")
    (run / "report" / "gallery").mkdir(parents=True)
    (run / "report" / "index.html").write_text("<p></p>")
    (run / "report" / "gallery" / "a.png").write_bytes(b"image")
    found, _ = bundled(run, tmp_path / "a.zip")
    assert not [name for name in found if name.endswith((".pt", "a.png")) or "predictions/semantic" in name]
    found, missing = bundled(run, tmp_path / "a.zip", models=True)
    assert found[f"{CELL}/model.pt"] == b"weights"
    assert "cells/bubbles/unet/seed1/model.pt" in missing and f"{CELL}/model.pt" not in missing


def test_what_is_missing_is_named(run: Path, tmp_path: Path) -> None:
    (run / CELL / "per_image.parquet").unlink()
    (run / CELL / "scores.json").write_text("{")
    (run / "summary" / "tables" / "bubbles_semantic.csv").unlink()
    description = json.loads((run / "run.json").read_text())
    description["config_yaml"] = "recipes: {unet: {bubbles: {pretrained: my_own}}}\n"
    description["models"]["unet"]["card"] = {"Paper": "Ronneberger et al., MICCAI 2015"}
    description["datasets"]["bubbles"]["root"] = str(tmp_path / "gone")
    (run / "run.json").write_text(json.dumps(description))
    missing = bundle(RunDescription.read(run / "run.json"), tmp_path / "a.zip", tmp_path / "no registry")
    assert f"{CELL}/per_image.parquet" in missing and "data/bubbles/dataset.json" in missing
    assert any(one.startswith(f"{CELL}/scores.json: cannot be read") for one in missing)
    assert "licence and citation of the dataset bubbles" in missing
    assert "licence and citation of the weights my_own" in missing
    # run.json has the card of the other one
    assert [one for one in missing if "network" in one] == [
        "licence and citation of the network mask_rcnn_resnet50_fpn"
    ]


def test_the_command(run: Path, tmp_path: Path) -> None:
    arguments = ["bundle", str(run), "--config", str(REGISTRY), "--out"]
    done = CliRunner().invoke(app, [*arguments, str(tmp_path / "a.zip")])
    assert done.exit_code == 0 and "a.zip: 0." in done.output and "missing: report/" in done.output
    refused = CliRunner().invoke(app, [*arguments, str(tmp_path / "a.tar")])
    assert isinstance(refused.exception, SegbenchError) and not (tmp_path / "a.tar").exists()


PARTS = st.lists(st.text("abcXYZ019_-.", min_size=1), min_size=2, max_size=5)


@given(parts=PARTS, before=st.sampled_from(["", "cannot read ", "'", "(", "a, ", "path=x "]))
def test_of_a_path_only_its_name_is_left(parts: list[str], before: str) -> None:
    text = Private([]).text(f"{before}/{'/'.join(parts)}: no such file")
    assert text == f"{before}…/{parts[-1]}: no such file"


@pytest.mark.parametrize(
    "text",
    [
        "https://arxiv.org/abs/1505.04597",
        "and/or",
        "3 / 4",
        "results/demo/cells/a",
        "IoU .5/.75/.95",
        "</td></tr>",
    ],
)
def test_what_is_no_absolute_path_stays(text: str) -> None:
    assert Private([Path("/home/joe")]).text(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/my files/x.png: torn", "…/x.png: torn"),
        ("file:///home/joe/m", "…/m"),
        ("~/x/y.png", "…/y.png"),
        ("~joe/x.png", "…/x.png"),
        ("https://joe:secret@host/x", "https://host/x"),
        ("/data/my files2/x.png", "…/my files2/x.png"),
    ],
)
def test_known_folders_and_users(text: str, expected: str) -> None:
    assert Private([Path("/data/my files")]).text(text) == expected


COMMANDS = r"\\(textbackslash|textasciitilde|textasciicircum|dag)\{\}|\\[&%$#_{}]|\$\\pm\$"


@settings(max_examples=30)
@given(st.text(max_size=40))
def test_escaped_text_has_no_command_of_its_own(text: str) -> None:
    plain = re.sub(COMMANDS, "", escaped(text))
    assert not set(plain) & set("\\&%$#_{}~^")


@settings(max_examples=30)
@given(title=st.text(max_size=30), citation=st.text(max_size=60))
def test_bibtex_has_balanced_braces(title: str, citation: str) -> None:
    entry = bibtex([Cited("dataset", "a-b", title, "", citation)])
    plain = re.sub(r"\\[{}]", "", entry)
    assert entry.startswith("@misc{dataset_a_b,") and plain.count("{") == plain.count("}")
