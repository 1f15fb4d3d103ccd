import pytest
import torch
from network_tester import NetworkTester, batch, make_view
from torch.nn import functional as F

from segbench.contract.prediction import IGNORE
from segbench.errors import SegbenchError
from segbench.models.bases.transformers import load_checkpoint
from segbench.models.transformers_semantic import TransformersSemantic

SEGFORMER = {
    "model_type": "segformer",
    "config": {
        "hidden_sizes": [16, 16, 32, 32],
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 1, 2, 2],
        "decoder_hidden_size": 32,
        "drop_path_rate": 0.0,
        "classifier_dropout_prob": 0.0,
    },
}
UPERNET = {
    "model_type": "upernet",
    "backbone": "test_resnet",
    "config": {"hidden_size": 32, "auxiliary_channels": 16},
}
CONVNEXT = {
    "model_type": "upernet",
    "config": {
        "hidden_size": 32,
        "auxiliary_channels": 16,
        "backbone_config": {
            "model_type": "convnext",
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
    },
}
VIT = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
BEIT = {
    "model_type": "beit",
    "multiple": 16,
    "config": VIT | {"image_size": 64, "out_indices": [1, 2, 3, 4], "use_relative_position_bias": True},
}
DPT = {
    "model_type": "dpt",
    "input_side": 64,
    "config": VIT
    | {
        "image_size": 64,
        "backbone_out_indices": [0, 1, 2, 3],
        "neck_hidden_sizes": [8, 16, 24, 32],
        "fusion_hidden_size": 16,
    },
}


class TestSegFormer(NetworkTester):
    network = TransformersSemantic
    options = SEGFORMER
    lr = 4e-3
    steps = 80
    enough = 0.9


@pytest.mark.extensive
class TestUPerNet(NetworkTester):
    network = TransformersSemantic
    options = UPERNET
    backbone = "test_resnet"
    lr = 8e-3
    enough = 0.9


def make(options, **more):
    torch.manual_seed(0)
    return TransformersSemantic(make_view("semantic"), 3, **options, **more).eval()


@pytest.mark.parametrize(
    "options",
    [SEGFORMER, UPERNET, CONVNEXT, BEIT, DPT],
    ids=["segformer", "upernet", "convnext", "beit", "dpt"],
)
def test_logits_and_losses_are_those_of_the_library(options):
    """At a size without padding, with void; the library ignores 255."""
    network = make(options)
    images, targets = batch("semantic", 2, (64, 64))
    for target in targets:
        target["semantic"][:9, 20:] = IGNORE
    labels = torch.stack([target["semantic"] for target in targets])
    theirs = network.net(pixel_values=images, labels=torch.where(labels == IGNORE, 255, labels))
    logits = F.interpolate(theirs.logits, (64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(network(images), logits, rtol=0, atol=1e-5)
    losses = network.losses(images, targets)
    assert ("auxiliary_cross_entropy" in losses) == (options is not SEGFORMER)
    torch.testing.assert_close(sum(losses.values()), theirs.loss, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [BEIT, DPT], ids=["beit", "dpt"])
def test_vision_transformers_take_images_of_any_size(options):
    network = make(options)
    for size in ((45, 71), (130, 40)):
        assert network(torch.randn(1, 3, *size)).shape == (1, 4, *size)


def test_images_that_are_resized_to_one_size_keep_their_aspect_ratio():
    """An image of half the height fills the upper half of the network's square."""
    network = make(DPT)
    seen = []
    network.net.register_forward_pre_hook(
        lambda _, __, given: seen.append(given["pixel_values"]), with_kwargs=True
    )
    network(torch.ones(1, 3, 64, 128))
    assert seen[0].shape == (1, 3, 64, 64)
    assert (seen[0][:, :, :32] == 1).all() and (seen[0][:, :, 32:] == 0).all()


def test_a_sigmoid_gives_each_class_but_the_background_a_logit():
    network = make(SEGFORMER, activation="sigmoid")
    assert network.net.config.num_labels == network.outputs


def test_a_checkpoint_of_the_library_is_loaded(tmp_path):
    """As it is saved: `model.safetensors`, whose tensors may have names of earlier versions."""
    from safetensors.torch import load_file

    first, second = make(SEGFORMER), make(SEGFORMER)
    first.net.save_pretrained(tmp_path)
    for parameter in second.parameters():
        torch.nn.init.normal_(parameter)
    state = load_file(tmp_path / "model.safetensors")
    load_checkpoint(second, state)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(first(images), second(images))
    with pytest.raises(RuntimeError, match="the first is 'decode_head.classifier.weight'"):
        state.pop("decode_head.classifier.weight")
        load_checkpoint(second, state)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model_type": "segfromer"}, "has no 'segfromer'.*did you mean 'segformer'"),
        ({"model_type": "oneformer"}, "has no 'oneformer'"),
        ({"model_type": "segformer", "config": {"depth": [1]}}, "has no 'depth'.*did you mean 'depths'"),
        (
            {
                "model_type": "upernet",
                "config": {"backbone_config": {"model_type": "convnext", "deepths": 1}},
            },
            "config.backbone_config: .*'convnext' has no 'deepths'",
        ),
        ({"model_type": "segformer", "config": {"depths": "two"}}, "cannot build 'segformer'"),
        ({"model_type": "segformer", "backbone": "test_resnet"}, "takes no backbone from timm"),
    ],
)
def test_mistakes_in_the_options_are_named(options, words):
    with pytest.raises(SegbenchError, match=f"(?s){words}"):
        make(options)
