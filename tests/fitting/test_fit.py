"""Each rule on statistics made by hand, and what all of them leave alone."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from segbench.contract.cell import CellSpec
from segbench.contract.recipe import Recipe
from segbench.contract.statistics import ClassStatistics, DatasetStatistics, Spread
from segbench.contract.view import Category
from segbench.fitting.fit import fitted

FIT = {"side": 128, "jitter": [0.5, 2.0], "iterations": 100}


def spread(value, largest=None):
    parts = dict.fromkeys(("min", "p5", "p25", "p50", "p75", "p95"), float(value))
    return Spread(**parts, max=float(largest or value))


def statistics(
    short=1000, long=1000, size=None, side=None, per_image=0, width=50.0, share=0.5, images=100, classes=1
):
    return DatasetStatistics(
        images=images,
        short_side=spread(short),
        long_side=spread(long),
        aspect=spread(long / short),
        objects_per_image=spread(per_image),
        object_size=size and spread(size),
        object_side=side and spread(side),
        object_size_relative=size and spread(size / long),
        object_side_relative=side and spread(side / long),
        classes=[
            ClassStatistics(id=0, pixels=1 - share, images=1, width=300.0, objects=0),
            *(
                ClassStatistics(id=k, pixels=share / classes, images=1, width=width, objects=0)
                for k in range(1, classes + 1)
            ),
        ],
    )


def derived(found=None, task="semantic", needs=None, options=None, classes=1, **recipe):
    categories = [Category(id=k, name=f"c{k}", isthing=True, color=(0, 0, k)) for k in range(1, classes + 1)]
    spec = CellSpec(
        class_path="segbench.models.unet:UNet",
        options=options or {},
        task=task,
        recipe={"batch_size": 4, "pretrained": "resnet50", "fit": FIT, **recipe},
        fits=needs or {},
        seed=0,
    )
    return fitted(spec, categories, found or statistics(classes=classes))


def values(*args, **keys):
    return {one.key: one.value for one in derived(*args, **keys).derived}


def rules(*args, **keys):
    return {one.key: one.reason for one in derived(*args, **keys).derived}


@pytest.mark.parametrize(
    ("found", "needs", "factor"),
    [
        (statistics(short=200, long=200), {}, 1.0),  # a crop shows more than half of it
        (statistics(short=1000), {}, 0.256),  # half of 1000 in 128
        (statistics(short=1000, size=20, side=20), {}, 0.256),  # objects are smaller than that
        (statistics(short=400, size=300, side=384), {}, 0.25),  # three quarters of the crop: 96
        (statistics(short=1000, width=10), {"structure": 4}, 0.8),  # not below twice the 4
        (statistics(short=1000, width=2), {"structure": 4}, 2.0),  # enlarged to 4
        (statistics(short=1000, width=0.5), {"structure": 4}, 4.0),  # no more than four times
    ],
)
def test_scale(found, needs, factor):
    got = values(found, needs=needs)
    assert got["inference.scale"] == pytest.approx(factor)
    assert got["augment.scale"] == (factor / 2, factor * 2)


def test_scale_of_instances_follows_the_objects_and_not_the_structures():
    got = values(statistics(short=1000, width=1, size=8, side=10), task="instance", needs={"object": 16})
    assert got["inference.scale"] == 2.0


def test_networks_that_learn_where_objects_lie_see_the_whole_image():
    whole = {"whole": True, "object": 16}
    small = values(statistics(short=500, long=500, size=80, side=90), task="instance", needs=whole)
    assert small["inference.scale"] == 0.256 and small["augment.crop"] == (128, 128)
    found = statistics(short=500, long=500, size=40, side=50)
    got = values(found, task="instance", needs=whole)
    assert got["inference.scale"] == 0.4  # no object smaller than it needs: half of twice that
    assert got["augment.crop"] == (192, 192)  # 0.4 x 500, at most 1.5 x 128
    assert values(found, needs=whole)["inference.scale"] == 0.512  # classes are everywhere: half
    assert values(found, task="instance", needs={"object": 16})["inference.scale"] == 1.0


def test_crop_has_the_shape_of_the_images_and_no_more_pixels():
    assert values(statistics(short=500, long=1000))["augment.crop"] == (96, 176)
    assert values(statistics(short=20, long=30))["augment.crop"] == (48, 64)  # twice the images
    square = values(statistics(short=500, long=1000), augment={"rotate90": True})
    assert square["augment.crop"] == (128, 128)


def test_crop_grows_where_structures_forbid_to_show_less():
    assert values(statistics(short=300, long=300, width=8))["augment.crop"] == (144, 144)  # half of 300
    assert values(statistics(short=2000, long=2000, width=8))["augment.crop"] == (192, 192)  # 1.5 x 128


def test_window_as_large_as_the_crop_or_for_large_images():
    assert values(needs={"window": "always"})["inference.window"] == (128, 128)
    assert "inference.window" not in values(needs={"window": "large"})
    large = values(statistics(short=4000, long=4000, width=5), needs={"window": "large"})
    assert large["inference.window"] == (1024, 1024)
    assert "inference.window" not in values(statistics(short=4000, long=4000, width=5))


def test_accumulate_by_the_pixels_of_a_pass():
    fit = {"side": 1024, "iterations": 1, "pixels": 2_000_000}
    assert values(fit=fit)["accumulate"] == 3  # 4 x 1024² by 2 million
    assert values(fit=fit | {"pixels": 1000})["accumulate"] == 4  # one image
    assert "accumulate" not in values(fit=fit | {"pixels": 5_000_000})


@pytest.mark.parametrize(
    ("classes", "images", "steps"),
    [(1, 100, 100), (7, 100, 200), (1, 1600, 200), (49, 1600, 250), (1, 5, 100)],
)
def test_iterations_by_classes_and_images(classes, images, steps):
    assert values(statistics(classes=classes, images=images), classes=classes)["iterations"] == steps


def test_more_iterations_for_queries_that_share_many_objects_and_from_random_weights():
    found, queries = statistics(per_image=20), {"queries": True}
    assert values(found, task="instance", needs=queries)["iterations"] == 200
    assert values(found, needs=queries)["iterations"] == 100  # classes, not objects
    assert values(found, task="instance")["iterations"] == 100
    assert values(found, pretrained=None)["iterations"] == 250
    equal = {"fit": {"side": 128, "iterations": 100, "equal_iterations": True}}
    assert values(found, task="instance", needs=queries, **equal)["iterations"] == 100
    assert values(found, pretrained=None, **equal)["iterations"] == 100


def test_dice_for_rare_classes_that_occur_often():
    needs = {"dice": True}
    both = {"cross_entropy": 1.0, "dice": 1.0}
    assert values(statistics(share=0.1), needs=needs)["options.loss"] == both
    assert "options.loss" not in values(statistics(share=0.4), needs=needs)
    assert "options.loss" not in values(statistics(share=0.1))
    assert "options.loss" not in values(statistics(share=0.1), needs=needs, options={"loss": None})
    seldom = statistics(share=0.1)
    seldom = seldom.model_copy(
        update={"classes": [c.model_copy(update={"images": 0.4}) for c in seldom.classes]}
    )
    assert "options.loss" not in values(seldom, needs=needs)


@pytest.mark.parametrize(("objects", "number"), [(10, 100), (100, 130), (1000, 300)])
def test_queries_for_all_objects(objects, number):
    found = values(statistics(per_image=objects), task="instance", needs={"queries": True})
    assert found["options.queries"] == number


@pytest.mark.parametrize(("objects", "number"), [(10, 100), (100, 200), (5000, 1000)])
def test_detections_for_all_objects(objects, number):
    found = values(statistics(per_image=objects), task="instance", needs={"detections": True})
    assert found["options.detections_per_image"] == number


STATED = {
    "iterations": 7,
    "accumulate": 1,
    "augment": {"crop": None, "scale": [1.0, 1.0]},
    "inference": {"window": None, "scale": 1.0},
}


def test_stated_values_are_never_changed_even_if_they_are_the_defaults():
    needs = {"window": "always", "dice": True, "queries": True, "detections": True}
    options = {"loss": {"cross_entropy": 2.0}, "queries": 3, "detections_per_image": 4}
    found = derived(statistics(share=0.1, per_image=50), needs=needs, options=options, **STATED)
    assert found.derived == []
    assert found.spec.options == options
    assert found.spec.recipe == Recipe(
        batch_size=4, pretrained="resnet50", fit=found.spec.recipe.fit, **STATED
    )


def test_a_recipe_without_fit_is_not_changed():
    found = derived(fit=None, iterations=5)
    assert found.derived == []
    assert found.spec.recipe.augment.crop is None


def test_the_derivation_depends_on_its_input_only_and_survives_json():
    first, again = derived(), derived()
    assert first == again
    spec = CellSpec.model_validate_json(json.dumps(first.spec.model_dump(mode="json")))
    assert spec == first.spec
    assert all(one.rule and one.reason for one in first.derived)


def test_fit_switches():
    assert Recipe(batch_size=1, iterations=1, fit=True).fit.side == 512
    assert Recipe(batch_size=1, iterations=1, fit=False).fit is None
    with pytest.raises(ValidationError, match="give `iterations`, or `fit` with `iterations`"):
        Recipe(batch_size=1, fit=True)
