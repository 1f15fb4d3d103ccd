"""Names that are code, paths or markup somewhere: words in every table, page, plot and gallery."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fake_run import make_run
from test_page import Page

from segbench.contract.run import RunDescription
from segbench.contract.scores import Contract, Score
from segbench.contract.view import Category
from segbench.errors import SegbenchError
from segbench.evaluation.runner.show import show
from segbench.report.page import report
from segbench.report.summarise import summarise

pytestmark = pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout")
NAMES = (
    "<script>alert(1)</script>",
    "</svg><img src=x onerror=alert(1)>",
    "../../../x",
    "two\nlines",
    "w" * 300,
    "Zellkörper 細胞 \N{PILE OF POO}",
    "\N{RIGHT-TO-LEFT MARK}\N{RIGHT-TO-LEFT OVERRIDE}txt.exe",
    "a|b",
    "`code` *b* _i_ [x](http://y)",
    "=cmd",
    "$x^2_$ {{ 7 * 7 }} {% x %} %s",
    "[/red][bold]",
    "NA",
)


def edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose classes, titles and reasons are called by `NAMES`; its folder."""
    path = make_run(
        tmp_path_factory.mktemp("run"), ("street",), (0,), images=1, size=(40, 60), formats=["svg"]
    )
    run = json.loads(path.read_text())
    for entry, title in zip(run["models"].values(), NAMES):
        entry |= {"title": title, "card": {NAMES[0]: NAMES[3]}}
    run["datasets"]["street"]["title"] = " ".join(NAMES)
    run["skipped"] = [{"dataset": n, "model": n, "reason": n} for n in NAMES]
    path.write_text(json.dumps(run))
    data = Path(run["datasets"]["street"]["root"])

    def rename(content: dict[str, Any]) -> None:
        for category, name in zip(content["categories"], NAMES):
            category["name"] = name

    for file in (data / "dataset.json", data / "test/instances.json", data / "test/panoptic.json"):
        edit(file, rename)
    for cell in path.parent.glob("cells/*/*/*"):
        old = list(csv.reader((cell / "scores.csv").open()))
        classes = list(dict.fromkeys(row[2] for row in old[1:] if row[2]))
        new = [[dict(zip(classes, NAMES)).get(v, v) if i == 2 else v for i, v in enumerate(r)] for r in old]
        with (cell / "scores.csv").open("w", newline="") as file:
            csv.writer(file).writerows(new)
    for seed, reason in enumerate(NAMES[:1]):
        state = {"step": "train", "state": "failed", "reason": reason}
        (path.parent / f"cells/street/fcn8s_vgg16/seed{seed}/state.json").write_text(json.dumps(state))
    summarise(path, path.parent / "summary")
    report(path, path.parent / "summary", path.parent / "report")
    return path.parent


def test_the_page_holds_them_as_words(built: Path) -> None:
    page = Page((built / "report/index.html").read_text(encoding="utf-8"))
    assert {"iframe", "svg"}.isdisjoint(page.tags) and len(page.scripts) == 1
    assert all(link.startswith(("data:image/", "#", "pictures/street_", "../cells/")) for link in page.links)
    for name in NAMES:
        assert " ".join(name.split()) in page.text, name
    assert sum(link.startswith("pictures/") for link in page.links) == 3, "all galleries are drawn"


def test_the_tables_keep_their_columns(built: Path) -> None:
    texts = [path.read_text() for path in (built / "summary/tables").glob("*.md")]
    assert len(texts) == 3
    for text in texts:
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {rows[0].count("|")}
        assert "<script" not in text and "<img" not in text
    for path in (built / "summary/tables").glob("*.html"):
        assert {"script", "img"}.isdisjoint(Page(path.read_text()).tags)
    with (built / "summary/scores.csv").open(newline="") as file:
        assert {row["class"] for row in csv.DictReader(file)} >= set(NAMES[:6])


def test_the_plots_hold_them_as_words(built: Path) -> None:
    plots = list((built / "report/plots").glob("*.svg"))
    kinds = Counter(path.name.partition("_")[0] for path in plots)
    assert kinds.pop("metrics", 0) <= 3
    assert kinds == {"scores": 3, "cost": 3, "classes": 3, "learning": 1}
    for path in plots:
        text = path.read_text()
        assert "<script" not in text and "<img" not in text and text.count("</svg>") == 1


def test_the_terminal_shows_them(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    contract = Contract("dataset", "void", "undefined")
    show([Score("semantic", "miou", name, 0.5, contract) for name in NAMES], 1)
    shown = capsys.readouterr().out
    for name in (n for n in NAMES if n.isprintable()):
        assert name in shown


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", "<script>", "w" * 300, "", ".hidden", "a\nb"])
def test_keys_that_become_paths_are_refused(name: str, built: Path, tmp_path: Path) -> None:
    run = json.loads((built / "run.json").read_text())
    run["datasets"] = {name: run["datasets"]["street"]}
    for cell in run["cells"]:
        cell["dataset"] = name
    (tmp_path / "run.json").write_text(json.dumps(run))
    with pytest.raises(SegbenchError, match="does not describe a run"):
        RunDescription.read(tmp_path / "run.json")


def test_a_colour_is_a_colour() -> None:
    with pytest.raises(ValueError, match="less than or equal to 255"):
        Category(id=1, name="a", isthing=True, color=(0, 256, 0))
