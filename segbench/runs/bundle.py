"""`segbench bundle`: one archive of a run to publish."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from segbench.contract.run import RunDescription
from segbench.errors import SegbenchError
from segbench.report.tables import metrics_of
from segbench.runs import crate, latex
from segbench.runs.bibtex import bibtex, key_of, licences
from segbench.runs.cited import Cited, cited
from segbench.runs.gathered import Gathered, folders, gather
from segbench.runs.packing import Content, facts, pack
from segbench.runs.private import Private
from segbench.runs.reading import mapping, read_mapping

NO_LICENCE = "No licence is stated. Datasets and weights have their own, see licences.md."
README = """# {title}

A benchmark of segmentation networks, made with segbench {version}.

| File | Contents |
| --- | --- |
| report/index.html | the report page; its galleries show a few images of the datasets |
| summary/ | all scores, costs, intervals, tests and tables |
| latex/ | the tables as LaTeX with booktabs |
| cells/ | of each cell: scores, per-image statistics, training record, history |
| config.yaml, run.json | the configuration with every default; the cells |
| data/ | description of each dataset, with the digest of its images; the images are not here |
| citations.bib, licences.md | what to cite, and under which licence it is |
| ro-crate-metadata.json | description for machines (RO-Crate 1.1) |

`segbench verify .` in this folder computes all tables again from the per-image statistics.
Absolute paths are shortened, and names of machines are left out.

{missing}"""


def bundle(
    run: RunDescription,
    out: Path,
    registry: Path,
    *,
    models: bool = False,
    licence: str = "",
    authors: Sequence[str] = (),
    publisher: str | None = None,
) -> list[str]:
    """Write an archive of a run. Equal runs give equal bytes.

    Args:
        run: the run.
        out: the zip file.
        registry: folder of the entries of datasets, networks and weights.
        models: include the trained weights.
        licence: licence of the archive: an address or a name.
        authors: who made it, each `Name` or `Name <address>`.
        publisher: organisation that publishes it, to which the authors belong, in the same form.

    Returns:
        What is missing in the archive.

    Raises:
        SegbenchError: `out` is not a zip file, or an author or the publisher is not in this form.
    """
    if out.suffix != ".zip":
        raise SegbenchError("is no name of a zip file", where=out, remedy="end it with .zip")
    people = [crate.Party.parse(one) for one in authors]
    house = crate.Party.parse(publisher) if publisher else None
    found = gather(run, models=models)
    private = Private(folders(run))
    sources, unknown = cited(run, registry)
    found.missing += unknown
    _add_tables(run, sources, private, found)
    texts = {"citations.bib": bibtex(sources), "licences.md": licences(sources)}
    missing = "\n".join(["Missing:", "", *(f"- {one}" for one in found.missing)]) if found.missing else ""
    versions = _versions(run)
    words = {"title": run.options.title or run.name, "version": versions.get("segbench", "")}
    texts["README.md"] = README.format(**words, missing=missing).rstrip() + "\n"
    found.members |= {name: private.text(text).encode() for name, text in texts.items()}
    description = (
        f"Scores of {len(run.networks)} networks on {len(run.datasets)} datasets, with their origin."
    )
    known = {name: facts(content) for name, content in found.members.items()}
    text = crate.crate(
        run.name, description, _date(run), licence or NO_LICENCE, people, house, versions, sources, known
    )  # fmt: skip
    members: dict[str, Content] = found.members | {crate.NAME: text.encode()}
    pack(members, out)
    return found.missing


def _add_tables(run: RunDescription, sources: list[Cited], private: Private, found: Gathered) -> None:
    """Add the tables as LaTeX."""
    keys = {one.name: key_of(one) for one in sources if one.kind == "network"}
    tables = {
        name: table for name, table in latex.read_tables(run.root / "summary").items() if metrics_of(table)
    }
    if not tables:
        found.missing.append("latex/: there are no tables; call segbench summarise")
        return
    texts = {name: latex.latex(run, name, table, keys) for name, table in tables.items()}
    texts["overview"] = latex.overview(run, tables)
    texts["tables"] = latex.document(["overview", *tables])
    found.members |= {f"latex/{name}.tex": private.text(text).encode() for name, text in texts.items()}


def _date(run: RunDescription) -> str:
    """Return the day on which the last cell ended; without any, that on which the run was planned."""
    ended = [read_mapping(run.folder(cell) / "state.json").get("ended") for cell in run.cells]
    known = [time for time in ended if isinstance(time, int | float)]
    time = max(known, default=(run.root / "run.json").stat().st_mtime)
    return datetime.fromtimestamp(time, UTC).date().isoformat()


def _versions(run: RunDescription) -> dict[str, str]:
    """Return the version of each package that trained or predicted; several are joined."""
    found: dict[str, set[str]] = {}
    for cell in run.cells:
        for name in ("training.json", "efficiency.json"):
            document = read_mapping(run.folder(cell) / name)
            versions = mapping(document.get("versions")) | {"python": document.get("python")}
            for package, version in versions.items():
                if isinstance(version, str) and re.fullmatch(r"[\w.-]+", package):
                    found.setdefault(package, set()).add(version)
    return {package: ", ".join(sorted(versions)) for package, versions in sorted(found.items())}
