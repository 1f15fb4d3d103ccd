import numpy as np
import pytest
import torch
from overlapping_data import EMPTY, TRUTH, layers
from PIL import Image
from torchvision.transforms import v2

from segbench.contract.prediction import IGNORE
from segbench.data.lint.dataset import lint_dataset
from segbench.data.loading.loader import SegmentationDataset, collate
from segbench.errors import SegbenchError


@pytest.mark.parametrize(("count", "void", "kind"), [(2, 255, np.uint8), (8, 65535, np.uint16)])
def test_a_map_holds_a_bit_for_each_class(write, count, void, kind):
    dataset = write(layers(count))
    info, split = dataset.info, dataset.split("test")
    assert info.overlapping and not info.background and info.tasks == ["semantic"] and info.void == void
    stored = np.array(Image.open(split.semantic_path("c")))
    assert stored.astype(int).tolist() == np.where(TRUTH < 0, void, TRUTH).tolist()
    assert split.read_semantic("c").tolist() == TRUTH.tolist()
    view = dataset.view("semantic")
    assert view.overlapping and [c.id for c in view.classes] == [*range(1, count + 1)]
    assert not lint_dataset(dataset.root).errors


def test_a_map_of_bits_has_15_classes_at_most(write):
    assert write(layers(15)).info.void == 65535
    with pytest.raises(SegbenchError, match="has 16 classes that may overlap; at most 15") as error:
        write(layers(16), name="more")
    assert error.value.where == "dataset more" and "overlap: last" in error.value.remedy


def test_values_beyond_the_classes_are_a_fault_of_the_converter(write):
    converted = layers()
    converted.samples[0].semantic = np.full((2, 6), 4)
    with pytest.raises(ValueError, match="map of 2 overlapping classes with 4"):
        write(converted)


def test_lint_finds_values_and_absent_classes(write):
    dataset = write(layers())
    for stem in "ab":
        path = dataset.split("train").semantic_path(stem)
        Image.fromarray(np.full((2, 6), 1, np.uint8)).save(path)
    path = dataset.split("test").semantic_path("d")
    Image.fromarray(np.full((2, 6), 5, np.uint8)).save(path)
    found = {(f.file, f.what) for f in lint_dataset(dataset.root).errors}
    assert found == {
        ("train/semantic", "classes that never occur: right"),
        ("test/semantic/d.png", "has values outside of the class list: 5"),
    }


def test_targets_keep_all_classes(write):
    dataset = write(layers())
    items = SegmentationDataset(
        dataset.split("test"), dataset.view("semantic"), v2.ToDtype(torch.float32, scale=True)
    )
    image, target = items[0]
    assert target["semantic"].tolist() == np.where(TRUTH < 0, IGNORE, TRUTH).tolist()
    wide = torch.zeros(3, 2, 8), {**target, "semantic": torch.ones(2, 8), "valid": torch.ones(2, 8) > 0}
    _, (padded, _) = collate([(image, target), wide])
    assert (padded["semantic"][:, 6:] == IGNORE).all()
    assert items[1][1]["semantic"].tolist() == EMPTY.tolist()
