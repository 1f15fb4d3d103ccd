"""`segbench overview` shows the intervals of the summary, if its scores are still those of the cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from counted import write_counts, write_run

from segbench.contract.run import RunDescription
from segbench.report.overview import INTERVALS_NOTE, overview, to_markdown
from segbench.report.summarise import summarise


def test_intervals_of_the_summary_that_are_still_true(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shares = {("cells", model, 0): rng.uniform(0.6, 0.9, 12) for model in ("unet", "fcn")}
    path = write_run(tmp_path, shares)
    run = RunDescription.read(path)
    assert INTERVALS_NOTE not in to_markdown(overview(run))
    summarise(path, tmp_path / "summary")
    frame = overview(run).set_index("model")
    text = to_markdown(overview(run))
    row = frame.loc["unet"]
    assert row["miou_low"] < row["miou"] < row["miou_high"]
    assert f"{row['miou']:.3f} [{row['miou_low']:.3f}, {row['miou_high']:.3f}]" in text.replace("*", "")
    assert INTERVALS_NOTE in text

    write_counts(tmp_path / "cells" / "cells" / "unet" / "seed0", shares["cells", "unet", 0] - 0.1)
    again = overview(run).set_index("model")
    assert np.isnan(again.loc["unet", "miou_low"]) and again.loc["fcn", "miou_low"] > 0
