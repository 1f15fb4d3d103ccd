import json
from pathlib import Path

import pandas as pd
import pytest
from fake_run import make_run

from segbench.contract.run import RunDescription
from segbench.report.page import report
from segbench.report.published import published
from segbench.report.summarise import collect, summarise

SCORE = {"split": "test", "metric": "miou", "tolerance": 0.05, "source": "a paper"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = make_run(tmp_path, datasets=("vessels",), images=1, size=(40, 60), formats=["svg"])
    content = json.loads(path.read_text())
    content["models"]["unet"]["published"] = [
        {"dataset": "vessels", "value": 0.5, **SCORE},
        {"dataset": "vessels", "value": 0.99, **SCORE},
        {"data": "other vessels", "value": 0.5, **SCORE},
        {"dataset": "vessels", "data": "other eyes", "value": 0.5, **SCORE},
    ]
    path.write_text(json.dumps(content))
    return path


def test_ours_stands_beside_the_published_score_of_the_same_data(run):
    found = RunDescription.read(run)
    scores, _ = collect(found)
    reached, missed, _ = published(found, scores)
    own = scores[(scores["model"] == "unet") & (scores["metric"] == "miou") & (scores["class"] == "")]
    assert len(own) == 2 and reached["ours"] == pytest.approx(own["value"].mean())
    assert reached["reproduced"] and missed["reproduced"] == False and not reached["unlike"]  # noqa: E712
    assert (reached["where"], reached["metric"]) == ("vessels, test", "mIoU")


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"data": "with ResNet-101"}, "with ResNet-101"), ({"split": "test-dev"}, "test, not test-dev")],
)
def test_scores_of_other_data_are_neither_reached_nor_missed(run, change, reason):
    found = RunDescription.read(run)
    one = found.models["unet"].published[0].model_copy(update=change)
    unet = found.models["unet"].model_copy(update={"published": [one]})
    found = found.model_copy(update={"models": {**found.models, "unet": unet}})
    (row,) = published(found, collect(found)[0])
    assert row["ours"] == row["ours"] and row["reproduced"] is None and row["unlike"] == reason
    (row,) = published(found.model_copy(update={"recipe": "demo"}), collect(found)[0])
    assert row["reproduced"] is None and row["unlike"] == f"{reason}, recipe demo"


@pytest.mark.parametrize(
    ("images", "reason"),
    [({"test": 500, "train": 0, "val": 9}, "1 of 500 images of test"), ({"test": 1, "train": 0}, "")],
)
def test_scores_on_a_part_of_the_images_are_neither_reached_nor_missed(run, images, reason):
    found = RunDescription.read(run)
    vessels = found.datasets["vessels"].model_copy(update={"images": images})
    found = found.model_copy(update={"datasets": {"vessels": vessels}})
    row, *_ = published(found, collect(found)[0])
    assert row["unlike"] == reason and (row["reproduced"] is None) == bool(reason)


def test_box_ap_of_two_tasks_is_one_score_a_seed(run):
    found = RunDescription.read(run)
    scores, _ = collect(found)
    own = scores[(scores["model"] == "unet") & (scores["metric"] == "miou") & (scores["class"] == "")]
    rows = [own.assign(metric="box_ap", task=task) for task in ("detection", "instance")]
    one = found.models["unet"].published[0].model_copy(update={"metric": "box_ap"})
    unet = found.models["unet"].model_copy(update={"published": [one]})
    found = found.model_copy(update={"models": found.models | {"unet": unet}})
    (row,) = published(found, pd.concat([scores, *rows], ignore_index=True))
    assert row["ours"] == pytest.approx(own["value"].mean()) and row["sd"] == pytest.approx(
        own["value"].std()
    )


def test_the_paper_recipe_shows_scores_on_other_data_too(run):
    found = RunDescription.read(run).model_copy(update={"recipe": "paper"})
    *_, other, _ = published(found, collect(found)[0])
    assert other["where"] == "other vessels, test"
    assert other["reproduced"] is None and other["ours"] != other["ours"]


def test_the_page_shows_it_apart_from_our_scores(run):
    summarise(run, run.parent / "summary")
    report(run, run.parent / "summary", run.parent / "report")
    page = (run.parent / "report" / "index.html").read_text()
    assert "not like for like: other eyes" in page
    assert "Published scores" in page and "0.990" in page.partition("Published scores")[2]
    assert "0.990" not in page.partition("Published scores")[0]
    assert "0.990" not in (run.parent / "summary" / "tables" / "vessels_semantic.md").read_text()
