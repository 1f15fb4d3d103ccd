"""Networks of segmentation_models.pytorch (Iakubovskii 2019, github.com/qubvel-org)."""

from __future__ import annotations

import inspect
from typing import Any

from timm import list_models
from timm.layers import freeze_batch_norm_2d
from timm.models import adapt_input_conv
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.contract.view import View
from segbench.errors import SegbenchError, nearest
from segbench.importing import optional
from segbench.models.layers.backbones import check_fit
from segbench.models.network import Activation, SemanticNetwork

NEEDS = {"segmentation_models_pytorch": "smp"}
GIVEN = {"encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params", "kwargs"}
"""Arguments of the library's networks that are no settings."""
TIMM = "tu-"
"""Begins the library's names of timm's models."""


class Encoder(nn.Module):
    """An encoder of the library; weights are random until `load` is called.

    Args:
        net: the library's encoder.
        name: its name.
        in_channels: channels of the images.
        frozen_norm: replace batch norms by fixed affine maps, for pretrained weights and small batches.
    """

    def __init__(self, net: nn.Module, name: str, in_channels: int, frozen_norm: bool) -> None:
        super().__init__()
        self.name, self.in_channels = name, in_channels
        self.net: Any = freeze_batch_norm_2d(net) if frozen_norm else net

    def forward(self, images: Tensor) -> Any:
        return self.net(images)

    def load(self, state: dict[str, Tensor]) -> None:
        """Load a state dict of the full model of timm or torchvision, without its head.

        A first convolution for another number of channels is adapted by timm's rule: summed for one channel,
        else repeated and scaled. Raises `SegbenchError` when the weights are not of this model.
        """
        given, own = {_plain(name): value for name, value in state.items()}, self.net.state_dict()
        fit = {name: given[_plain(name)] for name in own if _plain(name) in given}
        first = next(n for n, module in self.net.named_modules() if isinstance(module, nn.Conv2d)) + ".weight"
        if first in fit:
            fit[first] = adapt_input_conv(self.in_channels, fit[first].clone())
        check_fit(self.name, own, fit, "name weights of the same model as the network's backbone")
        self.net.load_state_dict(own | fit)


def _plain(name: str) -> str:
    """Name a tensor alike in a timm model (`layers.0`) and in its features (`layers_0`)."""
    return name.removeprefix("model.").replace(".", "_")


class SMP(SemanticNetwork):
    """A network of `segmentation_models_pytorch.create_model`, for images of any size.

    Images are padded with zeros at right and below to a multiple of the encoder's stride, and logits are
    cropped.

    Args:
        view: task and classes to predict.
        in_channels: channels of the images.
        decoder: Unet, UnetPlusPlus, MAnet, Linknet, FPN, PSPNet, PAN, DeepLabV3, DeepLabV3Plus, UPerNet,
            Segformer or DPT.
        backbone: the library's name of the encoder; `tu-` and a timm name for timm's models.
        frozen_norm: see `Encoder`.
        settings: further arguments of the library's class, such as `decoder_channels`; with a `tu-` encoder
            also those of the timm model.
        loss, activation: see `SemanticNetwork`.

    Raises:
        SegbenchError: the library does not have the decoder, the encoder, a setting or this combination.
    """

    def __init__(
        self,
        view: View,
        in_channels: int,
        decoder: str = "Unet",
        backbone: str = "resnet34",
        frozen_norm: bool = False,
        settings: dict[str, Any] | None = None,
        loss: dict[str, float] | None = None,
        activation: Activation = "softmax",
    ) -> None:
        super().__init__(view, in_channels, loss, activation)
        model = _build(decoder, backbone, settings or {}, in_channels, self.outputs)
        self.is_dpt, is_pan = decoder.lower() == "dpt", decoder.lower() == "pan"
        self.stride: int = model.encoder.output_stride * (2 if self.is_dpt else 1)  # DPT adds a coarser level
        self.least = self.stride * (8 if is_pan else 1)  # PAN halves the features three times
        self.backbone = Encoder(model.encoder, backbone, in_channels, frozen_norm)
        self.decoder, self.head = model.decoder, model.segmentation_head

    def forward(self, images: Tensor) -> Tensor:
        """B x C x H x W -> logits B x outputs x H x W."""
        size = images.shape[-2:]
        wanted = [max(self.least, -(-side // self.stride) * self.stride) for side in size]
        images = F.pad(images, (0, wanted[1] - size[1], 0, wanted[0] - size[0]))
        features = self.backbone(images)
        logits = self.head(self.decoder(*features) if self.is_dpt else self.decoder(features))
        if logits.shape[-2:] != images.shape[-2:]:
            raise SegbenchError(
                f"logits of {tuple(logits.shape[-2:])} pixels for an image of {tuple(images.shape[-2:])}",
                where="options.settings",
                remedy="set `upsampling` to the stride of the decoder's output",
            )
        return logits[..., : size[0], : size[1]]


def _build(decoder: str, encoder: str, settings: dict[str, Any], in_channels: int, classes: int) -> Any:
    """Build a network of the library with random weights; nothing is downloaded."""
    smp = optional("segmentation_models_pytorch", "smp")
    classes_of = {kind.__name__: kind for kind in smp.MODEL_ARCHITECTURES_MAPPING.values()}
    kind = smp.MODEL_ARCHITECTURES_MAPPING.get(decoder.lower())
    if kind is None:
        raise _unknown(decoder, "decoder", list(classes_of))
    timm_name = encoder.removeprefix(TIMM) if encoder.startswith(TIMM) else None
    names = smp.encoders.get_encoder_names()
    if timm_name is None and encoder not in names:
        raise _unknown(encoder, "backbone", [*names, *(TIMM + name for name in list_models())])
    if timm_name is not None and not list_models(timm_name.partition(".")[0]):
        raise _unknown(encoder, "backbone", [TIMM + name for name in list_models()])
    known = [name for name in inspect.signature(kind).parameters if name not in GIVEN]
    for name in settings:
        if name in GIVEN or (timm_name is None and name not in known):
            raise _unknown(name, "settings", known)
    if decoder.lower() == "dpt":
        settings = {"dynamic_img_size": True} | settings
    elif timm_name and timm_name.startswith("swin"):
        settings = {"strict_img_size": False} | settings
    try:
        model = smp.create_model(
            decoder, encoder, encoder_weights=None, in_channels=in_channels, classes=classes, **settings
        )
    except (
        AssertionError,
        AttributeError,
        IndexError,
        KeyError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise SegbenchError(
            f"{kind.__name__} with the encoder '{encoder}' and {settings} cannot be built ({error})",
            where="options",
            remedy="choose another backbone, such as resnet34, or other settings",
        ) from error
    if decoder.lower() == "dpt":
        model.encoder.model.prune_intermediate_layers(1, prune_norm=True)
    return model


def _unknown(value: str, option: str, known: list[str]) -> SegbenchError:
    hint = nearest(value, known)
    remedy = f"did you mean '{hint}'?" if hint else f"choose from {', '.join(known[:30])}"
    return SegbenchError(f"segmentation_models_pytorch has no '{value}'", where=option, remedy=remedy)
