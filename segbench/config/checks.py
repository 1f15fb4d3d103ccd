"""Checks across the entries of a configuration: names, conflicts, weights, code and its options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from segbench.config.problems import Problem, did_you_mean
from segbench.config.registry import entry_names
from segbench.config.resolved_run import PlannedCell
from segbench.config.schema import PAPER, DatasetEntry, ModelEntry, RunConfig
from segbench.config.signature import (
    ANY_NAME,
    constructor_options,
    faults,
    find,
    is_subclass,
    model_options,
    needs,
)
from segbench.contract.image_table import read_header
from segbench.contract.sources import Archive, WeightsEntry
from segbench.contract.view import Task, offered
from segbench.errors import SegbenchError
from segbench.importing import install, missing

SEMANTIC = "segbench.models.network:SemanticNetwork"
"""Networks with a map of logits."""
FAMILIES = {"cldice": "segbench.evaluation.semantic.centreline:measure"}
"""Families of metrics whose code may need an extra."""
GIVEN = 2
"""Number of parameters of a network's constructor before its options: view and channels."""


def unknown_names(config: RunConfig, registry: Path, source: str) -> Iterator[Problem]:
    """Find names in the keys of a run, such as `exclude` and `folds`, without an entry in the registries."""
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
        *(("folds", "datasets", d) for d in (config.folds if isinstance(config.folds, dict) else ())),
    ]
    known = {kind: entry_names(registry / kind) for kind in ("datasets", "models")}
    for key, kind, name in mentioned:
        if name not in known[kind]:
            yield Problem(f"{source}: {key}", f"no {kind[:-1]} '{name}'" + did_you_mean(name, known[kind]))


def overrides_without_effect(
    config: RunConfig, models: Mapping[str, ModelEntry], source: str
) -> Iterator[Problem]:
    """Find recipe keys that an override gives to models that are not trained."""
    for i, override in enumerate(config.overrides):
        for name in override.models or [] if override.recipe else []:
            if name in models and not models[name].trained:
                yield Problem(
                    f"{source}: overrides.{i}.models",
                    f"'{name}' is not trained, so the recipe would change nothing; remove it from the list",
                )


def absent_baseline(config: RunConfig, source: str) -> Iterator[Problem]:
    """Find a baseline of the report that the run does not train."""
    name = config.report.baseline
    if name is not None and name not in config.models:
        yield Problem(
            f"{source}: report.baseline", f"the run has no model '{name}'" + did_you_mean(name, config.models)
        )


def repeated_names(config: RunConfig, source: str) -> Iterator[Problem]:
    """Find datasets, models, controls and seeds that are listed twice."""
    for kind in ("datasets", "models", "controls", "seeds"):
        listed = getattr(config, kind)
        for name in sorted({n for n in listed if listed.count(n) > 1}):
            yield Problem(f"{source}: {kind}", f"'{name}' is listed twice")


def conflicting_archives(datasets: Mapping[str, DatasetEntry], registry: Path) -> Iterator[Problem]:
    """Find archives of one name that two datasets describe differently."""
    seen: dict[str, tuple[str, Archive]] = {}
    for dataset, entry in datasets.items():
        for name, archive in entry.archives.items():
            first, known = seen.setdefault(name, (dataset, archive))
            if known != archive:
                yield Problem(
                    f"{registry}/datasets/{dataset}.yaml: archives.{name}",
                    f"differs from the one in {first}.yaml",
                )


def unknown_published(models: Mapping[str, ModelEntry], registry: Path) -> Iterator[Problem]:
    """Find published scores of a dataset without an entry."""
    known = entry_names(registry / "datasets")
    for name, entry in models.items():
        for i, one in enumerate(entry.published):
            if one.dataset and one.dataset not in known:
                yield Problem(
                    f"{registry}/models/{name}.yaml: published.{i}.dataset",
                    f"no dataset '{one.dataset}'" + did_you_mean(one.dataset, known),
                )


