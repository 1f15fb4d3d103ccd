import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare

from segbench.report.statistics import ENOUGH_DATASETS, ranks


def table(**scores: float) -> pd.DataFrame:
    controls = [model.startswith("control") for model in scores]
    values = {"miou": list(scores.values()), "miou_sd": 0.0}
    return pd.DataFrame({"model": list(scores), "control": controls, **values})


def test_mean_rank_over_the_datasets():
    found = ranks(
        {
            ("a", "semantic"): table(x=0.9, y=0.8, z=0.1, control_truth=1.0),
            ("b", "semantic"): table(x=0.5, y=0.6, z=0.1, control_truth=1.0),
            ("c", "semantic"): table(x=0.7, y=0.7, z=0.9, control_truth=1.0),
        }
    )
    assert dict(zip(found["model"], found["mean_rank"])) == pytest.approx(
        {"x": (1 + 2 + 2.5) / 3, "y": (2 + 1 + 2.5) / 3, "z": (3 + 3 + 1) / 3}
    )
    assert (found["datasets"] == 3).all()
    assert found["p"].isna().all(), "three datasets are too few for a test"


def test_a_network_that_misses_a_dataset_is_not_ranked():
    found = ranks(
        {
            ("a", "semantic"): table(x=0.9, y=0.8, z=math.nan),
            ("b", "semantic"): table(x=0.5, y=0.6, z=0.7),
        }
    ).set_index("model")
    assert math.isnan(found.loc["z", "mean_rank"]) and found.loc["z", "datasets"] == 1
    assert found.loc["x", "mean_rank"] == 1.5


def test_one_dataset_ranks_nothing():
    assert ranks({("a", "semantic"): table(x=0.9, y=0.8)}).empty


def test_tests_where_there_are_enough_datasets():
    rng = np.random.default_rng(0)
    values = np.array([0.9, 0.6, 0.3]) + rng.uniform(-0.05, 0.05, (ENOUGH_DATASETS + 2, 3))
    found = ranks({(str(i), "semantic"): table(x=a, y=b, z=c) for i, (a, b, c) in enumerate(values)})
    assert found["p"].iloc[0] == pytest.approx(friedmanchisquare(*values.T).pvalue)
    worse = dict(zip(found["model"], found["worse_than"]))
    assert worse["x"] == "" and worse["z"] == "x"


def test_equal_networks_are_not_told_apart():
    same = {(str(i), "semantic"): table(x=0.5, y=0.5, z=0.5) for i in range(ENOUGH_DATASETS)}
    found = ranks(same)
    assert (found["mean_rank"] == 2).all()
    assert (found["worse_than"] == "").all()
