"""Backbones from timm, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from timm.layers import freeze_batch_norm_2d
from timm.models import adapt_input_conv, is_model_in_modules
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.errors import SegbenchError, nearest
from segbench.models.layers.dilation import dilate
from segbench.models.layers.swin import LevelNorms, pad_before_shift


class Backbone(nn.Module):
    """A timm model without its head; level i is B x channels[i] x H / reductions[i] x W / reductions[i].

    Weights are random (torch's global generator) until `load` is called; nothing is downloaded. Each level of
    a Swin Transformer is layer-normalised; `load` does not change these norms.

    Args:
        name: timm name of the model.
        in_channels: channels of the images.
        out_indices: levels to return, from fine to coarse; negative ones count from the coarsest. None: all.
        output_stride: 8 or 16 dilates the last stages, if the model supports it; 32 does not.
        frozen_norm: replace batch norms by fixed affine maps, for pretrained weights and small batches.
        options: more arguments of timm's model, such as `dynamic_img_size`.

    Raises:
        SegbenchError: timm has no such model, or it returns no features with these options.
    """

    def __init__(
        self,
        name: str,
        in_channels: int = 3,
        out_indices: Sequence[int] | None = None,
        output_stride: int = 32,
        frozen_norm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        if not timm.is_model(name):
            hint = nearest(name, timm.list_models())
            raise SegbenchError(
                f"'{name}' is not a timm model",
                where="backbone",
                remedy=f"did you mean '{hint}'?" if hint else "timm.list_models() lists all names",
            )
        is_swin = name.startswith("swin_")
        if is_swin:  # windows on images of any size, shifted in every stage as in the published detectors
            options |= {"strict_img_size": False, "always_partition": True}
        if out_indices is not None:
            options["out_indices"] = tuple(out_indices)
        dilated = output_stride != 32
        is_mobilenet = is_model_in_modules(name, ["mobilenetv3"])  # takes no `output_stride`
        if dilated and not is_mobilenet:
            options["output_stride"] = output_stride
        try:
            net: Any = timm.create_model(
                name, in_chans=in_channels, features_only=True, feature_cls="getter", **options
            )
        except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError) as error:
            raise SegbenchError(
                f"'{name}' returns no features with {options} ({error})",
                where="backbone",
                remedy="choose another backbone, such as resnet50",
            ) from error
        self.name, self.in_channels = name, in_channels
        self.channels: list[int] = net.feature_info.channels()
        self.reductions: list[int] = net.feature_info.reduction()
        if dilated and is_mobilenet:
            dilate(net.model.blocks, 2, output_stride)
            self.reductions = [min(reduction, output_stride) for reduction in self.reductions]
        self.patch = self.reductions[0] if hasattr(net.model, "patch_embed") else 1
        self.net: Any = freeze_batch_norm_2d(net) if frozen_norm else net
        self.norms: nn.Module = LevelNorms(self.channels) if is_swin else nn.Identity()
        if is_swin:
            pad_before_shift(net)

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.norms(self.net(pad_to_multiple(images, self.patch)))

    def load(self, state: dict[str, Tensor]) -> None:
        """Load a state dict of the full timm model, without its head.

        A first convolution for another number of channels is adapted by timm's rule: summed for one channel,
        else repeated and scaled. Raises `SegbenchError` when the weights are not of this model.
        """
        own = self.net.model.state_dict()
        first = self.net.pretrained_cfg["first_conv"] + ".weight"
        state = {name: value for name, value in state.items() if name in own}
        if first in state:
            state[first] = adapt_input_conv(self.in_channels, state[first].clone())
        check_fit(self.name, own, state, "name weights of the same timm model as the network's backbone")
        self.net.model.load_state_dict(state, strict=False)


def check_fit(model: str, own: Mapping[str, Tensor], given: Mapping[str, Tensor], remedy: str) -> None:
    """Raise `SegbenchError` unless weights have all tensors of a model, in its shapes.

    Args:
        model: name of the model.
        own: its state dict; counters of batches may be missing from `given`.
        given: weights, without names that `own` lacks.
        remedy: what to do otherwise.
    """
    wrong = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    wrong += [name for name, value in given.items() if value.shape != own[name].shape]
    if wrong:
        raise SegbenchError(
            f"the weights do not fit {model}: {len(wrong)} tensors missing or of another shape, "
            f"the first is '{wrong[0]}'",
            where="pretrained",
            remedy=remedy,
        )


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Pad images with zeros at right and below, so that `multiple` divides height and width."""
    height, width = images.shape[-2:]
    right, below = -width % multiple, -height % multiple
    # an exported network must not decide by the size of one image
    padded = torch.compiler.is_exporting() or right or below
    return F.pad(images, (0, right, 0, below)) if padded else images
