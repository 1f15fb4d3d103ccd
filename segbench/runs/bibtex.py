"""Citations as BibTeX, and licences as a table."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from segbench.contract.card import Paper
from segbench.runs.cited import Cited
from segbench.runs.latex import escaped
from segbench.units import markdown_text

JOURNALS = frozenset({"TPAMI", "arXiv", "IJCV", "TMI", "Nature Methods", "Medical Image Analysis"})
"""Venues that are no conferences."""


def bibtex(sources: Sequence[Cited]) -> str:
    """Return one entry for each source. Networks of one paper share its entry."""
    entries: dict[str, str] = {}
    for one in sources:
        entries.setdefault(key_of(one), _paper(one) if one.paper else _other(one))
    return "\n".join(entries[key] for key in sorted(entries))


def key_of(one: Cited) -> str:
    """Return the key of a source: family, year and first word of a paper's title, or kind and name."""
    if one.paper is None:
        return f"{one.kind}_{_plain(one.name)}"
    family = one.paper.authors.split(", ")[0].split()[-1]
    word = next((w for w in re.findall(r"\w+", one.paper.title) if len(w) > 3), "paper")
    return f"{_plain(family)}{one.paper.year}{_plain(word)}"


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]", "", letters.replace("-", "_"))


def _paper(one: Cited) -> str:
    paper = one.paper
    assert isinstance(paper, Paper)
    journal = paper.venue in JOURNALS
    authors = re.sub(r"(, | and )?et al\.?$", ", others", paper.authors)
    return _entry(
        "article" if journal else "inproceedings",
        key_of(one),
        author=" and ".join(escaped(name) for name in authors.split(", ")),
        title=f"{{{escaped(paper.title)}}}",
        **{"journal" if journal else "booktitle": escaped(paper.venue)},
        year=str(paper.year),
        url=paper.url,
    )


def _other(one: Cited) -> str:
    return _entry(
        "misc",
        key_of(one),
        title=f"{{{escaped(one.title)}}}",
        note=escaped(" ".join(one.citation.split())),
        url=one.address,
    )


def _entry(kind: str, key: str, **fields: str) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}", ""])


def licences(sources: Sequence[Cited]) -> str:
    """Return a Markdown table of all sources with their licences."""
    heads = ["Kind", "Name", "Title", "Licence", "Cite as"]
    lines = [heads, ["---"] * len(heads)]
    for one in sources:
        licence = one.licence or ("–" if one.kind == "network" else "not stated")
        if one.non_commercial:
            licence += " (no commercial use)"
        how = str(one.paper) if one.paper else one.citation
        texts = (one.kind, one.name, one.title, licence, f"{how} [{key_of(one)}]")
        lines.append([markdown_text(text) for text in texts])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
