from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from counted import write_run
from typer.testing import CliRunner

from segbench.cli import app
from segbench.comparison.power import detectable, power
from segbench.errors import SegbenchError
from segbench.report.summarise import summarise


def test_the_textbook_has_34_images_for_half_a_standard_deviation() -> None:
    """Cohen (1988): a paired t-test with d = 0.5 at 0.05 has a power of 80 % from 34 pairs on."""
    assert detectable(1, 0, 34, 1, 0.8) <= 0.5 < detectable(1, 0, 31, 1, 0.8)


def test_more_seeds_do_not_replace_images() -> None:
    assert detectable(0.1, 0.01, 20, 1000, 0.8) == pytest.approx(detectable(0.1, 0, 20, 1, 0.8), rel=0.01)
    assert detectable(0.1, 0.05, 20, 3, 0.8) > detectable(0.1, 0.05, 20, 10, 0.8)
    assert detectable(0.1, 0, 1, 1, 0.8) == np.inf


@pytest.mark.parametrize("seeds", [1, 3])
def test_of_a_run(tmp_path: Path, seeds: int) -> None:
    rng = np.random.default_rng(0)
    cells = {("d", m, s): rng.normal(0.6, 0.1, 20) for m in ("a", "b") for s in range(seeds)}
    path = write_run(tmp_path, cells)
    summarise(path, tmp_path / "summary")
    row = power(tmp_path, 0.02, 0.8).iloc[0]
    assert row["detectable"] > 0.02 and np.isnan(row["seed_sd"]) == (seeds == 1)
    at = {"image_sd": row["image_sd"], "seed_sd": row["seed_sd"] if seeds > 1 else 0.0, "seeds": seeds}
    if not np.isnan(needed := row["images_needed"]):
        assert detectable(images=int(needed), wanted=0.8, **at) <= 0.02
        assert detectable(images=int(needed) - 1, wanted=0.8, **at) > 0.02
    printed = CliRunner().invoke(app, ["power", str(tmp_path), "--difference", "0.02"]).stdout
    assert "| D | semantic | 20 |" in printed and ("unknown" in printed) == (seeds == 1)


def test_a_run_without_a_summary(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"name": "r", "cells": [], "datasets": {}}))
    with pytest.raises(SegbenchError, match="no such folder of a summary"):
        power(tmp_path, 0.01, 0.8)
