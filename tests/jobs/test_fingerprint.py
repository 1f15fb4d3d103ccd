from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from segbench.catalogue.listing import networks
from segbench.errors import SegbenchError
from segbench.jobs import fingerprint as module
from segbench.jobs.fingerprint import fingerprint

ROOT = Path(__file__).parents[2]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package with a network that imports a helper, and a function to rewrite its files."""
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "nets"
    folder.mkdir()
    (folder / "__init__.py").touch()

    def write(**files: str) -> str:
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        fingerprint.cache_clear()
        module._read.cache_clear()
        module.tree.cache_clear()
        module.module_source.cache_clear()
        sys.path_importer_cache.clear()
        return fingerprint("nets.toy")

    write(toy="import torch\nfrom nets import helper\nx = helper.f(1)\n", helper="def f(a):\n    return a\n")
    yield write
    fingerprint.cache_clear()
    module._read.cache_clear()
    module.tree.cache_clear()
    module.module_source.cache_clear()


def test_comments_docstrings_and_layout_change_nothing(package) -> None:
    before = package()
    after = package(
        toy='"""Doc."""\n# comment\nimport torch\nfrom nets import helper\nx = helper.f(\n    1\n)  # same\n',
        helper='def f(a):\n    """Doc."""\n    return a\n',
    )
    assert after == before


def test_what_is_known_of_a_file_holds_until_its_content_changes(package, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = package()
    (tmp_path / ".snakemake").mkdir()
    for content in (None, "{broken", "[]"):  # missing, and not what was written
        if content is not None:
            module.KNOWN.write_text(content)
        module._known.cache_clear()
        assert package() == before and len(json.loads(module.KNOWN.read_text())) == 3
    module._known.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(module, "_imports", None)
        assert package() == before  # nothing is read again
    assert package(helper="def f(a):\n    return a + 1\n") != before


def test_an_edit_of_code_here_or_in_an_import_changes_it(package) -> None:
    first = package()
    second = package(toy="import torch\nfrom nets import helper\nx = helper.f(2)\n")
    third = package(helper="def f(a):\n    return a + 1\n")
    assert len({first, second, third}) == 3


@pytest.mark.parametrize("line", ["from . import helper", "from .helper import f", "import nets.helper"])
def test_every_form_of_import_is_followed(package, line: str) -> None:
    before = package(toy=line + "\n")
    assert package(helper="def f(a):\n    return a * 7\n") != before


def test_imports_inside_functions_count(package) -> None:
    before = package(toy="def g():\n    from nets.helper import f\n    return f\n")
    assert package(helper="y = 5\n") != before


def test_unrelated_modules_do_not_count(package) -> None:
    assert package() == package(other="z = 1\n")


DATA = """
contract.channels contract.checkpoint contract.limits contract.prediction contract.statistics
contract.view
data.cases data.coco.checks data.coco.index data.coco.jsonstream data.coco.masks
data.dataset data.deep_png data.images data.junk data.levels data.tiff
"""
TRAINING = f"""
{DATA} copying contract.cell contract.needs contract.recipe
data.loading.borders data.loading.boxes data.loading.class_weights data.loading.colour
data.loading.copy_paste data.loading.decoding data.loading.grid data.loading.loader data.loading.on_device
data.loading.resizing data.loading.selection data.loading.targets data.loading.transforms data.loading.warping
fitting.accumulate fitting.crop fitting.dice fitting.fit fitting.iterations fitting.objects
fitting.scale fitting.situation fitting.window
models.layers.backbones models.layers.dilation models.layers.swin
models.layers.weight_decay
models.losses.binary models.losses.semantic models.whole_batch
models.network models.saved models.weights.public models.weights.transfer
training.compiling training.gradients training.kernels training.loop training.optimizer training.parallel
training.precision training.randomness
"""
UNET = "models.unet models.layers.branches"
MASK2FORMER = """
models.mask2former models.mask2former.criterion models.mask2former.network models.mask2former.pixel_decoder
models.mask2former.query_decoder models.bases.mask_classifier models.layers.deformable_attention
models.layers.mask_prediction models.layers.mask_queries models.layers.point_sampling models.layers.position
models.layers.selection
models.layers.transformer models.losses.masks models.losses.matching models.losses.segments
models.losses.set_criterion
"""
EVALUATION = """
contract.channels contract.evaluation contract.limits contract.scores contract.statistics
contract.view
data.coco.checks data.coco.jsonstream data.coco.masks
data.dataset data.deep_png data.images data.junk data.levels data.tiff
evaluation.annotations evaluation.averages evaluation.bootstrap evaluation.conversions evaluation.evaluate
evaluation.intervals evaluation.jackknife evaluation.resampled evaluation.instance.resampled_ap
evaluation.pooling evaluation.prediction_folder evaluation.statistics evaluation.weighted
evaluation.instance.ap evaluation.instance.files evaluation.instance.matching evaluation.instance.objects
evaluation.instance.tide evaluation.panoptic.files evaluation.panoptic.quality
evaluation.semantic.bits evaluation.semantic.boundary evaluation.semantic.centreline
evaluation.semantic.confusion evaluation.semantic.edges evaluation.semantic.maps
data.cases evaluation.semantic.cases evaluation.semantic.overlapping evaluation.semantic.surfaces
"""


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        (("training.loop", "models.unet"), f"{TRAINING} {UNET}"),
        (("training.loop", "models.mask2former"), f"{TRAINING} {MASK2FORMER}"),
        (("evaluation.evaluate",), EVALUATION),
    ],
    ids=["unet", "mask2former", "evaluation"],
)
def test_a_fingerprint_covers_what_decides_the_result(modules: tuple[str, ...], expected: str) -> None:
    """No other network, runner or version: a metric must not retrain, and a progress bar repeats nothing."""
    found = module.covered(*(f"segbench.{name}" for name in modules))
    assert found == sorted(f"segbench.{name}" for name in expected.split())


def test_no_network_covers_another_ones_module() -> None:
    classes = {entry.class_.partition(":")[0] for entry in networks(ROOT / "config").values()}
    own = {name: set(module.covered(name)) for name in classes}
    shared = {name: {other for other in classes - {name} if other in own[name]} for name in classes}
    assert {name: found for name, found in shared.items() if found} == {
        "segbench.models.mask_rcnn": {"segbench.models.faster_rcnn"},  # a Faster R-CNN with a mask head
        "segbench.models.mask_rcnn_v2": {"segbench.models.faster_rcnn", "segbench.models.mask_rcnn"},
    }


def test_an_adapter_is_covered_and_the_library_is_not() -> None:
    """An edit of an adapter retrains its cells; the version of a library is pinned by the lock."""
    for kind in ("semantic", "universal", "instance"):
        found = module.covered(f"segbench.models.transformers_{kind}")
        assert {f"segbench.models.transformers_{kind}", "segbench.models.bases.transformers"} <= set(found)
        assert all(name.startswith("segbench.") for name in found)
    # no other network is retrained
    assert "segbench.models.bases.transformers" not in module.covered("segbench.models.mask2former")


def test_unknown_module_is_named() -> None:
    with pytest.raises(SegbenchError, match=r"no module 'segbench\.models\.unett'"):
        fingerprint("segbench.models.unett")
