"""Write the configuration reference: every key with type, default and meaning, from the schemas."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel

from segbench.config.schema import DatasetEntry, ModelEntry, RunConfig
from segbench.contract.recipe import Recipe
from segbench.contract.sources import WeightsEntry
from segbench.data import converters
from segbench.data.generated import scene

HEAD = """# Configuration reference

Every key, its type, default and meaning. `segbench reference` writes this page from the schemas; change a
meaning in their docstrings. [config/README.md](../config/README.md) explains how the files work together.

A dot separates nested keys: `optimizer.lr` is the key `lr` in the mapping `optimizer`. `[]` stands for each
item of a list, `<name>` for each key of a mapping with free keys. A required key of an optional mapping is
required if the mapping is given.
"""


class Key(NamedTuple):
    """One line of the reference."""

    path: str
    kind: str
    default: str
    meaning: str


def reference() -> str:
    """Return the configuration reference as Markdown."""
    return HEAD + "".join(
        f"\n## {title}\n\n{intro}\n\n{_table(keys(model))}" for title, intro, model in sections()
    )


def keys(model: type[BaseModel]) -> Iterator[Key]:
    """Yield every key of a schema; nested keys follow the key that contains them."""
    schema = model.model_json_schema()
    yield from _keys(schema, schema.get("$defs", {}), "")


def sections() -> Iterator[tuple[str, str, type[BaseModel]]]:
    """Yield (title, introduction, schema)."""
    yield "Run", "`config/config.yaml`, or the file given with `--configfile`.", RunConfig
    yield (
        "Recipe",
        "In `config/recipes/<name>.yaml`, in `recipes` of a network, in `recipes` and `recipe` of a dataset, "
        "and in `overrides[].recipe` of a run.",
        Recipe,
    )
    yield "Dataset", "`config/datasets/<name>.yaml`.", DatasetEntry
    for module in pkgutil.iter_modules(converters.__path__, f"{converters.__name__}."):
        options = getattr(importlib.import_module(module.name), "Options", None)
        if options is not None:
            yield f"Options of `{module.name}`", "In `options` of a dataset with this converter.", options
    yield "Options of generated datasets", "In `options` of a generated dataset.", scene.Options
    yield "Network", "`config/models/<name>.yaml`.", ModelEntry
    yield "Weights", "`config/weights/<name>.yaml`.", WeightsEntry


def _keys(schema: dict[str, Any], shared: dict[str, Any], prefix: str) -> Iterator[Key]:
    required = schema.get("required", [])
    for name, field in schema["properties"].items():
        nested = list(_nested(field, shared))
        if name in required:
            default = "required"
        elif nested and field["default"]:
            default = ""  # shown with the nested keys
        else:
            default = f"`{json.dumps(field['default'], ensure_ascii=False)}`"
        meaning = " ".join(field.get("description", "").split()).replace("|", "\\|")
        yield Key(prefix + name, _kind(field, shared), default, meaning)
        for path, inner in nested:
            yield from _keys(inner, shared, prefix + name + path)


def _nested(field: dict[str, Any], shared: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the schemas inside a field, each with the path to its keys."""
    if "$ref" in field:
        yield ".", shared[field["$ref"].rpartition("/")[2]]
    for option in field.get("anyOf", []):
        yield from _nested(option, shared)
    for path, inner in (("[]", field.get("items")), (".<name>", _values(field))):
        if isinstance(inner, dict):
            for rest, schema in _nested(inner, shared):
                yield path + rest, schema


def _values(field: dict[str, Any]) -> Any:
    """Return the schema of the values of a mapping, or None."""
    patterns = field.get("patternProperties", {})
    return next(iter(patterns.values()), field.get("additionalProperties"))


def _kind(field: dict[str, Any], shared: dict[str, Any]) -> str:
    """Return the type in words."""
    if "$ref" in field:
        return "mapping"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_kind(option, shared) for option in field["anyOf"]))
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    kind = field.get("type")
    if kind == "array" and "prefixItems" in field:
        return f"list of {len(field['prefixItems'])}: {_kind(field['prefixItems'][0], shared)}"
    if kind == "array" and field.get("items"):
        return f"list: {_kind(field['items'], shared)}"
    if kind == "object":
        values = _values(field)
        typed = isinstance(values, dict) and ("type" in values or "$ref" in values)
        return f"mapping: {_kind(values, shared)}" if typed else "mapping"
    names = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false"}
    names |= {"null": "null", "array": "list"}
    return names.get(kind or "", "any") + _range(field)


def _range(field: dict[str, Any]) -> str:
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = (f"{sign} {field[key]:g}" for key, sign in bounds.items() if key in field)
    return f" {text}" if (text := ", ".join(limits)) else ""


def _table(rows: Iterator[Key]) -> str:
    lines = [f"| `{row.path}` | {row.kind} | {row.default} | {row.meaning} |\n" for row in rows]
    return "| Key | Type | Default | Meaning |\n| --- | --- | --- | --- |\n" + "".join(lines)