def unknown_papers(models: Mapping[str, ModelEntry], registry: Path) -> Iterator[Problem]:
    """Find datasets of `papers` without an entry, and `papers` without a recipe `paper`."""
    known = entry_names(registry / "datasets")
    for name, entry in models.items():
        where = f"{registry}/models/{name}.yaml: papers"
        for dataset in entry.papers:
            if dataset not in known:
                yield Problem(f"{where}.{dataset}", f"no dataset '{dataset}'" + did_you_mean(dataset, known))
        if entry.papers and PAPER not in entry.recipes:
            yield Problem(where, f"needs a recipe '{PAPER}' in `recipes`; add it")


def no_paper(dataset: str, model: str, entry: ModelEntry, registry: Path) -> Problem:
    """Describe a pair with the recipe `paper` that the authors did not train."""
    has = ", ".join(f"{model} on {one}" for one in entry.papers) or "no dataset"
    return Problem(
        f"{registry}/models/{model}.yaml: papers.{dataset}",
        f"recipe '{PAPER}' is for the datasets of the paper ({has}), not for {model} on {dataset}"
        f"{did_you_mean(dataset, entry.papers)}; add the pair to `exclude`, or choose another recipe",
    )


def unknown_protocols(datasets: Mapping[str, DatasetEntry], registry: Path) -> Iterator[Problem]:
    """Find recipes of a dataset that no file in `recipes/` describes, such as misspelt ones."""
    known = entry_names(registry / "recipes")
    for dataset, entry in datasets.items():
        for name in entry.recipes:
            if name not in known:
                where = f"{registry}/datasets/{dataset}.yaml: recipes.{name}"
                yield Problem(where, f"no {registry}/recipes/{name}.yaml" + did_you_mean(name, known))


def unfit_weights(
    cells: Iterable[PlannedCell], weights: Mapping[str, WeightsEntry], config: RunConfig, registry: Path
) -> Iterator[Problem]:
    """Find weights that do not fit the network or the recipe, or whose licence is not allowed."""
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
        if entry.non_commercial and not config.allow_non_commercial:
            yield Problem(
                f"{registry}/weights/{cell.weights}.yaml",
                f"its licence ({entry.licence}) forbids commercial use; allow_non_commercial: true allows it",
            )


def exclusive_classes(
    cells: Iterable[PlannedCell], datasets: Mapping[str, DatasetEntry]
) -> Iterator[Problem]:
    """Find networks that predict one class for a pixel on datasets whose classes overlap."""
    pairs = {(cell.dataset, cell.model): cell for cell in cells if cell.recipe is not None}
    for (dataset, model), cell in pairs.items():
        overlapping = datasets[dataset].options.get("overlap") == "keep"
        if not overlapping or cell.options.get("activation") == "sigmoid" or fault_of_path(cell.class_path):
            continue
        known = constructor_options(cell.class_path, GIVEN)
        remedy = (
            "set `activation: sigmoid` for it, such as `recipe: {options: {activation: sigmoid}}` in the "
            "dataset's entry"
            if "activation" in known or ANY_NAME in known
            else "add the pair to `exclude`, or choose a network with the option `activation`, such as unet"
        )
        yield Problem(
            f"recipe of {model} on {dataset}",
            f"predicts one class for a pixel, but the classes overlap (overlap: keep); {remedy}",
        )


def unfit_inference(cells: Iterable[PlannedCell]) -> Iterator[Problem]:
    """Find keys of `inference` that a network does not support, such as `scales` without a map of logits."""
    for (dataset, model), cell in {(cell.dataset, cell.model): cell for cell in cells}.items():
        if cell.recipe is None or fault_of_path(cell.class_path):
            continue
        semantic = is_subclass(cell.class_path, SEMANTIC)
        if semantic is None:
            continue  # the prediction finds it
        for key, what, remedy in cell.recipe.inference.faults(semantic=semantic):
            yield Problem(f"recipe of {model} on {dataset}: inference.{key}", f"{model} {what}; {remedy}")


