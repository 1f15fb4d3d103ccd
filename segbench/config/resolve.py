"""The configuration: what stands in the YAML files, checked as a whole before anything runs.

`resolve` turns a run configuration and the registries (config/datasets, config/models, config/weights) into
a `Run`: every cell with its recipe, and the pairs left out with the reason. All mistakes are reported at
once, each with the file, the key, the value and the nearest valid name.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from segbench.config.signature import constructor_options, faults, find, model_options
from segbench.contract.card import Card, Published, Size
from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.limits import Limits
from segbench.contract.recipe import Recipe, Strict
from segbench.contract.report import ReportOptions
from segbench.contract.sources import Address, Archive, WeightsEntry
from segbench.contract.view import TASKS, Name, Task
from segbench.errors import SegbenchError, nearest

CONFIG = Path("config")
GIVEN = 2
"""Parameters of a network's constructor before its options: view and channels."""


def _folder(path: str) -> str:
    """A folder's name as it can stand in Snakemake's patterns; `~` is the home folder."""
    if wrong := [c for c in path if c in "{}" or not c.isprintable()]:
        raise ValueError(f"a path may not hold {wrong[0]!r}")
    if not path.strip():
        raise ValueError("a path may not be empty")
    return os.path.normpath(Path(path).expanduser())


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("a device is auto, cpu, cuda or cuda:<n>, such as cuda:0")
    return name


def _place(path: str) -> str:
    return path if "://" in path else _folder(path)


Folder = Annotated[str, AfterValidator(_folder)]


class DatasetEntry(Strict):
    """config/datasets/<name>.yaml"""

    title: str
    """Name in tables and plots."""
    convert: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
    """Python path of the converter, `package.module:function`."""
    tasks: list[Task]
    """What the converted dataset offers: semantic, instance, panoptic."""
    channels: Literal[1, 3]
    """Channels of the images: 1 (grey) or 3 (RGB)."""
    options: dict[str, Any] = {}
    """Options of the converter."""
    archives: dict[Name, Archive] = {}
    """Files that the dataset is made from, by file name."""
    images: dict[str, PositiveInt] = {}
    """Number of images in each split of the full dataset, shown by `segbench datasets`."""
    address: Address | None = None
    """Web page of the dataset."""
    licence: str
    """Licence of the dataset, shown in the report."""
    citation: str
    """How to cite the dataset."""
    recipe: dict[str, Any] = {}
    """Recipe keys for this dataset, merged over the recipe of every network: what the data allow, such as
    flips."""


class ModelEntry(Strict):
    """config/models/<name>.yaml"""

    title: str
    """Name in tables and plots."""
    class_: Annotated[str, Field(alias="class", pattern=r"^[\w.]+:\w+$")]
    """Python path of the network, `package.module:Class`."""
    tasks: list[Task]
    """Tasks that the network can be trained on."""
    options: dict[str, Any] = {}
    """Arguments of the network's constructor."""
    trained: bool = True
    """False for controls, which have no recipes."""
    card: Card | str
    """Paper and notes, shown by `segbench models`. A network without a paper, and a control, has one line of
    text instead."""
    size: Size | None = None
    """Parameters and FLOPs; `segbench cards` measures and writes them."""
    published: list[Published] = []
    """Scores from papers, shown in the report in a table of their own."""
    recipes: dict[str, dict[str, Any]] = {}
    """Recipes by name, such as `demo`, `budget` and `paper`; `public` scores public weights of the whole
    network."""

    @property
    def notes(self) -> dict[str, str]:
        """The card, by the words under which it is shown."""
        if isinstance(self.card, str):
            return {"Note": self.card}
        return {
            "Paper": str(self.card.paper),
            "Good at": self.card.good,
            "Bad at": self.card.bad,
            "Public weights": self.card.licence,
        }


