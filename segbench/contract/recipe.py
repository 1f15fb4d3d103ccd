"""Recipes: how a network is trained, and how it predicts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

Fraction = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """Base of all schemas. Unknown keys are mistakes; the docstrings of fields describe them."""

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
    """Factor on the learning rate of the backbone. 0 freezes it."""
    no_decay_on_norm: bool = True
    """No weight decay for the parameters that the network names in `no_weight_decay()`, such as biases and
    norms. false: all parameters decay."""


class Schedule(Strict):
    name: Literal["poly", "cosine", "step", "constant"] = "poly"
    """Factor on the learning rate at the fraction t of all iterations. poly: (1 - t)^power. cosine: (1 + cos
    πt) / 2. step: multiplied by `gamma` at each milestone. constant: 1."""
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
    """Random changes of training images and their truth."""

    scale: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    """Range of the factor by which images are resized before the crop, drawn uniformly."""
    crop: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width of the training crops. Smaller images are padded with void. null: whole images."""
    horizontal_flip: bool = True
    """Flip half of the images from left to right."""
    vertical_flip: bool = False
    """Flip half of the images upside down."""
    rotate90: bool = False
    """Rotate by a random multiple of 90 degrees."""
    color_jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Strength of random brightness, contrast and saturation; without saturation for images that are neither
    grey nor RGB."""


class Inference(Strict):
    """How whole images are fed to the network at prediction."""

    scale: PositiveFloat = 1.0
    """Factor by which images are resized, without `short_side`."""
    short_side: PositiveInt | None = None
    """Resize images so that the shorter side has this many pixels. null: keep their size."""
    max_side: PositiveInt | None = None
    """Longest side after resizing, in pixels; it takes precedence over `short_side` and `scale`."""
    window: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width of a window that slides over the image. The logits are averaged. Semantic networks
    only."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Overlap of neighbouring windows, as a fraction of the window."""
    batch_size: PositiveInt = 1
    """Images predicted at once. It does not change the scores."""


class Fit(Strict):
    """What the rules of docs/fitting.md start from. They derive what the recipe does not state from the
    statistics of the dataset."""

    side: PositiveInt = 512
    """Side of a square with as many pixels as a training crop."""
    jitter: tuple[PositiveFloat, PositiveFloat] = (0.7, 1.25)
    """Range of `augment.scale`, as factors on the size at which the images are shown."""
    iterations: PositiveInt | None = None
    """Number of optimizer steps for 2 classes and 100 images. null: the recipe states `iterations`."""
    queries: PositiveInt = 100
    """Smallest number of queries."""
    pixels: PositiveInt = 4_000_000
    """Most pixels of a forward pass, by the memory of the device."""


def _switched(fit: Any) -> Any:
    return {} if fit is True else None if fit is False else fit


class Recipe(Strict):
    """Everything about one training. A change of any key but `inference` retrains the network."""

    fit: Annotated[Fit | None, BeforeValidator(_switched)] = None
    """Fit the recipe to the dataset: keys that it does not state are derived from the statistics of the
    training images. `true`: with the defaults of `fit`."""
    iterations: NonNegativeInt | None = None
    """Number of optimizer steps. 0: score the public `weights` without training. null: by `fit.iterations`.
    """
    batch_size: PositiveInt
    """Images in one optimizer step, summed over devices and accumulation steps."""
    accumulate: PositiveInt = 1
    """Forward passes that each batch is split into."""
    gpus: PositiveInt = 1
    """Devices that share each batch. Batch size and learning rate do not change.

    A batch has `gpus` x `accumulate` parts, which are weighted by their number of images. A loss that is a
    mean over objects or labelled pixels is a mean over those of one part, and so are the statistics of batch
    normalisation.
    """
    optimizer: Optimizer = Optimizer()
    """Optimizer."""
    schedule: Schedule = Schedule()
    """Learning rate schedule."""
    clip_norm: PositiveFloat | None = None
    """Clip the norm of the gradient to this value. null: no clipping."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast if the CPU or GPU has bf16 units, else fp32."""
    augment: Augment = Augment()
    """Random changes of the training images."""
    inference: Inference = Inference()
    """How whole images are predicted. A change repeats the prediction, not the training."""
    pretrained: str | None = None
    """Name of an entry of `config/weights/` for the backbone. null: random initialisation."""
    weights: str | None = None
    """Name of an entry of `config/weights/` for the whole network, to start from. Layers whose classes differ
    are initialised randomly."""
    init_from: str | None = None
    """Another network of the run to start from, such as a coarser one in a staged training. Its cell of the
    same dataset and seed is trained first. All weights of the same name and shape are copied, and
    `pretrained` is not used."""
    validate_every: PositiveInt | None = None
    """Compute the loss on the `val` split after every so many iterations. The evaluation split is never used.
    """
    select: Literal["last", "best"] = "last"
    """Weights to predict with: those after the last iteration, or those with the lowest validation loss."""
    options: dict[str, float | int | str | bool | list | dict | None] = {}
    """Arguments of the network's constructor that override those of its entry, such as loss weights."""

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.accumulate * self.gpus > self.batch_size:
            parts = f"accumulate ({self.accumulate}) x gpus ({self.gpus})"
            raise ValueError(f"{parts} is more than batch_size ({self.batch_size})")
        if self.weights and self.pretrained:
            raise ValueError(
                "give `pretrained` (of the backbone) or `weights` (of the whole network), not both"
            )
        if self.weights and self.init_from:
            raise ValueError("give `weights` (public ones) or `init_from` (those of another cell), not both")
        if self.iterations is None and (self.fit is None or self.fit.iterations is None):
            raise ValueError("give `iterations`, or `fit` with `iterations`")
        if self.iterations == 0 and not self.weights:
            raise ValueError("iterations: 0 needs `weights`")
        if self.select == "best" and self.validate_every is None:
            raise ValueError("select: best needs validate_every")
        return self
