from __future__ import annotations

import pytest
import torch
from painted import painted
from scipy.ndimage import map_coordinates
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from segbench.data.loading.boxes import box_target, displaced
from segbench.data.loading.targets import mask_bounds
from segbench.data.loading.warping import GridElastic, Rotate, SmoothElastic


def boxes_of(*corners: list[float], size: tuple[int, int]) -> tv_tensors.BoundingBoxes:
    return tv_tensors.BoundingBoxes(
        torch.tensor(corners).reshape(-1, 4), format="XYXY", canvas_size=size, clamping_mode=None
    )


def test_a_turn_by_90_degrees_moves_every_pixel_to_its_place() -> None:
    """Of a square, all pixels; of other images, those of the square in the middle."""
    mask = tv_tensors.Mask(torch.arange(1, 82, dtype=torch.int32).view(1, 9, 9))
    image = tv_tensors.Image(mask.to(torch.uint8))
    change = Rotate(180, [0.5])
    for angle, turns in ((90.0, 1), (-90.0, 3), (180.0, 2)):
        for one in (image, mask):
            assert torch.equal(change.transform(one, {"angle": angle}), torch.rot90(one, turns, (1, 2)))
    wide = tv_tensors.Mask(torch.arange(1, 46, dtype=torch.int32).view(1, 5, 9))
    turned = change.transform(wide, {"angle": 90.0})
    assert torch.equal(turned[..., 2:7], torch.rot90(wide[..., 2:7], 1, (1, 2)))
    assert not turned[..., :2].any() and not turned[..., 7:].any()  # void


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_corners_outside_of_the_image_are_void_and_have_the_mean_colour(dtype: torch.dtype) -> None:
    image, mask = painted(40, 40, 5, dtype)
    mean = [0.1, 0.2, 0.3, 0.4, 0.5]
    change = Rotate(45, mean)
    image, mask = (change.transform(one, {"angle": 45.0}) for one in (image, mask))
    assert image.dtype == dtype and mask.dtype == torch.int32
    limit = 255 if dtype == torch.uint8 else 1
    for row, column in ((0, 0), (0, 39), (39, 0), (39, 39)):
        assert mask[0, row, column] == 0
        colour = image[:, row, column].double() / limit
        torch.testing.assert_close(colour, torch.tensor(mean).double(), atol=0.51 / limit, rtol=0)
    area = (mask > 0).sum() / 1600  # of the octagon that a square and its turn share
    assert float(area) == pytest.approx(2 * (2**0.5 - 1), abs=0.01)


def test_angles_are_drawn_in_both_directions() -> None:
    torch.manual_seed(0)
    angles = torch.tensor([Rotate(30, [0.0]).make_params([])["angle"] for _ in range(400)])
    assert -30 <= angles.min() < -28 and 28 < angles.max() <= 30 and abs(angles.mean()) < 3


def test_a_box_becomes_the_bounds_of_the_turned_box() -> None:
    """A box of 20 x 10 around the centre, turned by 30 degrees: |20 cos| + |10 sin| wide."""
    cos, sin = 3**0.5 / 2, 0.5
    moved = Rotate(30, [0]).transform(boxes_of([20.0, 15, 40, 25], size=(40, 60)), {"angle": 30.0})
    width, height = 20 * cos + 10 * sin, 20 * sin + 10 * cos
    expected = [30 - width / 2, 20 - height / 2, 30 + width / 2, 20 + height / 2]
    assert moved[0].tolist() == pytest.approx(expected, abs=1e-4) and moved.canvas_size == (40, 60)


def test_boxes_turn_in_the_direction_of_the_image_and_are_not_clipped() -> None:
    mask = torch.zeros(1, 40, 40, dtype=torch.int32)
    mask[0, 2:6, 30:38] = 1
    change = Rotate(90, [0])
    moved = change.transform(boxes_of([30.0, 2, 38, 6], [0.0, 0, 1, 1], size=(40, 40)), {"angle": 90.0})
    turned = change.transform(tv_tensors.Mask(mask), {"angle": 90.0})
    assert moved[0].tolist() == pytest.approx(mask_bounds(turned > 0)[0].tolist(), abs=1e-4)
    outside = change.transform(boxes_of([0.0, 0, 4, 4], size=(40, 40)), {"angle": 45.0})
    assert outside[0, 0] < -1
    assert len(box_target(outside, torch.tensor([1]), 1)["labels"]) == 0