class Override(Strict):
    """Laid over the recipe of the cells that it names; without `datasets` or `models`, of all."""

    datasets: list[str] | None = None
    """Datasets that it applies to; without this key, all."""
    models: list[str] | None = None
    """Networks that it applies to; without this key, all."""
    recipe: dict[str, Any] = {}
    """Recipe keys, merged over the recipe of these cells."""
    threads: PositiveInt | None = None
    """Processor threads of one training, instead of the run's `threads`."""

    def applies(self, dataset: str, model: str) -> bool:
        return dataset in (self.datasets or [dataset]) and model in (self.models or [model])


class Exclusion(Strict):
    dataset: str
    """Name of the dataset."""
    model: str
    """Name of the network or control."""


class RunConfig(Strict):
    """config/config.yaml, or the file given with --configfile."""

    run: Name = "default"
    """Name of the run. Its results go to `<results>/<run>/`."""
    results: Folder = "results"
    """Folder of all results."""
    data: Folder = "results/data"
    """Folder of the converted datasets. Runs that name the same folder share them."""
    archives: Folder = "results/archives"
    """Folder of the archives. Put archives that cannot be downloaded automatically here."""
    weights: Folder = "results/weights"
    """Folder of the pretrained weights."""
    mirror: Annotated[str, AfterValidator(_place)] | None = None
    """Folder or address with archives and `SHA256SUMS`, searched before the upstream addresses."""
    datasets: list[Name]
    """Names of entries of `config/datasets/`."""
    models: list[Name]
    """Names of networks in `config/models/`. A network runs on each dataset with which it shares a task."""
    controls: list[Name] = ["control_constant", "control_random", "control_truth"]
    """Names of controls in `config/models/`: they run like networks, without training."""
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1)] = [0]
    """Every cell is trained once for each seed. Controls run with the first seed only."""
    recipe: str = "demo"
    """Which of the networks' recipes to train with."""
    exclude: list[Exclusion] = []
    """Pairs of dataset and network to skip."""
    overrides: list[Override] = []
    """Changes to the recipes of some cells, applied in order."""
    dataset_options: dict[str, dict[str, Any]] = {}
    """By dataset: options merged over those of the dataset's entry, such as the number of generated images.
    """
    allow_non_commercial: bool = False
    """Allow weights whose licence forbids commercial use."""
    device: Annotated[str, AfterValidator(_device)] = "auto"
    """`auto` (GPUs if there are any, else the processor), `cpu`, `cuda`, or `cuda:<n>`."""
    threads: PositiveInt = 1
    """Processor threads of one training or prediction, and processes of one scoring. Training is reproducible
    to the bit for the same number of threads."""
    workers: NonNegativeInt = 0
    """Loader processes of one training. They never change a result."""
    max_hours: PositiveFloat | None = None
    """`segbench plan` refuses a run with more estimated hours of training on one device."""
    limits: Limits = Limits()
    """How large extracted archives and images may be."""
    evaluation: EvaluationOptions = EvaluationOptions()
    """Options of the evaluation. A change repeats the scoring only."""
    report: ReportOptions = ReportOptions()
    """Options of the report. A change repeats the report only."""


@dataclass(frozen=True)
class Cell:
    """(dataset, model, seed) and what it trains on."""

    dataset: str
    model: str
    seed: int
    task: Task
    control: bool
    class_path: str
    options: Mapping[str, Any]
    recipe: Recipe | None
    threads: int

    @property
    def key(self) -> tuple[str, str, int]:
        return self.dataset, self.model, self.seed

    @property
    def weights(self) -> str | None:
        """The entry of config/weights that the training starts from."""
        if self.recipe is None or self.earlier:
            return None
        return self.recipe.weights or self.recipe.pretrained

    @property
    def earlier(self) -> tuple[str, str, int] | None:
        """Key of the cell whose weights the training starts from."""
        if self.recipe is None or self.recipe.init_from is None:
            return None
        return self.dataset, self.recipe.init_from, self.seed

    @cached_property
    def spec(self) -> str:
        """What the training step gets, as JSON; everything in it, and nothing else, retrains the cell."""
        return json.dumps(
            {
                "class_path": self.class_path,
                "options": self.options,
                "task": self.task,
                "seed": self.seed,
                "recipe": self.recipe
                and self.recipe.model_dump(mode="json", exclude={"options", "inference"}),
            }
        )

    @property
    def predict_arguments(self) -> list[str]:
        """Options of `segbench predict`: how images are fed to the trained network, or the control."""
        if self.recipe is None:
            keys = {"class_path": self.class_path, "task": self.task, "seed": self.seed}
            return ["--control", json.dumps(keys)]
        return ["--inference", self.recipe.inference.model_dump_json(exclude_defaults=True)]


