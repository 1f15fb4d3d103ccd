"""Recipes: how a network is trained, and how it predicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

Fraction = Annotated[float, Field(ge=0, le=1)]


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError("the first value of a range must not be larger than the second")
    return ends


PositiveRange = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_ascending)]
NonNegativeRange = Annotated[tuple[NonNegativeFloat, NonNegativeFloat], AfterValidator(_ascending)]


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


class LargeScaleJitter(Strict):
    range: PositiveRange = (0.1, 2.0)
    """Range of the factor, drawn uniformly. At 1, the image just fits into `size`."""
    size: tuple[PositiveInt, PositiveInt] = (1024, 1024)
    """Height and width. They are also those of the crops if `crop` is null."""


class RatioRange(Strict):
    base: tuple[PositiveInt, PositiveInt]
    """Longest and shortest side that images are resized to fit into, in pixels, in any order. The aspect
    ratio stays."""
    range: PositiveRange = (0.5, 2.0)
    """Range of the factor on both sides, drawn uniformly."""


class Rotate(Strict):
    degrees: Annotated[float, Field(gt=0, le=180)]
    """Largest angle. Angles are drawn uniformly, in both directions."""
    probability: Fraction = 1.0
    """Probability that an image is rotated."""


class Elastic(Strict):
    """Displacements are smoothed noise (`alpha`, `sigma`), or drawn on a coarse grid (`std`, `grid`)."""

    alpha: PositiveFloat | None = None
    """Factor on the smoothed noise, in pixels. The noise is uniform in -1..1 in each pixel and direction."""
    sigma: PositiveFloat | None = None
    """Standard deviation of the Gaussian that smooths the noise, in pixels."""
    std: PositiveFloat | None = None
    """Standard deviation of the displacements at the points of the grid, in pixels."""
    grid: tuple[Annotated[int, Field(ge=2, le=64)], Annotated[int, Field(ge=2, le=64)]] = (3, 3)
    """Rows and columns of the grid of `std`. Displacements between its points are interpolated."""
    probability: Fraction = 1.0
    """Probability that an image is deformed."""

    @model_validator(mode="after")
    def _one_field(self) -> Elastic:
        smooth = self.alpha is not None and self.sigma is not None
        if (smooth and self.std is not None) or not (smooth or self.std is not None):
            raise ValueError("give `alpha` and `sigma`, or `std` (with `grid`)")
        if self.std is not None and (self.alpha is not None or self.sigma is not None):
            raise ValueError("`alpha` and `sigma` do not go with `std`; set them to null")
        return self


class Photometric(Strict):
    brightness: Annotated[float, Field(ge=0, le=255)] = 32
    """Largest value that is added or subtracted, on a scale of 0..255."""
    contrast: NonNegativeRange = (0.5, 1.5)
    """Range of the factor on all values."""
    saturation: NonNegativeRange = (0.5, 1.5)
    """Range of the factor on the saturation. RGB images only."""
    hue: Annotated[float, Field(ge=0, le=90)] = 18
    """Largest shift of the hue, in steps of 2 degrees, as OpenCV counts. RGB images only."""


class Blur(Strict):
    sigma: PositiveRange
    """Range of the standard deviation of the Gaussian, in pixels."""
    probability: Fraction = 0.5
    """Probability that an image is blurred."""


class Noise(Strict):
    std: NonNegativeRange
    """Range of the standard deviation, where 1 is the range of the image's values (255 for 8 bit)."""
    probability: Fraction = 0.5
    """Probability that an image gets noise."""


class CopyPaste(Strict):
    probability: Fraction = 0.5
    """Probability that objects are pasted into an image."""
    max_objects: PositiveInt | None = None
    """Largest number of pasted objects. The number is drawn uniformly. null: all objects of the image."""


