import re

import numpy as np
import pandas as pd
import pytest
from fake_run import make_run
from PIL import Image

from segbench.contract.run import CellDescription, RunDescription
from segbench.report import plots
from segbench.report.summarise import collect, comparisons


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> RunDescription:
    root = tmp_path_factory.mktemp("run")
    return RunDescription.read(make_run(root, datasets=("street",), images=1, size=(40, 60), formats=["svg"]))


def test_a_plot_of_each_kind_in_the_formats_asked_for(tmp_path):
    path = make_run(tmp_path, datasets=("bubbles",), images=1, size=(40, 60), formats=["svg", "png"])
    run = RunDescription.read(path)
    scores, cells = collect(run)
    drawn = plots.draw(run, scores, comparisons(run, scores, cells), tmp_path / "plots")
    stems = {p.stem for p in drawn}
    pairs = {f"{kind}_bubbles_{task}" for kind in ("scores",) for task in ("semantic", "instance")}
    assert stems == {*pairs, "learning_bubbles"}, "one class needs no heat map"
    assert {p.name for p in (tmp_path / "plots").iterdir()} == {
        f"{s}.{k}" for s in stems for k in ("svg", "png")
    }
    with Image.open(tmp_path / "plots" / "scores_bubbles_instance.png") as image:
        assert min(image.size) > 200 and len(np.unique(np.asarray(image.convert("L")))) > 20


def test_plots_are_the_same_in_every_run(tmp_path):
    path = make_run(tmp_path, datasets=("vessels",), images=1, size=(40, 60), formats=["svg"])
    run = RunDescription.read(path)
    scores, cells = collect(run)
    tables = comparisons(run, scores, cells)
    for name in ("a", "b"):
        plots.draw(run, scores, tables, tmp_path / name)
    for drawn in (tmp_path / "a").iterdir():
        assert drawn.read_bytes() == (tmp_path / "b" / drawn.name).read_bytes()


def test_hostile_names_stay_text(street, tmp_path):
    run = street.model_copy(deep=True)
    run.models["unet"].title = '</svg><script>alert("$x^2_$")</script>\n' + "w" * 300
    scores, cells = collect(run)
    tables = comparisons(run, scores, cells)
    plots.draw(run, scores, {("street", "panoptic"): tables["street", "panoptic"]}, tmp_path)
    for path in tmp_path.iterdir():
        text = path.read_text()
        assert "<script" not in text and text.count("</svg>") == 1


def test_nothing_is_drawn_of_nothing(street, tmp_path):
    run = street.model_copy(update={"root": tmp_path})
    scores, cells = collect(run)
    assert scores.empty
    assert plots.draw(run, scores, comparisons(run, scores, cells), tmp_path / "plots") == []


def test_networks_keep_their_look_and_differ():
    cells = [CellDescription(dataset="d", model=f"m{i}", seed=0, task="semantic") for i in range(30)]
    run = RunDescription(name="r", cells=cells, datasets={})
    look = plots.looks(run)
    assert len({(v.color, v.marker) for v in look.values()}) == 30
    assert len({v.color for v in list(look.values())[:7]}) == 7


def test_histories_are_thinned_and_broken_ones_skipped(tmp_path):
    path = make_run(tmp_path, datasets=("vessels",), images=1, size=(40, 60))
    run = RunDescription.read(path)
    first, second = (path.parent / "cells" / "vessels" / "unet" / f"seed{s}" / "history.csv" for s in (0, 1))
    rows = pd.DataFrame({"iteration": range(1, 10_001), "total": 1.0, "validation": np.nan})
    rows.to_csv(first, index=False)
    second.write_text("")
    found = plots.read_histories(run, "vessels")
    unet = found[found["model"] == "unet"]
    assert 100 <= len(unet) <= 200 and set(unet["seed"]) == {0}
    assert (unet["total"] == 1).all()


def test_a_training_that_broke_off_shows_its_curve(tmp_path):
    path = make_run(tmp_path, datasets=("vessels",), images=1, size=(40, 60))
    folder = path.parent / "cells" / "vessels" / "unet" / "seed0"
    (folder / "history.csv").rename(folder / "history.partial.csv")
    found = plots.read_histories(RunDescription.read(path), "vessels")
    assert {("unet", 0), ("unet", 1)} <= set(zip(found["model"], found["seed"]))


def test_text_is_cut_to_one_short_line():
    assert plots.short("a\nb  c") == "a b c"
    assert re.fullmatch(r"x{27}…", plots.short("x" * 300))


def test_the_validation_score_is_beside_the_loss(tmp_path):
    path = make_run(tmp_path, datasets=("vessels",), seeds=(0,), images=1, size=(40, 60), formats=["svg"])
    run = RunDescription.read(path)
    cell = path.parent / "cells/vessels/unet/seed0"
    lines = [
        "iteration,total,validation,validation_score",
        "1,2,,",
        "2,1.5,1.7,0.25",
        "3,1,,",
        "4,0.9,1.1,0.75",
    ]
    (cell / "history.csv").write_text("\n".join(lines))
    scores, cells = collect(run)
    found = plots.read_histories(run, "vessels")
    assert found.loc[found["model"] == "unet", "validation_score"].dropna().tolist() == [0.25, 0.75]
    drawn = plots.draw(run, scores, comparisons(run, scores, cells), tmp_path / "plots")
    caption = next(p.caption for p in drawn if p.kind == "learning")
    text = (tmp_path / "plots/learning_vessels.svg").read_text()
    assert caption.endswith(plots.VALIDATION_NOTE) and text.count("validation score") == 1


def test_names_of_controls_do_not_overlap():
    values = pd.Series({"random": 0.29, "constant": 0.31, "human (10 of 16 images)": 0.89, "truth": 1.0})
    assert plots._levels(values) == [0, 1, 0, 0], "the third ends at its line, left of the fourth"
    assert plots._levels(values.replace(0.89, 0.95)) == [0, 1, 0, 1]
    assert plots._levels(pd.Series({"random": 0.1, "constant": 0.5, "truth": 1.0})) == [0, 0, 0]
