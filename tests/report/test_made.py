"""Links from the page to the files of its cells."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

from fake_run import make_run

from segbench.contract.run import RunDescription
from segbench.report.made import link, made
from segbench.report.summarise import collect


def test_each_cell_has_links_to_what_is_there(tmp_path: Path) -> None:
    path = make_run(tmp_path, ("vessels",), (0,), images=1, size=(40, 60))
    root, out = path.parent, path.parent / "report"
    out.mkdir()
    inside, outside = root / "logs/train/unet.log", tmp_path / "secret.txt"
    for log, model in ((inside, "unet"), (outside, "fcn8s_vgg16")):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("a line")
        state = {"step": "evaluate", "state": "ok", "log": str(log)}
        (root / f"cells/vessels/{model}/seed0/state.json").write_text(json.dumps(state))
    run = RunDescription.read(path)
    rows = {row["title"]: row for row in made(run, collect(run)[1], "vessels", out)}
    assert list(rows) == [run.title(cell.model) for cell in run.cells]
    assert all((out / unquote(target)).exists() for row in rows.values() for target in row["links"].values())
    assert rows["unet"]["links"]["log"] == "../logs/train/unet.log"
    assert rows["unet"]["links"]["training.json"] == "../cells/vessels/unet/seed0/training.json"
    assert "log" not in rows["fcn8s_vgg16"]["links"], "it is outside of the run"
    assert "training.json" not in rows["control_truth"]["links"]
    assert rows["control_truth"]["control"] and rows["unet"]["status"] == "ok"


def test_addresses_are_quoted(tmp_path: Path) -> None:
    assert link(tmp_path / 'a "b"#c?.txt', tmp_path / "report") == "../a%20%22b%22%23c%3F.txt"
