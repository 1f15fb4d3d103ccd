import pytest
import torch
from network_tester import NetworkTester, batch, make_view

from segbench.errors import SegbenchError
from segbench.models.transformers_instance import TransformersInstance

SMALL = {
    "input_side": 64,
    "detections": 20,
    "config": {
        "d_model": 64,
        "decoder_ffn_dim": 64,
        "decoder_layers": 2,
        "decoder_self_attention_heads": 2,
        "decoder_cross_attention_heads": 2,
        "num_queries": 12,
        "group_detr": 2,
        "c2f_num_blocks": 1,
        "intermediate_size": 64,
        "dropout": 0.0,
        "backbone_config": {
            "hidden_size": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "patch_size": 8,
            "num_windows": 2,
            "image_size": 64,
            "out_features": ["stage2", "stage4"],
        },
    },
}


class TestRFDETR(NetworkTester):
    network = TransformersInstance
    options = SMALL
    lr = 2e-3
    steps = 350
    falls_to = 0.5
    enough = 0.8


def make(**more):
    torch.manual_seed(0)
    return TransformersInstance(make_view("instance"), 3, **(SMALL | more))


@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_losses_are_those_of_the_library(training):
    network = make().train(training)
    images, targets = batch("instance", 2, (64, 64))
    torch.manual_seed(1)
    losses = network.losses(images, targets)
    labels = []
    for target in targets:
        x0, y0, x1, y1 = (target["boxes"] / 64).unbind(1)
        boxes = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], 1)
        labels.append({"class_labels": target["labels"], "boxes": boxes, "masks": target["masks"]})
    network.net.loss_function = network._library_loss
    torch.manual_seed(1)
    theirs = network.net(pixel_values=images, labels=labels)
    torch.testing.assert_close(sum(losses.values()), theirs.loss, rtol=1e-5, atol=1e-5)
    ours = network(images)
    for name in ("logits", "pred_boxes", "pred_masks"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-5)


def test_boxes_and_masks_are_at_the_size_asked_for():
    """A query at the upper right quarter, certain of its class; the image is twice as wide as high."""
    network = make().eval()
    logits = torch.full((1, 2, 2), -9.0)
    logits[0, 1, 0] = 9.0
    boxes = torch.tensor([[[0.5, 0.5, 0.1, 0.1], [0.75, 0.25, 0.5, 0.5]]])
    masks = torch.full((1, 2, 16, 16), -9.0)
    masks[0, 1, :8, 8:] = 9.0
    masks[0, 0, 0, 0] = 9.0
    found = network._prediction(logits[0], boxes[0], masks[0], (40, 80)).instances
    assert found.labels[0] == 0 and float(found.scores[0]) > 0.99
    assert found.boxes[0].tolist() == [40, 0, 80, 20]
    corner = found.masks[0].clone()
    corner[:20, 40:] = ~corner[:20, 40:]
    assert int(corner.sum()) <= 2  # of 800 pixels, those of the inner corner are rounded off


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"input_side": 72}, "72 is no multiple of 16"),
        ({"input_side": 16}, "less than 12 patches"),
        ({"model_type": "maskformer"}, "'maskformer' does not predict boxes and masks"),
    ],
)
def test_mistakes_in_the_options_are_named(options, words):
    with pytest.raises(SegbenchError, match=words):
        make(**options)