def unfit_compiling(cells: Iterable[PlannedCell]) -> Iterator[Problem]:
    """Find networks without a backbone that torch.compile could compile."""
    for (dataset, model), cell in {(cell.dataset, cell.model): cell for cell in cells}.items():
        if cell.recipe is None or cell.recipe.compile is None or fault_of_path(cell.class_path):
            continue
        if "backbone" not in constructor_options(cell.class_path, GIVEN):
            yield Problem(
                f"recipe of {model} on {dataset}: compile",
                f"{model} cannot be compiled: it has no option `backbone`; set compile to null for it",
            )


def unfit_changes(cells: Iterable[PlannedCell]) -> Iterator[Problem]:
    """Find random changes of the training images that need a truth which the task does not have."""
    needs: dict[str, tuple[Task, ...]] = {
        "copy_paste": ("instance", "panoptic"),
        "max_class_share": ("semantic", "panoptic"),
    }
    for (cell, key), tasks in ((pair, needs[pair[1]]) for pair in product(cells, needs)):
        if cell.recipe and getattr(cell.recipe.augment, key) is not None and cell.task not in tasks:
            yield Problem(
                f"recipe of {cell.model} on {cell.dataset}: augment.{key}",
                f"needs {' or '.join(tasks)} truth, and the network is trained on {cell.task} truth here; "
                f"set {key} to null for the pair",
            )


def unfit_weights_of_pixels(
    cells: Iterable[PlannedCell], datasets: Mapping[str, DatasetEntry]
) -> Iterator[Problem]:
    """Find weights of classes and borders for networks or datasets that cannot have them."""
    for (dataset, model), cell in {(cell.dataset, cell.model): cell for cell in cells}.items():
        if cell.recipe is None or fault_of_path(cell.class_path):
            continue
        semantic = is_subclass(cell.class_path, SEMANTIC)
        loss = cell.options.get("loss")
        cross_entropy = not isinstance(loss, Mapping) or "cross_entropy" in loss  # the default has it
        softmax = cell.options.get("activation", "softmax") == "softmax"
        used = {
            "class_weights": cell.recipe.class_weights != "none",
            "border_weights": cell.recipe.border_weights,
        }
        for key in (key for key in used if used[key]):
            where = f"recipe of {model} on {dataset}: {key}"
            if semantic is False or not cross_entropy:
                what = "needs a semantic network with the loss cross_entropy"
            elif key == "class_weights" and not softmax:
                what = "needs a network with a softmax, and this one has `activation: sigmoid`"
            elif key == "border_weights" and "instance" not in offered(datasets[dataset].tasks):
                what = f"needs masks of objects, and {dataset} has none"
            else:
                continue
            yield Problem(where, f"{what}; remove {key} from the recipe of the pair")


def unreadable_columns(datasets: Mapping[str, DatasetEntry], registry: Path) -> Iterator[Problem]:
    """Find files of `metadata` that cannot be read or lack columns."""
    for name, entry in datasets.items():
        given, where = entry.options.get("metadata"), f"{registry}/datasets/{name}.yaml: options.metadata"
        if (spec := entry.columns) is None:
            if given is not None and entry.convert.startswith("segbench."):
                what = f"is {given!r}; write it as {{file: cases.csv, columns: [scanner], image: image}}"
                yield Problem(where, what)
            continue
        try:
            read_header(spec.file, [spec.image, *spec.columns], "metadata")
        except SegbenchError as error:
            what = f"{error.where or spec.file}: {error.what}" + (f"; {error.remedy}" if error.remedy else "")
            yield Problem(where, what)