@dataclass
class Run:
    """A configuration with its registries, resolved."""

    config: RunConfig
    datasets: dict[str, DatasetEntry]
    models: dict[str, ModelEntry]
    weights: dict[str, WeightsEntry]
    cells: list[Cell]
    left_out: list[tuple[str, str, str]]
    """(dataset, model, reason)"""
    by_key: dict[tuple[str, str, int], Cell] = field(init=False)

    def __post_init__(self) -> None:
        self.by_key = {cell.key: cell for cell in self.cells}

    def loader(self, cell: Cell) -> str | None:
        """Python path of the function that takes the cell's weights in."""
        entry = self.weights[cell.weights] if cell.weights else None
        return entry.checkpoint.load if entry and entry.checkpoint else None

    @cached_property
    def archives(self) -> dict[str, Archive]:
        return {name: archive for entry in self.datasets.values() for name, archive in entry.archives.items()}

    def convert_spec(self, dataset: str) -> str:
        """What the convert step gets, as JSON."""
        apart = {"archives", "images", "address", "recipe"}
        spec = self.datasets[dataset].model_dump(mode="json", exclude=apart)
        limits = self.config.limits.model_dump(mode="json", exclude_defaults=True)
        return json.dumps({**spec, "limits": limits} if limits else spec)

    def as_yaml(self) -> str:
        """The configuration with every default and every recipe written out."""
        recipes: dict[str, dict[str, Any]] = {}
        for cell in self.cells:
            if cell.recipe:
                recipes.setdefault(cell.model, {})[cell.dataset] = cell.recipe.model_dump(mode="json")
        whole = {"run": self.config.model_dump(mode="json"), "recipes": recipes}
        return yaml.dump(whole, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)


@dataclass(frozen=True)
class Problem:
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def resolve(
    raw: Mapping[str, Any],
    registry: Path = CONFIG,
    source: str = "the configuration",
    *,
    check_code: bool = True,
) -> Run:
    """Check everything and work out the cells. Raises one `SegbenchError` that lists every mistake.

    `check_code`: also whether the networks, converters and loaders are there and take their options.
    """
    problems: list[Problem] = []
    config = _parse(RunConfig, dict(raw), source, problems)
    names = {kind: _names(registry / kind) for kind in ("datasets", "models", "weights")}
    wanted = config or RunConfig.model_construct(
        datasets=_strings(raw.get("datasets")), models=_strings(raw.get("models"))
    )
    datasets = read_entries(
        DatasetEntry, registry / "datasets", wanted.datasets, names["datasets"], source, problems
    )
    models = read_entries(
        ModelEntry, registry / "models", [*wanted.models, *wanted.controls], names["models"], source, problems
    )
    if config is None:
        raise _error(problems)
    problems += _unknown(config, names, source)
    for kind in ("datasets", "models", "controls", "seeds"):
        listed = getattr(config, kind)
        problems += [
            Problem(f"{source}: {kind}", f"'{name}' is listed twice")
            for name in sorted({n for n in listed if listed.count(n) > 1})
        ]
    for name, options in config.dataset_options.items():
        if name in datasets:
            merged = overlay(datasets[name].options, options)
            datasets[name] = datasets[name].model_copy(update={"options": merged})
    for name, entry in datasets.items():
        if isinstance(folder := entry.options.get("folder"), str):
            own = {**entry.options, "folder": str(Path(folder).expanduser())}
            datasets[name] = entry.model_copy(update={"options": own})
    problems += _conflicts(datasets, registry)
    for name, entry in models.items():
        for i, one in enumerate(entry.published):
            if one.dataset and one.dataset not in names["datasets"]:
                hint = _did_you_mean(nearest(one.dataset, names["datasets"]))
                where = f"{registry}/models/{name}.yaml: published.{i}.dataset"
                problems.append(Problem(where, f"no dataset '{one.dataset}'{hint}"))
    cells: list[Cell] = []
    left_out: list[tuple[str, str, str]] = []
    excluded = {(e.dataset, e.model) for e in config.exclude}
    for dataset, model in ((d, m) for d in datasets for m in models):
        if (dataset, model) in excluded:
            left_out.append((dataset, model, "excluded by the configuration"))
            continue
        shared = [t for t in reversed(TASKS) if t in datasets[dataset].tasks and t in models[model].tasks]
        if not shared:
            needs, has = ", ".join(models[model].tasks), ", ".join(datasets[dataset].tasks)
            left_out.append((dataset, model, f"needs {needs} truth; the dataset has {has}"))
            continue
        cells += _cells(
            config, dataset, model, datasets[dataset], models[model], shared[0], registry, problems
        )
    needed = dict.fromkeys(name for c in cells if (name := c.weights))
    weights = read_entries(
        WeightsEntry,
        registry / "weights",
        needed,
        names["weights"],
        f"{registry}/models: recipe",
        problems,
    )
    problems += _unfit(cells, weights, config.allow_non_commercial, registry)
    problems += _unstaged(cells)
    if check_code:
        problems += _not_code(datasets, models, weights, registry)
        problems += _wrong_options(config, datasets, cells, registry, source)
    if problems:
        raise _error(problems)
    return Run(config, datasets, models, weights, cells, left_out)


