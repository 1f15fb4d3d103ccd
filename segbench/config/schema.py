"""What a user writes in the YAML files: a run, and entries for datasets and networks.

The docstrings of the fields are the meanings in docs/reference.md.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from segbench.contract.card import Card, Published, Size
from segbench.contract.channels import Channels, Window, window_by_channel
from segbench.contract.columns import Columns
from segbench.contract.evaluation import EvaluationOptions, Family
from segbench.contract.external import TASKS_OF, External
from segbench.contract.limits import Limits
from segbench.contract.needs import Needs
from segbench.contract.recipe import Strict
from segbench.contract.report import ReportOptions
from segbench.contract.sources import Address, Archive
from segbench.contract.view import Name, Task
from segbench.quota import loader_workers


def _folder(path: str) -> str:
    """Normalise a path and expand `~`. Refuses characters that Snakemake gives a meaning."""
    if wrong := [c for c in path if c in "{}" or not c.isprintable()]:
        raise ValueError(f"a path may not contain {wrong[0]!r}")
    if not path.strip():
        raise ValueError("a path may not be empty")
    return os.path.normpath(Path(path).expanduser())


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("a device is auto, cpu, cuda or cuda:<n>, such as cuda:0")
    return name


def _place(path: str) -> str:
    return path if "://" in path else _folder(path)


def _workers(value: Any) -> Any:
    return loader_workers() if value == "auto" else value


STORED = ("results", "data", "archives", "weights")
"""Keys of folders that lie in `storage`."""
PAPER = "paper"
"""Recipe with the settings of a network's authors, for the datasets that they trained it on."""
Folder = Annotated[str, AfterValidator(_folder)]


class DiskFactors(Strict):
    """Disk space of a dataset, in multiples of its archives.

    The defaults are the largest of the shipped datasets without factors of their own, measured on reduced
    archives in the layouts of upstream.
    """

    converted: PositiveFloat = 1.15
    """The converted dataset."""
    work: PositiveFloat = 1.3
    """All that the conversion has on the disk beside the archives, at its peak: extracted files, which become
    hard links, and what is converted."""


class DatasetEntry(Strict):
    """config/datasets/<name>.yaml"""

    title: str
    """Name in tables and plots."""
    convert: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
    """Python path of the converter, `package.module:function`."""
    tasks: list[Task]
    """Tasks that the converted dataset has truth for: semantic, detection, instance, panoptic. A dataset with
    instance offers detection, too."""
    channels: Channels
    """Channels of the images, 1 to 16: 1 is grey, 3 is RGB, which become each other where files differ."""
    window: Window | None = None
    """[low, high]: stored values that are scaled to 0 and 1, such as `[-160, 240]` Hounsfield units; values
    outside are clipped. A list of such pairs gives each channel its own. Default: 0 to 255 for images of 8
    bits, else the range of each channel over the training images."""
    options: dict[str, Any] = {}
    """Options of the converter."""
    archives: dict[Name, Archive] = {}
    """Files that the dataset is converted from, by file name."""
    families: list[Family] = []
    """Families of metrics to score on this dataset in addition to those of `evaluation.families`, such as
    `cldice` for vessels."""
    disk: DiskFactors = DiskFactors()
    """Disk space for the estimate of `segbench plan`."""
    images: dict[str, PositiveInt] = {}
    """Number of images in each split of the full dataset, shown by `segbench datasets`."""
    address: Address | None = None
    """Web page of the dataset."""
    licence: str
    """Licence of the dataset, shown in the report."""
    citation: str
    """How to cite the dataset."""
    recipe: dict[str, Any] = {}
    """Recipe keys for this dataset, such as the flips that its images allow. They override the recipe of
    every network."""
    recipes: dict[str, dict[str, Any]] = {}
    """The dataset's share of a protocol of `config/recipes/`, by name: keys such as the crop and the number
    of iterations. They override the protocol and the recipes of all networks."""

    @property
    def second(self) -> bool:
        """Whether images of the scored split have the annotation of a second person, by the options."""
        splits = self.options.get("splits")
        if isinstance(splits, dict) and splits:
            scored = splits.get("test" if "test" in splits else "val")
            return isinstance(scored, dict) and bool(scored.get("second"))
        return bool(self.options.get("second"))

    @property
    def columns(self) -> Columns | None:
        """The option `metadata`, with the path of its file; None without it, or if it is not valid."""
        try:
            found = Columns.model_validate(self.options.get("metadata"))
        except ValidationError:
            return None
        folder = self.options.get("folder")
        top = Path(folder) if isinstance(folder, str) else Path()
        return found.model_copy(update={"file": top / found.file.expanduser()})

    @model_validator(mode="after")
    def _window_fits(self) -> DatasetEntry:
        if self.window is not None:
            window_by_channel(self.window, self.channels)
        return self


