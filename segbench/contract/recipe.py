"""Recipes: how a network is trained, and how it predicts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

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
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate from each layer of the backbone to the one before it, in addition to
    `backbone_lr_factor`. The last layer learns at `layer_decay` times the rate of the backbone, the one
    before it at its square. Layers are those of timm: blocks, and the stem. 1: no decay."""


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


class BorderWeights(Strict):
    """Weights of the background between objects that nearly touch (U-Net, Ronneberger et al. 2015).

    A pixel of the background has the additional weight w0 exp(-(d1 + d2)² / (2 sigma²)), where d1 and d2 are
    its distances to the nearest and the second nearest object of the training image.
    """

    w0: PositiveFloat = 10.0
    """Weight where both distances are 0."""
    sigma: PositiveFloat = 5.0
    """Width of the borders, in pixels of the training image."""


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

    short_side: PositiveInt | None = None
    """Resize images so that the shorter side has this many pixels. null: keep their size."""
    max_side: PositiveInt | None = None
    """Longest side after resizing, in pixels; it takes precedence over `short_side`."""
    window: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width of a window that slides over the image. The logits are averaged. Semantic networks
    only."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Overlap of neighbouring windows, as a fraction of the window."""
    batch_size: PositiveInt = 1
    """Images predicted at once. It does not change the scores."""


class Recipe(Strict):
    """Everything about one training. A change of any key but `inference` retrains the network."""

    iterations: NonNegativeInt
    """Number of optimizer steps. 0: score the public `weights` without training."""
    batch_size: PositiveInt
    """Images in one optimizer step, summed over devices and accumulation steps."""
    accumulate: PositiveInt = 1
    """Forward passes that each batch is split into."""
    gpus: PositiveInt = 1
    """Devices that share each batch. Batch size and learning rate do not change.

    A batch has `gpus` x `accumulate` parts. Losses are those of the whole batch, as if it had one part: a
    mean over objects or labelled pixels divides by their number in all parts, and each image draws the same
    random numbers. Only the statistics of batch normalisation are those of a part, and dropout draws by part.
    With `accumulate`, another forward pass counts first where this needs what the network finds (the R-CNN
    family, BlendMask, Panoptic-DeepLab, and the losses `dice` and `ohem`).
    """
    optimizer: Optimizer = Optimizer()
    """Optimizer."""
    schedule: Schedule = Schedule()
    """Learning rate schedule."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights, updated after every iteration, such as 0.999.
    The average is validated and predicted with; statistics of norms are the current ones. null: no average.
    """
    sync_batch_norm: bool = False
    """Compute the statistics of batch norms over all GPUs. It changes nothing with `gpus: 1`."""
    class_weights: (
        Literal["none", "median_frequency", "inverse_log"] | list[Annotated[float, Field(ge=0)]]
    ) = "none"
    """Weight of each class in the cross-entropy of semantic networks with a softmax. The sum over pixels is
    divided by the sum of their weights. median_frequency: median of the classes' frequencies over that of the
    class; the frequency of a class is its share of the labelled pixels of the training images that show it
    (Eigen 2015). inverse_log: 1 / ln(1.02 + its share of all labelled pixels) (ENet, Paszke 2016). A list:
    one number for each class, the background first if there is one."""
    border_weights: BorderWeights | None = None
    """Weights of the borders between objects, for semantic networks on datasets with objects. null: none."""
    skip_empty: bool = False
    """Skip training images without objects, or with crowds only, as detectron2 does. Semantic and panoptic
    trainings use all images."""
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
    patience: PositiveInt | None = None
    """Stop after so many validations in a row without a lower loss than before. The learning rates are those
    of the whole schedule. null: never."""
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
        if not self.iterations and not self.weights:
            raise ValueError("iterations: 0 needs `weights`")
        if self.select == "best" and self.validate_every is None:
            raise ValueError("select: best needs validate_every")
        if self.patience and self.validate_every is None:
            raise ValueError("patience needs validate_every")
        return self
