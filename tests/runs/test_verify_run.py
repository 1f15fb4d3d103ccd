"""`segbench verify`: tables and inputs of a run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest
from edited import edit
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from segbench.cli import app
from segbench.contract.run import RunDescription
from segbench.runs.deviations import Deviations
from segbench.runs.inputs import inputs
from segbench.runs.verify import lines_of, verify

CELL = "cells/bubbles/unet/seed0"


def verified(run: Path):
    return verify(RunDescription.read(run / "run.json"))


def rewritten(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_run_as_it_was_made(scored: Path) -> None:
    before = sorted(scored.rglob("*"))
    found = verified(scored)
    assert not found.deviations.found and not found.missing and found.exit_status == 0
    assert found.deviations.values > 500 and len(found.again.cells) == 6
    assert sorted(scored.rglob("*")) == before


def test_a_score_that_does_not_follow(run: Path) -> None:
    """It is in the cell and in the tables: all of them are named, with both values."""
    frame = pd.read_csv(run / CELL / "scores.csv", dtype=str, keep_default_na=False)
    at = (frame["metric"] == "miou") & (frame["class"] == "")
    true = frame.loc[at, "value"].iloc[0]
    frame.loc[at, "value"] = "0.999"
    frame.to_csv(run / CELL / "scores.csv", index=False)
    rewritten(run / "summary" / "scores.csv", true, "0.999")
    found = verified(run)
    shown = [str(one) for one in found.deviations.found]
    assert shown == [
        f"{CELL}/scores.csv: semantic miou, value: recorded 0.999, computed {true}",
        f"summary/scores.csv: bubbles semantic unet 0 miou, value: recorded 0.999, computed {true}",
    ]
    assert found.exit_status == 1 and any(shown[0] in line for line in lines_of(found))


def test_tables_of_a_summary(run: Path) -> None:
    table = run / "summary" / "tables" / "bubbles_semantic.md"
    rewritten(table, "control", "kontrol")
    (run / "summary" / "comparison" / "pairs.csv").unlink()
    (run / "summary" / "tables" / "more.csv").write_text("model\nunet\n")
    files = {one.file: (one.recorded, one.computed) for one in verified(run).deviations.found}
    assert "kontrol" in files["summary/tables/bubbles_semantic.md"][0]
    assert files["summary/comparison/pairs.csv"] == ("missing", "there")
    assert files["summary/tables/more.csv"] == ("there", "missing")


def test_statistics_that_are_missing_or_damaged(run: Path) -> None:
    (run / CELL / "per_image.parquet").unlink()
    (run / "cells/bubbles/unet/seed1/per_image.parquet").write_bytes(b"PAR1")
    found = verified(run)
    assert [line.split(":")[0] for line in found.missing] == ["bubbles/unet/seed0", "bubbles/unet/seed1"]
    assert "per_image.parquet is missing" in found.missing[0]
    assert found.exit_status == 1  # the summary has scores that do not follow from anything


def test_inputs_that_are_not_those_recorded(run: Path) -> None:
    description = RunDescription.read(run / "run.json")
    data = description.datasets["bubbles"].root / "dataset.json"
    own = hashlib.sha256(data.read_bytes()).hexdigest()
    edit(run / CELL / "predictions" / "made_from.json", data=own)
    edit(run / "cells/bubbles/unet/seed1/predictions/made_from.json", data="0" * 64)
    sources = {"data": own, "archives": {"a.zip": "1" * 64, "../../b.zip": "2" * 64}, "weights": None}
    edit(run / CELL / "training.json", sources=sources)
    states = [(one.name, one.state, one.cell) for one in inputs(description)]
    assert states == [
        ("bubbles/dataset.json", "same", "bubbles/unet/seed0"),
        ("a.zip", "not here", "bubbles/unet/seed0"),
        ("../../b.zip", "not here", "bubbles/unet/seed0"),
        ("bubbles/dataset.json", "differs", "bubbles/unet/seed1"),
    ]


def test_the_command_says_it_by_its_status(run: Path, tmp_path: Path) -> None:
    invoke = CliRunner().invoke
    good = invoke(app, ["verify", str(run)])
    assert good.exit_code == 0 and "values of 6 cells and the summary are computed again" in good.output
    rewritten(run / "summary" / "cells.csv", "semantic", "panoptic")
    bad = invoke(app, ["verify", str(run)])
    assert bad.exit_code == 1 and "differs: summary/cells.csv" in bad.output
    assert invoke(app, ["verify", str(tmp_path / "none")]).exit_code == 2


FRAMES = st.lists(
    st.tuples(st.sampled_from("ab"), st.floats(-10, 10), st.sampled_from(["", "x", "NA"])),
    min_size=1,
    max_size=6,
)


@settings(max_examples=30)
@given(rows=FRAMES, place=st.integers(0, 5), by=st.floats(1e-6, 1))
def test_one_changed_number_is_one_deviation(
    rows: list[tuple[str, float, str]], place: int, by: float
) -> None:
    frame = pd.DataFrame(rows, columns=["model", "value", "text"]).set_index("model")
    same, other = Deviations(), Deviations()
    same.add_frames("f", frame, frame.astype({"value": str}))
    assert not same.found and same.values == 2 * len(rows)
    place %= len(rows)
    changed = frame.copy()
    changed.iloc[place, 0] += by * max(1, abs(changed.iloc[place, 0]))
    other.add_frames("f", frame, changed)
    (one,) = other.found
    assert float(one.recorded) == rows[place][1] and one.where.endswith("value")


@pytest.mark.parametrize(
    ("recorded", "computed", "equal"),
    [("", None, True), (None, float("nan"), True), ("0.1", 0.1 + 1e-17, True), ("0.1", "0.1001", False),
     ("", "0", False), ("True", "true", False), ("1", "1.0", True)],
)  # fmt: skip
def test_equal_values(recorded: object, computed: object, equal: bool) -> None:
    found = Deviations()
    found.add("file", "row", recorded, computed)
    assert bool(found.found) != equal