def _cells(
    config: RunConfig,
    dataset: str,
    model: str,
    data: DatasetEntry,
    entry: ModelEntry,
    task: Task,
    registry: Path,
    problems: list[Problem],
) -> Iterator[Cell]:
    recipe = None
    overrides = [o for o in config.overrides if o.applies(dataset, model)]
    threads = next((o.threads for o in reversed(overrides) if o.threads), config.threads)
    if entry.trained:
        where = f"{registry}/models/{model}.yaml"
        if config.recipe not in entry.recipes:
            hint = nearest(config.recipe, entry.recipes)
            problems.append(
                Problem(
                    where,
                    f"has no recipe '{config.recipe}' (has: {', '.join(entry.recipes)})"
                    + _did_you_mean(hint),
                )
            )
            return
        layers = [entry.recipes[config.recipe], data.recipe]
        layers += [o.recipe for o in overrides]
        merged: dict[str, Any] = {}
        for layer in layers:
            merged = overlay(merged, layer)
        recipe = _parse(Recipe, merged, f"recipe of {model} on {dataset}", problems)
        if recipe is None:
            return
    options = {**entry.options, **(recipe.options if recipe else {})}
    for seed in config.seeds if entry.trained else config.seeds[:1]:
        yield Cell(dataset, model, seed, task, not entry.trained, entry.class_, options, recipe, threads)


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `over` laid over it, mapping by mapping; lists and values are replaced."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = overlay(result[key], value) if both else value
    return result


def read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise SegbenchError(f"cannot be read as YAML: {error}", where=path, remedy="fix the file") from error


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _strings(value: Any) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def read_entries(
    kind: type[Any],
    folder: Path,
    wanted: Iterable[str],
    known: list[str],
    source: str,
    problems: list[Problem],
) -> dict[str, Any]:
    """The `wanted` entries of a folder of the registries; those that are missing or wrong are `problems`."""
    found = {}
    for name in dict.fromkeys(wanted):
        if name not in known:
            problems.append(
                Problem(
                    f"{source}: {folder.name}",
                    f"no {folder}/{name}.yaml" + _did_you_mean(nearest(name, known)),
                )
            )
            continue
        path = folder / f"{name}.yaml"
        try:
            entry = _parse(kind, read_yaml(path), str(path), problems)
        except SegbenchError as error:
            problems.append(Problem(str(path), error.what))
            continue
        if entry is not None:
            found[name] = entry
    return found


