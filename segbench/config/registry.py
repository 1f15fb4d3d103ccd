"""Read the registries: folders of YAML entries such as config/datasets, config/models and config/weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from segbench.config.problems import Model, Problem, did_you_mean, validate
from segbench.errors import SegbenchError

CONFIG = Path("config")
"""Folder of the registries."""


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `over` into `base`, nested mappings included; lists and other values are replaced."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = overlay(result[key], value) if both else value
    return result


def read_yaml(path: Path) -> Any:
    """Read a YAML file. Raises SegbenchError if it is missing or not valid YAML."""
    try:
        # in C, ten times as fast as `safe_load`
        return yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise SegbenchError(f"cannot be read as YAML: {error}", where=path, remedy="fix the file") from error


def entry_names(folder: Path) -> list[str]:
    """Return the names of all entries of a registry, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_protocol(folder: Path, name: str, problems: list[Problem]) -> dict[str, Any]:
    """Read the recipe keys that all networks share, `<folder>/<name>.yaml`; empty without such a file."""
    path = folder / f"{name}.yaml"
    if name not in entry_names(folder):
        return {}
    try:
        raw = read_yaml(path)
    except SegbenchError as error:
        problems.append(Problem(str(path), error.what))
        return {}
    if not isinstance(raw, dict):
        problems.append(Problem(str(path), "must be a mapping of recipe keys"))
        return {}
    return raw


def read_entries(
    kind: type[Model],
    folder: Path,
    wanted: Iterable[str],
    source: str,
    problems: list[Problem],
) -> dict[str, Model]:
    """Read entries of a registry by name.

    Args:
        kind: Schema of the entries.
        folder: Folder of the registry.
        wanted: Names of the entries to read.
        source: What names the entries, for the messages.
        problems: Gets one problem for each mistake and each missing entry.

    Returns:
        The valid entries by name, in the order of `wanted`.
    """
    known, found = entry_names(folder), {}
    for name in dict.fromkeys(wanted):
        path = folder / f"{name}.yaml"
        if name not in known:
            problems.append(Problem(f"{source}: {folder.name}", f"no {path}" + did_you_mean(name, known)))
            continue
        try:
            raw = read_yaml(path)
        except SegbenchError as error:
            problems.append(Problem(str(path), error.what))
            continue
        entry = validate(kind, raw, str(path), problems)
        if entry is not None:
            found[name] = entry
    return found
