"""`segbench compare`: the same cells of two runs."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
from edited import edit
from typer.testing import CliRunner

from segbench.cli import app
from segbench.contract.run import RunDescription
from segbench.errors import SegbenchError
from segbench.evaluation.intervals import difference
from segbench.evaluation.statistics import Statistics
from segbench.runs.changes import changes
from segbench.runs.compare import compare
from segbench.runs.results import read_results

CELL = "cells/bubbles/unet/seed0"


def compared(a: Path | str, b: Path | str, margin: float = 0.005, **options: bool):
    return compare(read_results(str(a)), read_results(str(b)), margin, **options)


def replaced(run: Path, model: str, by: str) -> None:
    """Give a network the predictions of another model, scored."""
    for seed in ("seed0", "seed1"):
        for name in ("scores.csv", "scores.json", "per_image.parquet"):
            source = run / "cells/bubbles" / by / ("seed0" if by.startswith("control") else seed) / name
            shutil.copyfile(source, run / "cells/bubbles" / model / seed / name)


def test_a_run_is_equal_to_itself(scored: Path, run: Path) -> None:
    found = compared(scored, run, exact=True, every=True)
    assert set(found.scores["verdict"]) == {"same"} and found.exit_status == 0
    assert (found.scores["difference"] == 0).all()
    tested = found.scores[found.scores["paired"] == "images and seeds"]
    assert set(tested["task"]) == {"semantic", "instance"} and (tested[["low", "high"]] == 0).all(axis=None)
    assert not found.only and not found.failed
    assert changes(found.a, found.b).empty


def test_another_network_differs(scored: Path, run: Path) -> None:
    replaced(run, "unet", "control_random")
    found = compared(scored, run)
    rows = found.scores.set_index(["model", "task"])
    assert rows.loc[("unet", "semantic"), "verdict"] == "differs" and found.exit_status == 1
    assert set(rows.drop(index="unet")["verdict"]) == {"same"}
    assert rows.loc[("unet", "semantic"), "high"] < 0


def test_the_interval_is_that_of_the_paired_difference(scored: Path) -> None:
    """With one seed on each side, nothing but the images varies."""
    found = compared(f"{scored}@0", f"{scored}@1").scores.set_index(["model", "task"])
    one, two = (Statistics(scored / f"cells/bubbles/unet/seed{s}/per_image.parquet") for s in (0, 1))
    row = found.loc[("unet", "instance")]
    assert (row["low"], row["high"]) == pytest.approx(difference(two, one, "instance"))
    assert row["paired"] == "images" and row["b"] - row["a"] == pytest.approx(row["difference"])


def test_cells_of_one_run_only_are_named(scored: Path) -> None:
    found = compared(f"{scored}@0", f"{scored}@1")
    assert found.only == [(f"bubbles/control_{n}/seed0", f"{scored}@0") for n in ("random", "truth")]
    assert found.exit_status == 0 or (found.scores["verdict"] == "differs").any()


def test_a_cell_that_failed_cannot_be_compared(scored: Path, run: Path) -> None:
    edit(run / CELL / "state.json", state="failed", reason="loss is nan")
    found = compared(scored, run)
    assert found.exit_status == 2
    assert found.failed == [(f"bubbles/unet/seed0 of {run}", "failed: loss is nan")]
    row = found.scores.set_index(["model", "task"]).loc[("unet", "semantic")]
    assert row["seeds"] == "1" and row["verdict"] == "same"  # the other seed is


def test_unlike_contracts_are_not_compared(scored: Path, run: Path) -> None:
    for seed in ("seed0", "seed1"):
        path = run / "cells/bubbles/unet" / seed / "scores.csv"
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        frame.loc[frame["metric"] == "ap", "max_detections"] = "300"
        frame.to_csv(path, index=False)
    found = compared(scored, run)
    assert found.exit_status == 2
    assert [name for name, _ in found.failed] == ["bubbles/unet"]
    assert "max_detections '100' and '300'" in found.failed[0][1]
    assert ("unet", "semantic") in set(zip(found.scores["model"], found.scores["task"]))


@pytest.mark.parametrize(
    ("margin", "exact", "verdict"), [(0.0, False, "differs"), (0.02, False, "same"), (0.0, True, "differs")]
)
def test_without_statistics_the_margin_decides(
    scored: Path, run: Path, margin: float, exact: bool, verdict: str
) -> None:
    """A score that is 0.01 lower, without the file that an interval follows from."""
    (run / CELL / "per_image.parquet").unlink()
    path = run / CELL / "scores.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    miou = (frame["metric"] == "miou") & (frame["class"] == "")
    frame.loc[miou, "value"] = str(float(frame.loc[miou, "value"].iloc[0]) - 0.01)
    frame.to_csv(path, index=False)
    row = compared(f"{scored}@0", f"{run}@0", margin, exact=exact).scores.set_index(["model", "task"])
    row = row.loc[("unet", "semantic")]
    assert row["difference"] == pytest.approx(-0.01) and math.isnan(row["low"])
    assert row["verdict"] == verdict


def test_other_data_is_not_paired(scored: Path, run: Path) -> None:
    paired = compared(f"{scored}@0", f"{run}@1").scores
    for cell in RunDescription.read(run / "run.json").cells:
        edit(run / "cells" / cell.name / "predictions" / "made_from.json", data="f" * 64)
        edit(scored / "cells" / cell.name / "predictions" / "made_from.json", data="e" * 64)
    try:
        found = compared(f"{scored}@0", f"{run}@1")
    finally:
        for path in scored.rglob("made_from.json"):
            path.unlink()
    assert set(found.scores["paired"]) == {""} and found.scores["low"].notna().all()
    assert (found.scores["difference"] == paired["difference"]).all()
    assert "dataset.json" in set(changes(found.a, found.b)["key"])


def test_what_changed(scored: Path, run: Path) -> None:
    edit(
        run / "run.json",
        config_yaml="run: {seeds: [0, 1], run: other}\nrecipes: {unet: {bubbles: {lr: 2}}}\n",
    )
    versions = {"torch": "2.16.0"}
    edit(run / CELL / "training.json", sources={"code": "abc"}, versions=versions, gpu="H100", device="cuda")
    rows = changes(read_results(str(scored)), read_results(str(run)))
    found = {(r.kind, r.key): (r.a, r.b, r.cells) for r in rows.itertuples()}
    name = "bubbles/unet/seed0"
    assert found["configuration", "recipes.unet.bubbles.lr"] == ("", "2", "")
    assert found["code", "training"] == ("", "abc", name)
    assert found["versions", "torch"] == ("2.15.0", "2.16.0", name)
    assert found["machine", "training: gpu"] == ("", "H100", name)
    assert not any("run.run" in key for _, key in found)


def test_the_command_says_it_by_its_status(scored: Path, run: Path, tmp_path: Path) -> None:
    invoke = CliRunner().invoke
    out = tmp_path / "out.json"
    same = invoke(
        app, ["compare", str(scored), str(run), "--json", str(out), "--csv", str(tmp_path / "o.csv")]
    )
    assert same.exit_code == 0 and "8 same; margin 0.005" in same.output
    (document,) = json.loads(out.read_text())
    assert document["exit_status"] == 0 and len(document["scores"]) == 8
    assert len(pd.read_csv(tmp_path / "o.csv")) == 8
    replaced(run, "unet", "control_random")
    several = invoke(app, ["compare", str(scored), str(scored), str(run)])
    assert several.exit_code == 1 and "differs" in several.output
    assert invoke(app, ["compare", str(scored), str(tmp_path / "none")]).exit_code == 2
    assert invoke(app, ["compare", str(scored)]).exit_code == 2


@pytest.mark.parametrize("given", ["nowhere", "@7"])
def test_a_run_that_is_not_there(scored: Path, given: str) -> None:
    with pytest.raises(SegbenchError, match=r"no such (run|cells)"):
        read_results(f"{scored}{given}" if given.startswith("@") else given)