def _unknown(config: RunConfig, names: Mapping[str, list[str]], source: str) -> Iterator[Problem]:
    """Names in exclude, overrides and dataset_options that nothing is called by."""
    mentioned = [
        *((f"exclude.{i}.dataset", "datasets", e.dataset) for i, e in enumerate(config.exclude)),
        *((f"exclude.{i}.model", "models", e.model) for i, e in enumerate(config.exclude)),
        *(
            (f"overrides.{i}.datasets", "datasets", d)
            for i, o in enumerate(config.overrides)
            for d in o.datasets or []
        ),
        *(
            (f"overrides.{i}.models", "models", m)
            for i, o in enumerate(config.overrides)
            for m in o.models or []
        ),
        *(("dataset_options", "datasets", d) for d in config.dataset_options),
    ]
    for key, kind, name in mentioned:
        if name not in names[kind]:
            yield Problem(
                f"{source}: {key}", f"no {kind[:-1]} '{name}'" + _did_you_mean(nearest(name, names[kind]))
            )


def _conflicts(datasets: Mapping[str, DatasetEntry], registry: Path) -> Iterator[Problem]:
    """The same archive name described differently by two datasets."""
    seen: dict[str, tuple[str, Archive]] = {}
    for dataset, entry in datasets.items():
        for name, archive in entry.archives.items():
            first, known = seen.setdefault(name, (dataset, archive))
            if known != archive:
                yield Problem(
                    f"{registry}/datasets/{dataset}.yaml: archives.{name}",
                    f"differs from the one in {first}.yaml",
                )


def _unfit(
    cells: Iterable[Cell], weights: Mapping[str, WeightsEntry], non_commercial: bool, registry: Path
) -> Iterator[Problem]:
    """Weights of another kind or network than the recipe asks for, or that the licence forbids."""
    for cell in cells:
        entry = weights.get(cell.weights or "")
        if entry is None or cell.recipe is None:
            continue
        where = f"recipe of {cell.model} on {cell.dataset}"
        made_for = entry.checkpoint and entry.checkpoint.class_
        if cell.recipe.pretrained and made_for:
            yield Problem(
                f"{where}: pretrained", f"'{cell.weights}' is a whole network; name it as `weights`"
            )
        elif cell.recipe.weights and not made_for:
            yield Problem(f"{where}: weights", f"'{cell.weights}' is a backbone; name it as `pretrained`")
        elif made_for and made_for != cell.class_path:
            yield Problem(f"{where}: weights", f"'{cell.weights}' is made for {made_for}")
        if entry.non_commercial and not non_commercial:
            yield Problem(
                f"{registry}/weights/{cell.weights}.yaml",
                f"its licence ({entry.licence}) forbids commercial use; allow_non_commercial: true allows it",
            )


def _unstaged(cells: Iterable[Cell]) -> Iterator[Problem]:
    """Trainings that start from a cell that the run has not, or in the end from themselves."""
    by_key = {cell.key: cell for cell in cells}
    for cell in by_key.values():
        where = f"recipe of {cell.model} on {cell.dataset}: init_from"
        earlier, seen = cell.earlier, {cell.key}
        if earlier and (earlier not in by_key or by_key[earlier].control):
            hint = _did_you_mean(nearest(earlier[1], [m for d, m, _ in by_key if d == cell.dataset]))
            yield Problem(
                where, f"the run trains no '{earlier[1]}' on {cell.dataset}{hint}; add it to models"
            )
        while earlier and earlier in by_key and earlier not in seen:
            seen.add(earlier)
            earlier = by_key[earlier].earlier
        if earlier in seen:
            yield Problem(where, "the networks start from each other")