class Augment(Strict):
    """Random changes of training images and their truth.

    They are applied in this order: rotate90, rotate, elastic, one of the resizes, crop, flips, colours, blur,
    noise, copy_paste. null switches a change off.
    """

    scale: PositiveRange = (1.0, 1.0)
    """Range of the factor by which images are resized before the crop, drawn uniformly. [1, 1]: no resizing.

    At most one of `scale`, `resize`, `short_sides`, `large_scale_jitter` and `ratio_range` is given.
    """
    resize: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width that all images are resized to. The aspect ratio may change."""
    short_sides: Annotated[list[PositiveInt], Field(min_length=1)] | None = None
    """Lengths of the shorter side after resizing, in pixels; one is drawn for each image."""
    max_side: PositiveInt | None = None
    """Longest side after resizing by `short_sides`, in pixels; it takes precedence. null: no limit."""
    large_scale_jitter: LargeScaleJitter | None = None
    """Resize by a factor from a wide range, relative to a fixed size, then crop or pad to that size."""
    ratio_range: RatioRange | None = None
    """Resize to fit into a frame that is multiplied by a random factor."""
    crop: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width of the training crops. Smaller images are padded with void. null: whole images."""
    max_class_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Draw a crop again, up to ten times, if one class covers this share or more of its labelled pixels.
    Semantic and panoptic truth only."""
    horizontal_flip: bool = True
    """Flip half of the images from left to right."""
    vertical_flip: bool = False
    """Flip half of the images upside down."""
    rotate90: bool = False
    """Rotate by a random multiple of 90 degrees."""
    rotate: Rotate | None = None
    """Rotate by any angle around the centre. The size stays; corners outside of the image are void."""
    elastic: Elastic | None = None
    """Deform by a random, smooth field of displacements."""
    color_jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Strength of random brightness, contrast and saturation; without saturation for images that are neither
    grey nor RGB."""
    photometric: Photometric | None = None
    """Distort brightness, contrast, saturation and hue, each in half of the images. Not with `color_jitter`.
    """
    blur: Blur | None = None
    """Blur by a Gaussian."""
    noise: Noise | None = None
    """Add Gaussian noise."""
    copy_paste: CopyPaste | None = None
    """Paste objects of another training image over the image. Instance and panoptic truth only."""
    on_device: bool = False
    """Change colours, blur and add noise on the device instead of in the loader, with the same random
    numbers. Not with `copy_paste`."""

    @field_validator("scale", "horizontal_flip", "vertical_flip", "rotate90", "color_jitter", mode="before")
    @classmethod
    def _null_is_off(cls, value: Any, info: ValidationInfo) -> Any:
        off = {"scale": (1.0, 1.0), "color_jitter": 0.0}
        return off.get(info.field_name or "", False) if value is None else value

    @model_validator(mode="after")
    def _compatible(self) -> Augment:
        wrong = []
        if len(self.resizes) > 1:
            wrong.append(f"{' and '.join(self.resizes)} both resize; keep one and set the others to null")
        if self.max_side is not None and self.short_sides is None:
            wrong.append("max_side needs short_sides; add them, or set max_side to null")
        if self.max_class_share is not None and self.crop_size is None:
            wrong.append("max_class_share needs crop; add it, or set max_class_share to null")
        if self.color_jitter and self.photometric is not None:
            wrong.append("color_jitter and photometric both change colours; set one of them to null")
        if self.on_device and self.copy_paste is not None:
            wrong.append(
                "copy_paste joins two images whose colours are changed; set on_device to false, or copy_paste"
                " to null"
            )
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def resizes(self) -> list[str]:
        """Keys that resize the image."""
        keys = ("resize", "short_sides", "large_scale_jitter", "ratio_range")
        return ["scale"] * (self.scale != (1.0, 1.0)) + [
            key for key in keys if getattr(self, key) is not None
        ]

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """Height and width of the training crops: `crop`, or else the size of `large_scale_jitter`."""
        jitter = self.large_scale_jitter
        return self.crop or (jitter.size if jitter is not None else None)


