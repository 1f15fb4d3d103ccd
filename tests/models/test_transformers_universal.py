import pytest
import torch
from network_tester import NetworkTester, batch, make_view

from segbench.errors import SegbenchError
from segbench.models.losses.segments import segments_of
from segbench.models.transformers_universal import TransformersUniversal
from segbench.models.whole_batch import Part

EOMT = {
    "model_type": "eomt",
    "multiple": 16,
    "object_threshold": 0.5,
    "config": {
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_blocks": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 8,
        "num_queries": 12,
        "num_upscale_blocks": 1,
        "num_register_tokens": 1,
        "train_num_points": 256,
    },
}
DECODERS = {
    "hidden_dim": 64,
    "encoder_feedforward_dim": 64,
    "encoder_layers": 1,
    "num_attention_heads": 2,
    "dim_feedforward": 64,
    "num_queries": 12,
    "dropout": 0.0,
    "train_num_points": 256,
}
ONEFORMER = {
    "model_type": "oneformer",
    "backbone": "test_resnet",
    "object_threshold": 0.5,
    "config": DECODERS
    | {
        "conv_dim": 64,
        "mask_dim": 64,
        "decoder_layers": 2,
        "text_encoder_width": 64,
        "text_encoder_num_layers": 1,
        "text_encoder_n_ctx": 2,
        "text_encoder_context_length": 4,
        "task_seq_len": 4,
        "query_dec_layers": 1,
    },
}
MASK2FORMER = {
    "model_type": "mask2former",
    "backbone": "test_resnet",
    "config": DECODERS | {"feature_size": 64, "mask_feature_size": 64, "decoder_layers": 2},
}
MASKFORMER = {
    "model_type": "maskformer",
    "backbone": "test_resnet",
    "config": {
        "fpn_feature_size": 64,
        "mask_feature_size": 64,
        "use_auxiliary_loss": True,
        "decoder_config": {
            "model_type": "detr",
            "d_model": 64,
            "decoder_layers": 2,
            "decoder_attention_heads": 2,
            "decoder_ffn_dim": 64,
            "num_queries": 12,
        },
    },
}


class TestEoMT(NetworkTester):
    network = TransformersUniversal
    tasks = ("panoptic",)
    options = EOMT
    lr = 1.5e-3
    steps = 80
    enough = 0.9


@pytest.mark.extensive
class TestOneFormer(NetworkTester):
    network = TransformersUniversal
    tasks = ("panoptic",)
    options = ONEFORMER
    backbone = "test_resnet"
    lr = 2e-3
    steps = 150
    falls_to = 0.5
    enough = 0.6  # one of five segments may be missed


def make(options, task="panoptic", **more):
    torch.manual_seed(0)
    return TransformersUniversal(make_view(task), 3, **options, **more)


@pytest.mark.parametrize(
    "options",
    [EOMT, ONEFORMER, MASK2FORMER, MASKFORMER],
    ids=["eomt", "oneformer", "mask2former", "maskformer"],
)
@pytest.mark.parametrize("task", ["semantic", "panoptic"])
def test_logits_and_losses_are_those_of_the_library(options, task):
    """The library's own network with the same weights, in its own loss."""
    network = make(options, task).eval()
    images, targets = batch(task, 2, (64, 64))
    segments = segments_of(task, targets, 4)
    labels = {
        "mask_labels": list(segments.masks.float().split(segments.counts)),
        "class_labels": list(segments.labels.split(segments.counts)),
    }
    torch.manual_seed(1)
    losses = network.losses(images, targets)
    network.net.criterion = network.criterion  # as the library built it
    if network.words is not None:
        labels |= network.words.inputs(2, images.device, labels["class_labels"])
        assert {*losses} == {"cross_entropy", "mask", "dice", "contrastive"}
    torch.manual_seed(1)
    theirs = network.net(pixel_values=images, **labels, **network.always)
    torch.testing.assert_close(sum(losses.values()), theirs.loss.squeeze(), rtol=1e-5, atol=1e-5)
    classes, masks = network(images)
    torch.testing.assert_close(classes, theirs.class_queries_logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(masks, theirs.masks_queries_logits, rtol=0, atol=1e-5)


def test_texts_name_the_classes_of_the_true_segments():
    words = make(ONEFORMER).words
    found = words.inputs(2, torch.device("cpu"), [torch.tensor([3, 0]), torch.tensor([], dtype=torch.int64)])
    assert found["task_inputs"].tolist() == [[0, 0, 1, 0]] * 2
    texts = found["text_inputs"]
    assert texts.shape == (2, 10, 4) and int(texts.max()) == words.vocabulary(4) - 1 == words.end
    assert texts[0, :3, 0].tolist() == [4, 1, words.nothing] and (texts[..., 1] == words.end).all()
    assert (texts[1, :, 0] == words.nothing).all()


def test_losses_of_parts_add_up_to_those_of_the_batch(monkeypatch):
    """Numbers of masks and of unmatched queries are those of the whole batch; masks of both images differ."""
    monkeypatch.setattr(torch, "rand", lambda *shape, device=None: torch.full(shape, 0.4))
    network = make(EOMT).eval()
    images, targets = batch("panoptic", 2, (64, 64))
    targets[1] = targets[1] | {name: targets[1][name][:1] for name in ("masks", "labels")}
    whole = network.losses(images, targets)
    counts = []
    for one in range(2):
        part = Part(0.5, [0], counts=[])
        with part.active():
            assert network.losses(images[one : one + 1], targets[one : one + 1]) == {}
        counts.append(part.counts)
    known = [sum(values) for values in zip(*([value for value, _ in one] for one in counts))]
    summed = dict.fromkeys(whole, 0.0)
    for one in range(2):
        with Part(0.5, [0], known).active():
            for name, loss in network.losses(images[one : one + 1], targets[one : one + 1]).items():
                summed[name] += 0.5 * loss
    for name, loss in whole.items():
        torch.testing.assert_close(summed[name], loss, rtol=1e-4, atol=1e-5, msg=name)


def test_more_objects_than_queries():
    few = EOMT | {"config": EOMT["config"] | {"num_queries": 2}}
    loss = sum(make(few, "instance").losses(*batch("instance", 2, (64, 64))).values())
    loss.backward()
    assert torch.isfinite(loss)


def test_an_architecture_without_pairs_is_refused():
    with pytest.raises(SegbenchError, match="'detr' does not predict pairs"):
        make({"model_type": "detr"})