def missing_code(
    datasets: Mapping[str, DatasetEntry],
    models: Mapping[str, ModelEntry],
    weights: Mapping[str, WeightsEntry],
    registry: Path,
) -> Iterator[Problem]:
    """Find Python paths of converters, networks and loaders that do not exist."""
    paths = [(f"{registry}/datasets/{name}.yaml: convert", one.convert) for name, one in datasets.items()]
    paths += [
        (f"{registry}/models/{name}.yaml: class", one.class_) for name, one in models.items() if one.class_
    ]
    for name, entry in weights.items():
        if entry.checkpoint:
            where = f"{registry}/weights/{name}.yaml: checkpoint"
            paths.append((f"{where}.class", entry.checkpoint.class_))
            if entry.checkpoint.load:
                paths.append((f"{where}.load", entry.checkpoint.load))
    for where, path in paths:
        if wrong := fault_of_path(path):
            yield Problem(where, wrong)


def missing_packages(
    config: RunConfig, datasets: Mapping[str, DatasetEntry], models: Mapping[str, ModelEntry], registry: Path
) -> Iterator[Problem]:
    """Find converters, networks and metrics that need packages of an extra that is not installed.

    `NEEDS` in their modules names them.
    """
    paths = [(f"{registry}/datasets/{name}.yaml: convert", one.convert) for name, one in datasets.items()]
    paths += [(f"{registry}/models/{name}.yaml: class", one.class_) for name, one in models.items()]
    asked: list[tuple[str, Iterable[str]]] = [("evaluation.families", config.evaluation.families)]
    asked += [(f"{registry}/datasets/{name}.yaml: families", one.families) for name, one in datasets.items()]
    paths += [(where, FAMILIES[name]) for where, names in asked for name in names if name in FAMILIES]
    for where, path in paths:
        if fault_of_path(path):
            continue
        for package, extra in needs(path).items():
            if find_spec(package) is None:
                yield Problem(where, f"{missing(package, extra)}; {install(extra)}")


def missing_predictions(cells: Iterable[PlannedCell], registry: Path) -> Iterator[Problem]:
    """Find predictions of other programs that are not there."""
    for cell in cells:
        if cell.external is None:
            continue
        for key, path in (("path", cell.external.path), ("annotations", cell.external.annotations)):
            if path is not None and not path.exists():
                yield Problem(
                    f"{registry}/models/{cell.model}.yaml: external.{key}",
                    f"{path} does not exist, which the predictions of {cell.dataset} need; correct the path, "
                    f"or write `exclude: [{{dataset: {cell.dataset}, model: {cell.model}}}]` in the run",
                )


@cache
def fault_of_path(path: str) -> str:
    """Return what is wrong with a Python path; empty if it exists."""
    try:
        find(path)
    except SegbenchError as error:
        return f"{error.what}" + (f"; {error.remedy}" if error.remedy else "") + f" (value: {path!r})"
    return ""


def wrong_options(
    config: RunConfig,
    datasets: Mapping[str, DatasetEntry],
    cells: Iterable[PlannedCell],
    registry: Path,
    source: str,
) -> Iterator[Problem]:
    """Find options that a converter or a network does not accept, if its source says which it accepts."""
    for name, entry in datasets.items():
        if fault_of_path(entry.convert):
            continue
        for key, wrong in faults(model_options(entry.convert), entry.options, strict=False):
            ours = key.partition(".")[0] in config.dataset_options.get(name, {})
            where = (
                f"{source}: dataset_options.{name}" if ours else f"{registry}/datasets/{name}.yaml: options"
            )
            yield Problem(f"{where}.{key}", wrong)
    checked: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for cell in cells:
        if cell.recipe is None or fault_of_path(cell.class_path):
            continue
        same = cell.class_path, repr(cell.options)
        if same not in checked:
            accepted = constructor_options(cell.class_path, GIVEN)
            checked[same] = list(faults(accepted, cell.options, strict=True))
        for key, wrong in checked[same]:
            ours = key.partition(".")[0] in cell.recipe.options
            where = (
                f"recipe of {cell.model} on {cell.dataset}"
                if ours
                else f"{registry}/models/{cell.model}.yaml"
            )
            yield Problem(f"{where}: options.{key}", wrong)