@pytest.mark.parametrize("change", [SmoothElastic(60, 5, [0.5] * 3), GridElastic(4, (3, 3), [0.5] * 3)])
def test_an_image_is_taken_from_where_the_field_points(change) -> None:
    """Against scipy's `map_coordinates`."""
    torch.manual_seed(0)
    image = tv_tensors.Image(F.gaussian_blur(torch.rand(3, 50, 70), [5, 5], [2.0, 2.0]))
    mask = tv_tensors.Mask(torch.randint(1, 400_000, (2, 50, 70), dtype=torch.int32))
    params = change.make_params([image, mask])
    field = params["field"].double()
    assert 0.3 < field.abs().mean() < 6
    y, x = torch.meshgrid(torch.arange(50.0), torch.arange(70.0), indexing="ij")
    places = torch.stack([y + field[..., 1], x + field[..., 0]]).numpy()
    changed, truth = change.transform(image, params), change.transform(mask, params)
    assert changed.dtype == torch.float32 and truth.dtype == torch.int32
    for found, values in zip(changed, image):
        expected = map_coordinates(values.double().numpy(), places, order=1, mode="grid-constant", cval=0.5)
        assert (found.double() - torch.from_numpy(expected)).abs().max() < 1e-4
    for found, values in zip(truth, mask):
        expected = map_coordinates(values.numpy(), places, order=0, mode="grid-constant", cval=0)
        same = (found == torch.from_numpy(expected)).double().mean()
        assert same > 0.998  # but for places in the middle between two pixels
        assert set(found.unique().tolist()) <= {0, *values.unique().tolist()}


def test_smoothed_noise_has_the_deviation_of_theory() -> None:
    """Uniform noise in -1..1 has the variance 1/3; a Gaussian divides it by 4 pi sigma^2."""
    torch.manual_seed(0)
    field = SmoothElastic(100, 4, [0]).field(300, 300)
    expected = 100 * (1 / 3 / (4 * torch.pi * 16)) ** 0.5
    assert float(field[..., 0].std()) == pytest.approx(expected, rel=0.1)
    assert float(field[..., 1].std()) == pytest.approx(expected, rel=0.1)


def test_the_grid_has_its_deviation_at_its_points_and_is_smooth_between() -> None:
    """U-Net: 3 x 3 points, 10 pixels."""
    torch.manual_seed(0)
    fields = torch.stack([GridElastic(10, (3, 3), [0]).field(101, 81) for _ in range(300)])
    points = fields[:, ::50, ::40]
    assert points.shape == (300, 3, 3, 2)
    assert float(points.std()) == pytest.approx(10, rel=0.05) and abs(points.mean()) < 0.5
    assert fields.diff(dim=1).abs().max() < 2.5


def test_large_smoothing_of_small_images() -> None:
    image, mask = painted(6, 9)
    image, mask = SmoothElastic(500, 40, [0.0] * 3)(image, mask)
    assert image.shape == (3, 6, 9) and mask.shape == (1, 6, 9)


@pytest.mark.parametrize("seed", range(8))
def test_boxes_are_deformed_as_masks(seed: int) -> None:
    torch.manual_seed(seed)
    mask = torch.zeros(2, 80, 100, dtype=torch.int32)
    mask[0, 20:50, 30:60] = 1
    mask[1, 55:75, 10:80] = 1
    change = GridElastic(5, (3, 3), [0])
    params = {"field": change.field(80, 100)}
    corners = boxes_of([30.0, 20, 60, 50], [10.0, 55, 80, 75], size=(80, 100))
    moved = change.transform(corners, params)
    truth = mask_bounds(change.transform(tv_tensors.Mask(mask), params) > 0)
    clipped = box_target(moved, torch.tensor([0, 1]), 1)["boxes"]
    assert (clipped - truth).abs().max() < 1.2


def test_a_constant_field_moves_boxes_back_by_its_length() -> None:
    field = torch.tensor([3.0, -2.0]).expand(40, 50, 2)
    moved = displaced(boxes_of([10.0, 10, 20, 30], [-4.0, 1, 5, 60], size=(40, 50)), field)
    torch.testing.assert_close(
        moved.as_subclass(torch.Tensor), torch.tensor([[7.0, 12, 17, 32], [-7.0, 3, 2, 62]])
    )
    assert displaced(boxes_of(size=(40, 50)), field).shape == (0, 4)
