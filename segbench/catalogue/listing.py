"""List the available networks and datasets, on a terminal and in the README."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from segbench.config.problems import Problem
from segbench.config.registry import CONFIG, entry_names, read_entries
from segbench.config.schema import DatasetEntry, ModelEntry
from segbench.errors import SegbenchError, nearest
from segbench.files import write_text
from segbench.units import NOTHING, count, markdown_text

Row = dict[str, str]


def networks(registry: Path = CONFIG) -> dict[str, ModelEntry]:
    """Read the entries of all networks, without the controls, by name."""
    return {k: e for k, e in _all(ModelEntry, registry / "models").items() if e.trained}


def datasets(registry: Path = CONFIG) -> dict[str, DatasetEntry]:
    """Read the entries of all datasets, by name."""
    return _all(DatasetEntry, registry / "datasets")


def network_row(name: str, entry: ModelEntry) -> Row:
    """Return the row of a network in the table of networks."""
    paper = None if isinstance(entry.card, str) else entry.card.paper
    size = entry.size
    return {
        "Network": name,
        "Tasks": ", ".join(entry.tasks),
        "Paper": paper.short if paper else NOTHING,
        "Parameters": count(size.parameters) if size else NOTHING,
        "FLOPs": count(size.flops) if size else NOTHING,
    }


def dataset_row(name: str, entry: DatasetEntry) -> Row:
    """Return the row of a dataset in the table of datasets."""
    images = entry.images or entry.options.get("images", {})  # of generated datasets, this is an option
    return {
        "Dataset": name,
        "Title": entry.title,
        "Tasks": ", ".join(entry.tasks),
        "Images": " + ".join(f"{n} {split}" for split, n in images.items()) or NOTHING,
        "Source": _source(entry),
    }


def network_card(name: str, entry: ModelEntry) -> Row:
    """Return the lines of a network's card: name and text."""
    card: Row = {"Title": entry.title, "Tasks": ", ".join(entry.tasks), **entry.notes}
    if size := entry.size:
        height, width = size.image
        card["Size"] = (
            f"{count(size.parameters)} parameters; {count(size.flops)} FLOPs for an image of "
            f"{height} x {width}, with {size.classes} classes"
        )
    card["Recipes"] = ", ".join(entry.recipes)
    for number, one in enumerate(entry.published):
        label = "Published" if not number else f"Published ({number + 1})"
        card[label] = (
            f"{one.metric} {one.value:g} on {one.where}, {one.split} "
            f"(reproduced from {one.value - one.tolerance:.3g}): {one.source}"
        )
    card["Entry"] = f"models/{name}.yaml"
    return card


def dataset_card(name: str, entry: DatasetEntry) -> Row:
    """Return the lines of a dataset's card: name and text."""
    return {
        **{k: v for k, v in dataset_row(name, entry).items() if k != "Dataset"},
        "Channels": str(entry.channels),
        "Licence": entry.licence,
        "Address": entry.address or NOTHING,
        "Archives": ", ".join(entry.archives) or NOTHING,
        "Citation": entry.citation,
        "Entry": f"datasets/{name}.yaml",
    }


def show(
    kind: str,
    entries: Mapping[str, Any],
    row: Callable[[str, Any], Row],
    card: Callable[[str, Any], Row],
    name: str | None,
) -> None:
    """Print all entries as a table, or the card of one.

    Args:
        kind: network or dataset, for messages.
        entries: entries by name.
        row: makes a row of the table.
        card: makes the card.
        name: entry whose card is printed, or None for the table.

    Raises:
        SegbenchError: there is no entry of this name.
    """
    if name is not None and name not in entries:
        hint = nearest(name, entries)
        remedy = f"did you mean '{hint}'?" if hint else f"`segbench {kind}s` lists all"
        raise SegbenchError(f"no {kind} '{name}'", remedy=remedy)
    if name is None:
        show_rows([row(*item) for item in entries.items()])
    else:
        table = Table(box=None, show_header=False)
        for line in card(name, entries[name]).items():
            table.add_row(*map(Text, line))
        Console().print(table)


def show_rows(rows: Sequence[Row]) -> None:
    """Print rows as a table."""
    first, *others = rows[0]
    table = Table(Column(first, no_wrap=True), *others, box=None)
    for one in rows:
        table.add_row(*map(Text, one.values()))
    Console().print(table)


def write_readme(path: Path, registry: Path = CONFIG) -> None:
    """Update the tables in a Markdown file, see `with_tables`."""
    write_text(path, with_tables(path.read_text(encoding="utf-8"), registry))


def with_tables(text: str, registry: Path = CONFIG) -> str:
    """Replace the tables after `<!-- networks -->` and `<!-- datasets -->` in Markdown text.

    Raises:
        SegbenchError: a marker is missing.
    """
    tables = {
        "networks": [network_row(*item) for item in networks(registry).items()],
        "datasets": [dataset_row(*item) for item in datasets(registry).items()],
    }
    for name, rows in tables.items():
        before, marker, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise SegbenchError(f"has no '<!-- {name} -->' with '<!-- end -->' after it", where="README")
        text = before + marker + markdown(rows, {"Parameters", "FLOPs"}) + end + after
    return text


def write_size(path: Path, size: Mapping[str, Any]) -> None:
    """Write the line `size:` into an entry of config/models, before `published:` or else `recipes:`."""
    text = path.read_text(encoding="utf-8")
    line = "size: {" + ", ".join(f"{k}: {v}" for k, v in size.items()) + "}\n"
    before = re.sub(r"^size: .*\n", "", text, flags=re.MULTILINE)
    place = before.index("published:\n" if "\npublished:\n" in before else "recipes:\n")
    write_text(path, before[:place] + line + before[place:])


def markdown(rows: Sequence[Row], right: Collection[str]) -> str:
    """Return a table in Markdown; the columns named in `right` are aligned to the right."""
    titles = list(rows[0])

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |\n"

    rule = line("---:" if t in right else "---" for t in titles)
    body = [line([f"`{row[titles[0]]}`", *(markdown_text(row[t]) for t in titles[1:])]) for row in rows]
    return line(titles) + rule + "".join(body)


def _all(kind: type[Any], folder: Path) -> dict[str, Any]:
    problems: list[Problem] = []
    found = read_entries(kind, folder, entry_names(folder), str(folder.parent), problems)
    if problems:
        raise SegbenchError("; ".join(map(str, problems)), where=folder, remedy="fix the entries")
    if not found:
        raise SegbenchError("contains no entries", where=folder, remedy="name the registries with --config")
    return found


def _source(entry: DatasetEntry) -> str:
    if not entry.archives:
        return "generated"
    return "fetched" if all(a.url for a in entry.archives.values()) else "by hand"
