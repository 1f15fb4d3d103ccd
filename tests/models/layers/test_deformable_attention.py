import torch

from segbench.models.layers.deformable_attention import DeformableAttention, reference_points


def test_reference_points_are_pixel_centres():
    points = reference_points([(1, 2), (2, 1)], torch.device("cpu"))
    assert points.tolist() == [[0.25, 0.5], [0.75, 0.5], [0.5, 0.25], [0.5, 0.75]]


def test_reads_the_pixels_that_its_offsets_name():
    """One head, one level, one point, identity projections: offset (1, 0) shifts the map to the left."""
    attention = DeformableAttention(2, heads=1, levels=1, points=1)
    with torch.no_grad():
        for projection in (attention.value_proj, attention.output_proj):
            projection.weight.copy_(torch.eye(2))
        attention.sampling_offsets.bias.copy_(torch.tensor([1.0, 0.0]))
        pixels = torch.randn(1, 2, 3, 4)
        flat = pixels.flatten(2).mT
        reference = reference_points([(3, 4)], torch.device("cpu"))
        found = attention(torch.zeros_like(flat), flat, reference, [(3, 4)]).mT.unflatten(2, (3, 4))
    torch.testing.assert_close(found[..., :3], pixels[..., 1:])
    assert not found[..., 3].any()  # beyond the border there is nothing


def test_weights_of_all_levels_sum_to_one():
    attention = DeformableAttention(16, heads=2, levels=2, points=3)
    shapes = [(9, 9), (12, 12)]
    with torch.no_grad():
        for projection in (attention.value_proj, attention.output_proj):
            projection.weight.copy_(torch.eye(16))
        attention.attention_weights.weight.normal_()
        value = torch.ones(2, 81 + 144, 16)
        inner = torch.full((1, 2), 0.5)  # no point leaves the map from here
        found = attention(torch.randn(2, 1, 16), value, inner, shapes)
    torch.testing.assert_close(found, torch.ones(2, 1, 16))