class ModelEntry(Strict):
    """config/models/<name>.yaml"""

    title: str
    """Name in tables and plots."""
    class_: Annotated[str, Field(alias="class", pattern=r"^[\w.]+:\w+$")] = ""
    """Python path of the network, `package.module:Class`. Entries with `external` have none."""
    tasks: list[Task] = []
    """Tasks that the network can be trained on. Those of an entry with `external` follow from its format."""
    external: External | None = None
    """Predictions of another program, in place of a network."""
    options: dict[str, Any] = {}
    """Arguments of the network's constructor."""
    fits: Needs = Needs()
    """What the network needs to see, for recipes with `fit`."""
    trained: bool = True
    """False for controls and for methods without training: classes like those in
    `segbench.prediction.controls`, without recipes."""
    second: bool = False
    """Whether it needs the annotation of a second person: the option `second` of a dataset."""
    card: Card | str
    """Paper and notes, shown by `segbench models`. One line of text for controls and networks without a
    paper."""
    size: Size | None = None
    """Parameters and FLOPs; `segbench cards` measures and writes them."""
    published: list[Published] = []
    """Scores from papers, shown in a separate table of the report."""
    recipes: dict[str, dict[str, Any]] = {}
    """Recipes by name, such as `demo`, `budget`, `standard` and `paper`. `public` scores public weights of
    the whole network without training. Keys that a recipe does not state are those of
    `config/recipes/<name>.yaml`, if there is such a file."""
    papers: dict[Name, dict[str, Any]] = {}
    """Datasets that the authors trained the network on, with the keys that differ from the recipe `paper`;
    `{}` if none does. They override the recipe keys of the dataset. `paper` cannot be used on other datasets.
    """

    @model_validator(mode="before")
    @classmethod
    def _one_source(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        external = raw.get("external")
        if external is None:
            if not raw.get("class") or not raw.get("tasks"):
                raise ValueError("needs `class` and `tasks`, or `external`")
            return raw
        apart = {"class", "tasks", "options", "trained", "recipes", "papers", "fits", "size"}
        if wrong := sorted(apart & raw.keys()):
            raise ValueError(f"an entry with `external` has no `{wrong[0]}`")
        kind = external.get("format") if isinstance(external, dict) else None
        tasks = next((tasks for one, tasks in TASKS_OF.items() if one == kind), ["semantic"])
        return {**raw, "tasks": tasks, "trained": False}

    @property
    def is_control(self) -> bool:
        """Whether it is a control."""
        return not self.trained and self.external is None

    @property
    def notes(self) -> dict[str, str]:
        """The card as text by heading, as it is shown."""
        if isinstance(self.card, str):
            return {"Note": self.card}
        return {
            "Paper": str(self.card.paper),
            "Good at": self.card.good,
            "Bad at": self.card.bad,
            "Public weights": self.card.licence,
            **({"Unlike the paper": " ".join(self.card.differs)} if self.card.differs else {}),
        }


class Override(Strict):
    """Changes to the recipe of some cells."""

    datasets: list[str] | None = None
    """Datasets that it applies to. Default: all."""
    models: list[str] | None = None
    """Networks that it applies to. Default: all."""
    recipe: dict[str, Any] = {}
    """Recipe keys that override those of these cells."""
    threads: PositiveInt | None = None
    """CPU threads of one training, instead of the run's `threads`."""

    def applies(self, dataset: str, model: str) -> bool:
        """Return whether it changes the cells of this dataset and model."""
        return dataset in (self.datasets or [dataset]) and model in (self.models or [model])


class Exclusion(Strict):
    """A pair of dataset and model to skip."""

    dataset: str
    """Name of the dataset."""
    model: str
    """Name of the network or control."""


Folds = Annotated[int, Field(ge=2, le=1000)]


def _with_test(splits: list[str]) -> list[str]:
    if "test" not in splits or len(set(splits)) < len(splits):
        raise ValueError("list `test`, and `train` if it is to be scored, too")
    return splits


ScoreSplits = Annotated[list[Literal["train", "test"]], AfterValidator(_with_test)]


class RunConfig(Strict):
    """config/config.yaml, or the file given with --configfile."""

    run: Name = "default"
    """Name of the run. Its results go to `<results>/<run>/`."""
    storage: Folder = "."
    """Folder in which `results`, `data`, `archives` and `weights` lie, unless they are absolute paths: the
    disk with room for a run."""
    results: Folder = "results"
    """Folder of the results of all runs."""
    data: Folder = "results/data"
    """Folder of the converted datasets. Runs that name the same folder share them."""
    archives: Folder = "results/archives"
    """Folder of the archives. Put archives that cannot be downloaded automatically here."""
    keep_archives: bool = True
    """false: an archive is fetched by the conversion that needs it and removed as soon as that is done, one
    dataset at a time, so that the disk never holds more. A finished dataset never needs its archives again;
    archives that you have put in place stay. A change of this key converts again."""
    weights: Folder = "results/weights"
    """Folder of the pretrained weights."""
    mirror: Annotated[str, AfterValidator(_place)] | None = None
    """Folder or address with archives and `SHA256SUMS`. Archives are fetched from there if it has them, else
    from their own addresses."""
    datasets: list[Name]
    """Names of entries of `config/datasets/`, or `all`: every entry with archives, so neither generated
    images nor folders of your own."""
    models: list[Name]
    """Names of networks in `config/models/`, or `all`: every network with the run's recipe. A network runs
    on each dataset with which it shares a task. With `recipe: paper`, `all` stands for the pairs of `papers`
    that have a published score."""
    controls: list[Name] = ["control_constant", "control_random", "control_human", "control_truth"]
    """Names of controls in `config/models/`. They run like networks, but are neither trained nor ranked. A
    method without training, such as `classical_otsu`, is ranked if `models` names it."""
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1)] = [0]
    """Every cell is trained once for each seed. Controls run with the first seed only."""
    folds: Folds | dict[Name, Folds] = {}
    """Number of folds of a cross-validation: of all datasets (`folds: 5`), or by dataset
    (`folds: {isbi2012: 5}`). A cell is then trained and scored once for each seed and fold. Other datasets
    keep their splits."""
    score_splits: ScoreSplits = ["test"]
    """Splits on which networks are scored. `test` is the evaluation split of each dataset, also where its
    name is `val`. `[train, test]` also scores each network on the images that it was trained on; the report
    then shows the gap between both. With folds, these are the training images of each fold."""
    recipe: str = "demo"
    """Name of the recipe that the networks are trained with."""
    exclude: list[Exclusion] = []
    """Pairs of dataset and network to skip."""
    overrides: list[Override] = []
    """Changes to the recipes of some cells, applied in order."""
    dataset_options: dict[str, dict[str, Any]] = {}
    """By dataset: options that override those of its entry, such as the number of generated images."""
    allow_non_commercial: bool = False
    """Allow weights whose licence forbids commercial use."""
    check_disk: bool = True
    """Refuse to start a run that needs more disk space than is free, by the estimate of `segbench plan`."""
    device: Annotated[str, AfterValidator(_device)] = "auto"
    """`auto` (GPUs if there are any, else the CPU), `cpu`, `cuda`, or `cuda:<n>`."""
    threads: PositiveInt = 1
    """CPU threads of one training or prediction, and processes of one conversion or evaluation. With the same
    number of threads, training is reproducible bit by bit."""
    workers: Annotated[NonNegativeInt, BeforeValidator(_workers)] = 0
    """Processes that load the data of one training or prediction. They do not change the results; with them,
    predictions are written while others are made. `auto`: all processors of the machine or of the container's
    quota but one, up to 8 and as many as its shared memory allows."""
    cache: Literal["none", "ram"] = "none"
    """ram: each training decodes its images and label maps once, before the first step, and keeps them in
    memory that its loader processes share, if they fit into half of what is free. It pays for small datasets
    of large files. It does not change the results."""
    checkpoint_minutes: PositiveFloat = 10.0
    """Minutes between checkpoints of a training: at most this much work is lost when a node is. At its time
    limit, and when it is told to stop, a training writes one anyway. It does not change the results."""
    tensorboard: bool = False
    """Write event files of each training for TensorBoard into `tensorboard/` of its cell: losses, learning
    rate, validation, metric, throughput, and a few predictions. It needs the package tensorboard, and does
    not change results."""
    max_hours: PositiveFloat | None = None
    """`segbench plan` refuses a run with more estimated hours of training, summed over the devices."""
    limits: Limits = Limits()
    """Largest size of extracted archives and of images."""
    evaluation: EvaluationOptions = EvaluationOptions()
    """Options of the evaluation. A change repeats only the evaluation."""
    report: ReportOptions = ReportOptions()
    """Options of the report. A change repeats only the report."""

    @model_validator(mode="before")
    @classmethod
    def _in_storage(cls, raw: Any) -> Any:
        if not (isinstance(raw, dict) and isinstance(raw.get("storage"), str)):
            return raw
        folders = {key: raw.get(key, cls.model_fields[key].default) for key in STORED}
        joined = {
            key: str(Path(raw["storage"]) / Path(folder).expanduser())
            for key, folder in folders.items()
            if isinstance(folder, str)
        }
        return {**raw, **joined}

    def folds_of(self, dataset: str) -> int | None:
        """Return the number of folds of a dataset, or None."""
        return self.folds if isinstance(self.folds, int) else self.folds.get(dataset)
