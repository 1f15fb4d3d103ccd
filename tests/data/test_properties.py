import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from segbench.data.properties import FILE, Properties, measure, read_properties, write_properties
from segbench.errors import SegbenchError


def test_the_laplacian_equals_that_of_scipy():
    image = np.random.default_rng(0).integers(0, 256, (23, 31, 3), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(image).convert("L")).astype(float)
    found = measure(image)
    assert found.brightness == pytest.approx(grey.mean() / 255)
    assert found.sharpness == pytest.approx(ndimage.laplace(grey)[1:-1, 1:-1].var())


def test_by_hand():
    image = np.zeros((3, 4, 1), np.uint8)
    image[1, 1] = 100
    # inner pixels: -4 * 100 and 100
    assert measure(image) == Properties(pytest.approx(100 / 12 / 255), 250.0**2)
    assert measure(np.full((5, 5, 1), 0.5, np.float32)).sharpness == 0
    assert np.isnan(measure(np.zeros((2, 9, 3), np.uint8)).sharpness)


def test_blur_lowers_the_sharpness():
    image = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    blurred = ndimage.gaussian_filter(image, (1, 1, 0))
    assert measure(blurred).sharpness < 0.1 * measure(image).sharpness


def test_files_hold_what_was_written(tmp_path):
    rows = [("test", "a,b", Properties(0.25, 1234.5)), ("val", "NA", Properties(1.0, float("nan")))]
    write_properties(tmp_path / FILE, rows)
    found = read_properties(tmp_path / FILE)
    assert found["test", "a,b"] == rows[0][2]
    assert found["val", "NA"].brightness == 1 and np.isnan(found["val", "NA"].sharpness)


@pytest.mark.parametrize("text", ["split,image\ntest,a\n", "split,image,brightness,sharpness\ntest,a,x,1\n"])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(SegbenchError, match="segbench lint"):
        read_properties(tmp_path / FILE)
