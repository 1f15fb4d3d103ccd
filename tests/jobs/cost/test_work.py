from __future__ import annotations

import pytest

from segbench.contract.recipe import Inference, Recipe
from segbench.jobs.cost.counted import Line
from segbench.jobs.cost.work import Scene, prediction_sizes, training_size


def size(image: tuple[int, int] = (480, 640), **augment: object) -> tuple[int, int]:
    recipe = Recipe.model_validate({"iterations": 1, "batch_size": 1, "augment": augment})
    return training_size(recipe, image)


def test_the_size_of_a_training_image_follows_the_changes() -> None:
    assert size() == (480, 640)
    assert size(crop=[100, 200], scale=[0.5, 2]) == (100, 200)
    assert size(scale=[0.5, 1.5]) == (480, 640)
    assert size(resize=[64, 64]) == (64, 64)
    assert size(short_sides=[200, 240, 280]) == (240, 320)
    assert size(short_sides=[960], max_side=960) == (720, 960)
    assert size(ratio_range={"base": [1280, 960], "range": [0.5, 1.0]}) == (720, 960)
    assert size(large_scale_jitter={"size": [256, 256]}) == (256, 256)


def test_a_recipe_that_is_not_fitted_yet_has_the_side_of_its_fit() -> None:
    recipe = Recipe.model_validate({"batch_size": 1, "fit": {"side": 300, "iterations": 9}})
    assert training_size(recipe, (480, 640)) == (300, 300)


def test_windows_scales_and_flips_are_inputs_of_a_prediction() -> None:
    assert prediction_sizes(Inference(), (480, 640)) == [(480, 640)]
    assert prediction_sizes(Inference(short_side=240), (480, 640)) == [(240, 320)]
    assert prediction_sizes(Inference(scales=[0.5, 1.0], flip=True), (48, 64)) == [(24, 32), (48, 64)] * 2
    windows = prediction_sizes(Inference(window=(100, 100), overlap=0.5), (100, 200))
    assert windows == [(100, 100)] * 3


def test_a_line_goes_through_what_was_counted() -> None:
    line = Line.through((100, 60.0), (400, 180.0), many=(120, 66.0))
    assert line.at(100, 20) == pytest.approx(60)
    assert line.at(400, 20) == pytest.approx(180)
    assert line.at(100, 120) == pytest.approx(66)
    assert line.at(900, 20) == pytest.approx(20 + 0.4 * 900)
    steep = Line.through((100, 10.0), (400, 80.0))  # grows faster than the pixels
    assert steep.fixed == 0 and steep.at(400, 20) == pytest.approx(80)
    assert line.moved(100, 1000.0).at(400, 20) == pytest.approx(1120)


def test_a_scene_is_read_from_a_converted_dataset() -> None:
    spread = {"p50": 100.0, "p95": 7.0}
    statistics = {
        "short_side": spread,
        "long_side": {"p50": 300.0},
        "aspect": {"p50": 0.5},
        "objects_per_image": spread,
        "object_size": None,
    }
    classes = [{"isthing": False}, {"isthing": True}]
    splits = {"train": 5, "val": 2}
    info = {"statistics": statistics, "categories": classes, "splits": splits, "evaluation_split": "val"}
    scene = Scene.of(info)
    assert (scene.image, scene.classes, scene.things, scene.objects) == ((300, 100), 2, 1, 7)
    assert scene.counted[scene.evaluated] == 2 and scene.converted
    assert not Scene.assumed({"val": 3}).converted and Scene.assumed({"val": 3}).evaluated == "val"