class Inference(Strict):
    """How whole images are fed to the network at prediction."""

    scale: PositiveFloat = 1.0
    """Factor by which images are resized, without `short_side`."""
    short_side: PositiveInt | None = None
    """Resize images so that the shorter side has this many pixels. null: keep their size."""
    max_side: PositiveInt | None = None
    """Longest side after resizing, in pixels; it takes precedence over `short_side` and `scale`."""
    window: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width of a window that slides over the resized image, for images that are too large for one
    pass. The logits of semantic networks are averaged. Other networks predict each window by itself; objects
    that several windows see are joined by their overlap there, and maps of labels are stitched. null: the
    whole image at once."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Overlap of neighbouring windows, as a fraction of the window. With objects, it must be more than 0, and
    best as large as most of them."""
    blend: Literal["uniform", "gaussian"] = "uniform"
    """Weights of the logits within a window. gaussian: as in nnU-Net, a gaussian around the centre with a
    standard deviation of 1/8 of the window. Semantic networks only."""
    scales: Annotated[list[PositiveFloat], Field(min_length=1)] = [1.0]
    """Factors on the size of the resized image, such as `[0.75, 1.0, 1.25]`. The network predicts the image
    at each of them, and the probabilities are averaged at the size of the original image, as in
    mmsegmentation. Semantic networks only."""
    flip: bool = False
    """Predict the image as it is and flipped from left to right, at each scale, and average the
    probabilities. Semantic networks only."""
    batch_size: PositiveInt = 1
    """Images predicted at once. It does not change the scores."""

    @property
    def passes(self) -> int:
        """Number of times that the network sees an image."""
        return len(self.scales) * (1 + self.flip)

    def stated_over(self, stated: Inference | None) -> Inference:
        """Return these values with those that `stated` states in their place: what rules derived stays."""
        keys = stated.model_fields_set if stated else ()
        return self.model_copy(update={key: getattr(stated, key) for key in keys})

    def faults(self, *, semantic: bool) -> Iterator[tuple[str, str, str]]:
        """Find keys that a network does not support.

        Args:
            semantic: whether the network is a `SemanticNetwork`, which has a map of logits.

        Yields:
            Key, what is wrong as a text that follows the name of the network, and the remedy.
        """
        if semantic:
            return
        without = "has no map of logits to average over"
        if self.scales != [1.0]:
            yield "scales", f"{without} scales (value: {self.scales})", "set scales: [1.0]"
        if self.flip:
            yield "flip", f"{without} flips", "set flip: false"
        if self.blend != "uniform":
            yield "blend", f"{without} windows (value: {self.blend})", "set blend: uniform"
        if self.window and not self.overlap:
            yield "overlap", "joins objects by the overlap of windows, which is 0", "set overlap: 0.2 or more"


class Fit(Strict):
    """What the rules of docs/fitting.md start from. Without a value here, it is that of the network's recipe:
    the side of its crop, its scale, iterations and queries."""

    side: PositiveInt = 512
    """Side of a square with as many pixels as a training crop."""
    jitter: tuple[PositiveFloat, PositiveFloat] = (0.7, 1.25)
    """Range of `augment.scale`, as factors on the size at which the images are shown."""
    iterations: PositiveInt | None = None
    """Number of optimizer steps for 2 classes and 100 images. null: the recipe states `iterations`."""
    equal_iterations: bool = False
    """Give all networks the same factor on `iterations`. false: networks with queries and those that start
    from random weights get more. With a recipe whose protocol states `iterations` (`standard`, `budget`), the
    default is true: it promises the same number of images to all."""
    queries: PositiveInt = 100
    """Smallest number of queries."""
    pixels: PositiveInt = 4_000_000
    """Most pixels of a forward pass, by the memory of the device."""


def _switched(fit: Any) -> Any:
    return {} if fit is True else None if fit is False else fit


class Start(Strict):
    """A trained network whose weights a training starts from: a cell of the run, or a file."""

    dataset: str | None = None
    """Dataset of the run that the network is trained on first, with the same seed. null: the cell's own."""
    model: str | None = None
    """Network of the run that is trained first. null: the cell's own."""
    path: str | None = None
    """A `model.pt` of another run instead, for all seeds and folds. `~` is the home folder."""

    def __str__(self) -> str:
        return self.path or " on ".join(filter(None, (self.model, self.dataset)))

    @model_validator(mode="after")
    def _is_one(self) -> Start:
        if bool(self.path) == bool(self.dataset or self.model):
            raise ValueError("give `dataset`, `model` or both (a cell of the run), or `path` (a file)")
        return self


