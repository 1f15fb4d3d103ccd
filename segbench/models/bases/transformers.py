"""Networks of the library transformers, built from values of an entry; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segbench.errors import SegbenchError, nearest
from segbench.importing import optional
from segbench.models.layers.backbones import Backbone, pad_to_multiple

TIMM = "timm_backbone"
"""`model_type` of a timm backbone."""
LEVELS = (-4, -3, -2, -1)
"""Its levels: those of stride 4, 8, 16 and 32 in a convolutional network."""
COMMON = {"backbone_config", "model_type", "out_features", "out_indices"}
"""Keys that a configuration may have without showing them among its values."""


class TimmFeatures(nn.Module):
    """A timm backbone, called as a backbone of transformers is."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.timm, self.channels = backbone, backbone.channels

    def forward(self, pixel_values: Tensor, *_: Any, **__: Any) -> Any:
        output = optional("transformers.modeling_outputs", "transformers").BackboneOutput
        return output(feature_maps=tuple(self.timm(pixel_values)))

    forward_with_filtered_kwargs = forward


class Framed(NamedTuple):
    """Images as a network takes them."""

    images: Tensor
    covered: tuple[int, int]
    """Height and width of the part at the upper left that shows the image; the rest is padding."""


def framed(images: Tensor, multiple: int, side: int | None, mode: str = "bilinear") -> Framed:
    """Pad images with zeros at right and below.

    Args:
        images: B x C x H x W.
        multiple: divides height and width of the result.
        side: height and width of the result: images are resized to fit into it, and keep their aspect ratio.
            None: images keep their size.
        mode: how images are resized, see `torch.nn.functional.interpolate`.
    """
    height, width = images.shape[-2:]
    if side is not None and max(height, width) != side:
        scale = side / max(height, width)
        height, width = max(1, round(scale * height)), max(1, round(scale * width))
        corners = None if mode == "nearest" else False
        images = F.interpolate(images, (height, width), mode=mode, align_corners=corners)
    padded = pad_to_multiple(images, multiple if side is None else side)
    return Framed(padded, (height, width))


def build(
    kind: str,
    model_type: str,
    values: Mapping[str, Any] | None,
    labels: int,
    channels: int,
    backbone: str | None = None,
    frozen_norm: bool = False,
) -> Any:
    """Build a network of transformers with random weights.

    Args:
        kind: the library's class of networks, such as `AutoModelForSemanticSegmentation`.
        model_type: name of the architecture in the library, such as `segformer`.
        values: values of the configuration that differ from the library's.
        labels: number of classes.
        channels: channels of the images.
        backbone: timm name of a backbone, for architectures that take one; its four coarsest levels are used.
        frozen_norm: fix its batch norms, see `Backbone`.

    Returns:
        The network, a `PreTrainedModel`.

    Raises:
        SegbenchError: the library is not installed, or has no such architecture or key, or refuses a value.
    """
    library = optional("transformers", "transformers")
    auto = getattr(library, kind)
    names = sorted(config.model_type for config in auto._model_mapping)
    if model_type not in names:
        hint = nearest(model_type, names)
        raise SegbenchError(
            f"{kind} of transformers {library.__version__} has no '{model_type}'",
            where="options.model_type",
            remedy=(f"did you mean '{hint}'? " if hint else "") + f"known: {', '.join(names)}",
        )
    values = dict(values or {})
    if backbone:
        values["backbone_config"] = {"model_type": TIMM, "backbone": backbone, "out_indices": LEVELS}
    _check_keys(library, model_type, values, "options.config")
    verbosity = library.logging.get_verbosity()
    library.logging.set_verbosity_error()  # it warns of backbones that its authors have not tried
    try:
        network = auto.from_config(_config(library, model_type, {**values, "num_labels": labels}, channels))
    except Exception as error:  # each architecture has errors of its own
        raise SegbenchError(
            f"transformers cannot build '{model_type}' ({type(error).__name__}: {str(error)[:300]})",
            where="options.config",
            remedy=f"compare the values with those of a published {model_type}, in its config.json",
        ) from error
    finally:
        library.logging.set_verbosity(verbosity)
    if backbone:
        own = TimmFeatures(Backbone(backbone, channels, LEVELS, frozen_norm=frozen_norm))
        places = [name for name, one in network.named_modules() if type(one).__name__ == "TimmBackbone"]
        if not places:
            raise SegbenchError(
                f"'{model_type}' takes no backbone from timm",
                where="options.backbone",
                remedy="remove it, or choose an architecture with a `backbone_config`, such as upernet",
            )
        network.set_submodule(places[0], own)
    return network


def timm_backbone(network: nn.Module) -> Backbone:
    """Return the timm backbone of a network from `build`. AttributeError if it has none."""
    for module in network.modules():
        if isinstance(module, TimmFeatures):
            return module.timm
    raise AttributeError("backbone")


def load_checkpoint(network: Any, state: dict[str, Tensor]) -> None:
    """Load the weights of a file that transformers wrote, such as `model.safetensors` of a checkpoint folder.

    The library renames tensors of its earlier versions.

    Args:
        network: a network with the attribute `net`, built with the values of the checkpoint's `config.json`;
            changed in place.
        state: tensors of the file.

    Raises:
        RuntimeError: tensors are missing or have another shape.
    """
    with torch.random.fork_rng():
        theirs, info = type(network.net).from_pretrained(
            None,
            config=network.net.config,
            state_dict=state,
            ignore_mismatched_sizes=True,
            local_files_only=True,
            output_loading_info=True,
        )
    wrong = sorted(info["missing_keys"]) + [name for name, *_ in info["mismatched_keys"]]
    if wrong:
        raise RuntimeError(f"{len(wrong)} tensors are missing or of another shape, the first is '{wrong[0]}'")
    own = network.state_dict()
    parts = {name if name in own else f"net.{name}": value for name, value in theirs.state_dict().items()}
    network.load_state_dict(parts)


def _config(library: Any, model_type: str, values: dict[str, Any], channels: int) -> Any:
    config = library.AutoConfig.for_model(model_type, **values)
    parts: tuple[Any, ...] = config, getattr(config, "backbone_config", None)
    for one in parts:
        if hasattr(one, "num_channels"):
            one.num_channels = channels
    return config


def _check_keys(library: Any, model_type: str, values: Mapping[str, Any], where: str) -> None:
    """Refuse keys that the configuration does not have: the library would keep them, and use none."""
    known = {*library.AutoConfig.for_model(model_type).to_dict(), *COMMON}
    for key, value in values.items():
        if key not in known:
            hint = nearest(key, sorted(known))
            raise SegbenchError(
                f"the configuration of '{model_type}' has no '{key}'",
                where=where,
                remedy=f"did you mean '{hint}'?" if hint else "see its config class in transformers",
            )
        if key == "backbone_config" and isinstance(value, Mapping):
            _check_keys(library, value.get("model_type", "resnet"), value, f"{where}.backbone_config")