def _not_code(
    datasets: Mapping[str, DatasetEntry],
    models: Mapping[str, ModelEntry],
    weights: Mapping[str, WeightsEntry],
    registry: Path,
) -> Iterator[Problem]:
    """Python paths that lead to nothing."""
    paths = [(f"{registry}/datasets/{name}.yaml: convert", one.convert) for name, one in datasets.items()]
    paths += [(f"{registry}/models/{name}.yaml: class", one.class_) for name, one in models.items()]
    for name, entry in weights.items():
        if entry.checkpoint:
            where = f"{registry}/weights/{name}.yaml: checkpoint"
            paths.append((f"{where}.class", entry.checkpoint.class_))
            if entry.checkpoint.load:
                paths.append((f"{where}.load", entry.checkpoint.load))
    for where, path in paths:
        if wrong := _fault_of_code(path):
            yield Problem(where, wrong)


@cache
def _fault_of_code(path: str) -> str:
    """What is wrong with a Python path; empty where it leads to something."""
    try:
        find(path)
    except SegbenchError as error:
        return f"{error.what}" + (f"; {error.remedy}" if error.remedy else "") + f" (value: {path!r})"
    return ""


def _wrong_options(
    config: RunConfig,
    datasets: Mapping[str, DatasetEntry],
    cells: Iterable[Cell],
    registry: Path,
    source: str,
) -> Iterator[Problem]:
    """Options that a converter or a network does not take, where its source says which it takes."""
    for name, entry in datasets.items():
        if _fault_of_code(entry.convert):
            continue
        for key, wrong in faults(model_options(entry.convert), entry.options, strict=False):
            ours = key.partition(".")[0] in config.dataset_options.get(name, {})
            where = (
                f"{source}: dataset_options.{name}" if ours else f"{registry}/datasets/{name}.yaml: options"
            )
            yield Problem(f"{where}.{key}", wrong)
    checked: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for cell in cells:
        if cell.recipe is None or _fault_of_code(cell.class_path):
            continue
        same = cell.class_path, repr(cell.options)
        if same not in checked:
            checked[same] = list(
                faults(constructor_options(cell.class_path, GIVEN), cell.options, strict=True)
            )
        for key, wrong in checked[same]:
            ours = key.partition(".")[0] in cell.recipe.options
            where = (
                f"recipe of {cell.model} on {cell.dataset}"
                if ours
                else f"{registry}/models/{cell.model}.yaml"
            )
            yield Problem(f"{where}: options.{key}", wrong)


def _parse(model: type[Any], raw: Any, source: str, problems: list[Problem]) -> Any:
    """The validated model, or None with every mistake appended to `problems`."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        for one in error.errors():
            path = ".".join(map(str, one["loc"]))
            value = "" if one["type"] == "missing" else f" (value: {str(one['input'])[:80]!r})"
            hint = None
            if one["type"] == "extra_forbidden":
                hint = nearest(str(one["loc"][-1]), _keys_at(model, one["loc"][:-1]))
                value = ""
            problems.append(
                Problem(f"{source}: {path}" if path else source, _plain(one) + value + _did_you_mean(hint))
            )
        return None


def _plain(error: Any) -> str:
    return {"extra_forbidden": "unknown key", "missing": "missing key"}.get(
        error["type"], error["msg"].removeprefix("Value error, ")
    )


def _keys_at(model: type[Any], path: tuple[Any, ...]) -> list[str]:
    """Valid keys of the (nested) model that a pydantic error location points into."""
    current: Any = model
    for part in path:
        if isinstance(part, str) and isinstance(current, type) and issubclass(current, BaseModel):
            found = next((f for n, f in current.model_fields.items() if part in (n, f.alias)), None)
            current = found.annotation if found else None
        while get_origin(current) is not None:  # list[X], dict[str, X], X | None
            current = next((a for a in reversed(get_args(current)) if a is not type(None)), None)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return [f.alias or n for n, f in current.model_fields.items()]
    return []


def _did_you_mean(hint: str | None) -> str:
    return f"; did you mean '{hint}'?" if hint else ""


def _error(problems: list[Problem]) -> SegbenchError:
    lines = list(dict.fromkeys(map(str, problems)))
    return SegbenchError(
        f"{len(lines)} mistake{'s' * (len(lines) > 1)} in the configuration\n  " + "\n  ".join(lines),
        remedy="fix the lines above and start again; nothing was run",
    )
