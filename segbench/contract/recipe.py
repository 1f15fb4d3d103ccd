"""How a network is trained and applied: the part of the configuration that a training depends on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Optimizer(Strict):
    name: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with momentum."""
    lr: PositiveFloat = 1e-3
    """Learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Weight decay."""
    momentum: Fraction = 0.9
    """Momentum of SGD; AdamW ignores it."""
    backbone_lr_factor: Annotated[float, Field(ge=0)] = 1.0
    """Multiplies the learning rate of the backbone; 0 freezes it."""
    no_decay_on_norm: bool = True
    """No weight decay for the parameters that the network names in `no_weight_decay()`, such as biases and
    norms. False: everything decays."""


class Schedule(Strict):
    name: Literal["poly", "cosine", "step", "constant"] = "poly"
    """Learning rate at the fraction t of all iterations: poly: (1 - t)^power; cosine: (1 + cos πt) / 2; step:
    times `gamma` at each milestone; constant."""
    power: PositiveFloat = 0.9
    """Exponent of `poly`."""
    milestones: list[Fraction] = []
    """Fractions of all iterations at which `step` multiplies the learning rate by `gamma`."""
    gamma: PositiveFloat = 0.1
    """Factor of `step`."""
    warmup_iterations: Annotated[int, Field(ge=0)] = 0
    """Iterations of linear warm-up."""
    warmup_factor: PositiveFloat = 0.01
    """Factor on the learning rate at the start of the warm-up."""


class Augment(Strict):
    """Random changes of training images; image and truth change alike."""

    scale: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    """Range of a uniformly drawn factor on the image's size, before the crop."""
    crop: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width of the training crops. Smaller images are padded with void. null: whole images."""
    horizontal_flip: bool = True
    """Flip half of the images from left to right."""
    vertical_flip: bool = False
    """Flip half of the images upside down."""
    rotate90: bool = False
    """Rotate by a random multiple of 90 degrees."""
    color_jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Strength of random brightness, contrast and saturation."""


class Inference(Strict):
    """How whole images are fed at prediction."""

    short_side: PositiveInt | None = None
    """Resize images so that the shorter side has this many pixels. null: the image's own size."""
    max_side: PositiveInt | None = None
    """Longest side after resizing, in pixels; it takes precedence over `short_side`."""
    window: tuple[PositiveInt, PositiveInt] | None = None
    """Slide a window of this height and width over the image and average the logits (semantic networks)."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Overlap of neighbouring windows, as a fraction of the window."""
    batch_size: PositiveInt = 1
    """Images predicted at once. It never changes a score."""


class Recipe(Strict):
    """A full description of one training. All of it but `inference` changes the weights, and so retrains."""

    iterations: NonNegativeInt
    """Optimizer steps; 0 scores the public `weights` as they are."""
    batch_size: PositiveInt
    """Images in one optimizer step, over all devices and accumulation steps."""
    accumulate: PositiveInt = 1
    """Forward passes that each batch is split into."""
    gpus: PositiveInt = 1
    """Devices that share each batch; batch size and learning rate stay as they are.

    Each part of a batch, of `gpus` x `accumulate`, counts by its images: a loss that is a mean over objects
    or labelled pixels is one over those of the part. Batch normalisation sees the part only.
    """
    optimizer: Optimizer = Optimizer()
    """Optimizer."""
    schedule: Schedule = Schedule()
    """Learning rate schedule."""
    clip_norm: PositiveFloat | None = None
    """Largest norm of the gradient. null: no clipping."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast if the processor or the GPU has bf16 units, else fp32."""
    augment: Augment = Augment()
    """Random changes of the training images."""
    inference: Inference = Inference()
    """How whole images are predicted. A change repeats the prediction only."""
    pretrained: str | None = None
    """Name of an entry of `config/weights/` for the backbone. null: random initialisation."""
    weights: str | None = None
    """Name of an entry of `config/weights/` for the whole network, to start from. Layers for other classes
    start from random weights."""
    init_from: str | None = None
    """Another network of the run, such as a coarser one in a staged training. Its cell of the same dataset
    and seed is trained first, and gives every weight of the same name and shape, instead of `pretrained`."""
    validate_every: PositiveInt | None = None
    """Iterations between losses on the `val` split, which is never the split that is scored."""
    select: Literal["last", "best"] = "last"
    """Weights to predict with: the last ones, or those with the lowest validation loss."""
    options: dict[str, float | int | str | bool | list | dict | None] = {}
    """Arguments of the network's constructor that override those of its entry, such as loss weights."""

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.accumulate * self.gpus > self.batch_size:
            parts = f"accumulate ({self.accumulate}) x gpus ({self.gpus})"
            raise ValueError(f"{parts} is more than batch_size ({self.batch_size})")
        if self.weights and self.pretrained:
            raise ValueError("give `pretrained` (of the backbone) or `weights` (of the whole network)")
        if self.weights and self.init_from:
            raise ValueError("give `weights` (public ones) or `init_from` (another cell's)")
        if not self.iterations and not self.weights:
            raise ValueError("iterations: 0 needs `weights`")
        if self.select == "best" and self.validate_every is None:
            raise ValueError("select: best needs validate_every")
        return self