def _start(given: Any) -> Any:
    return {"model": given} if isinstance(given, str) else given


NumberFormat = Literal["fp32", "bf16", "fp16"]
"""What a network computes in, once `auto` is resolved."""
CompileMode = Literal["default", "reduce-overhead", "max-autotune"]


class Recipe(Strict):
    """Everything about one training. A change of any key but `inference` retrains the network."""

    fit: Annotated[Fit | None, BeforeValidator(_switched)] = None
    """Fit the recipe to the dataset: crop, scale, window, iterations and more are derived from the statistics
    of the training images, see docs/fitting.md. `true`: the rules start from the values of the network's
    recipe. What the dataset's entry or the run states is never changed."""
    iterations: NonNegativeInt | None = None
    """Number of optimizer steps. 0: score the public `weights` without training. null: by `fit.iterations`.
    """
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
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 autocast if the CPU or GPU has bf16 units, else fp16 autocast if the GPU has tensor cores,
    else fp32. With fp16, a training scales its loss, so that small gradients do not vanish. fp32 uses TF32 on
    GPUs that have it."""
    compile: CompileMode | None = None
    """Compile the network for training with this mode of torch.compile: all of a semantic network, the
    backbone of others. It needs a network with the option `backbone`, and pays in long trainings: the first
    steps wait for the compiler. null: no compiling. Validation and prediction are never compiled."""
    deterministic: bool = False
    """Train and predict with deterministic kernels only, so that a GPU repeats its results to the bit. An
    operation that has none is an error. Processors do so without it. See docs/gpu.md."""
    augment: Augment = Augment()
    """Random changes of the training images."""
    inference: Inference = Inference()
    """How whole images are predicted. A change repeats the prediction, not the training."""
    pretrained: str | None = None
    """Name of an entry of `config/weights/` for the backbone. null: random initialisation."""
    weights: str | None = None
    """Name of an entry of `config/weights/` for the whole network, to start from. Layers whose classes differ
    are initialised randomly."""
    init_from: Annotated[Start | None, BeforeValidator(_start)] = None
    """A trained network to start from: another cell of the run, which is trained first, or a file. A text is
    short for `model`. All weights of the same name and shape are copied; those that depend on the classes
    only if these are the same. `pretrained` is not used. See docs/transfer.md."""
    validate_every: PositiveInt | None = None
    """Compute the loss on the `val` split after every so many iterations. The evaluation split is never used.
    """
    validation_images: NonNegativeInt = 100
    """Number of images of the `val` split, spread evenly over it, on which each validation also computes the
    primary metric of the network's task, as the evaluation does. 0: only the loss."""
    select_by: Literal["loss", "metric"] = "loss"
    """What `select: best` and `patience` go by: the lowest validation loss, or the highest value of the
    primary metric on `validation_images`. With `metric`, a change of `inference` retrains the network."""
    patience: PositiveInt | None = None
    """Stop after so many validations in a row without a lower loss, or higher metric (`select_by`), than
    before. The learning rates are those of the whole schedule. null: never."""
    select: Literal["last", "best"] = "last"
    """Weights to predict with: those after the last iteration, or the best ones of all validations."""
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
            raise ValueError(
                "give `weights` (public ones) or `init_from` (those of another training), not both"
            )
        if self.iterations is None and (self.fit is None or self.fit.iterations is None):
            raise ValueError("give `iterations`, or `fit` with `iterations`")
        if self.iterations == 0 and not self.weights:
            raise ValueError("iterations: 0 needs `weights`")
        if self.select == "best" and self.validate_every is None:
            raise ValueError("select: best needs validate_every")
        if self.patience and self.validate_every is None:
            raise ValueError("patience needs validate_every")
        if self.select_by == "metric" and not (self.validate_every and self.validation_images):
            raise ValueError("select_by: metric needs validate_every and validation_images")
        return self
