"""Description of a bundle as RO-Crate 1.1 (Soiland-Reyes et al., Data Science 5(2), 2022).

https://www.researchobject.org/ro-crate/specification/1.1/
"""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from segbench.errors import SegbenchError
from segbench.runs.bibtex import key_of
from segbench.runs.cited import Cited

NAME = "ro-crate-metadata.json"
TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".yaml": "application/yaml",
    ".md": "text/markdown",
    ".bib": "application/x-bibtex",
    ".tex": "application/x-tex",
    ".pt": "application/octet-stream",
}


@dataclass(frozen=True)
class Party:
    """A person or an organisation."""

    name: str
    address: str | None = None
    """ORCID of a person, home page of an organisation."""

    @classmethod
    def parse(cls, text: str) -> Party:
        """Read `Name` or `Name <https://...>`.

        Raises:
            SegbenchError: the name is missing, or what follows is not an address.
        """
        found = re.fullmatch(r"\s*([^<>]*[^<>\s])\s*(?:<(https?://[^<>\s]+)>)?\s*", text)
        if not found:
            raise SegbenchError(
                "is neither a name nor a name with an address",
                where=f"'{text}'",
                remedy="write `Jo Doe` or `Jo Doe <https://orcid.org/0000-0002-1825-0097>`",
            )
        return cls(found[1], found[2])

    def entity(self, kind: str) -> dict[str, Any]:
        """Return it as Person or Organization (`kind`)."""
        found = {"@id": self.address or f"#{kind}-{quote(self.name)}", "@type": kind, "name": self.name}
        return found | ({"url": self.address} if self.address else {})


def crate(
    name: str,
    description: str,
    date: str,
    licence: str,
    authors: Sequence[Party],
    publisher: Party | None,
    versions: Mapping[str, str],
    sources: Sequence[Cited],
    files: Mapping[str, tuple[int, str]],
) -> str:
    """Return the contents of ro-crate-metadata.json.

    Args:
        name: name of the run.
        description: what the bundle holds.
        date: date of publication, YYYY-MM-DD.
        licence: licence of the bundle: an address, or text.
        authors: who made it.
        publisher: organisation that publishes it, to which the authors belong.
        versions: version of each package.
        sources: what the run is built on.
        files: size and SHA-256 of each file by its path in the bundle.
    """
    used = [_source(one) for one in sources]
    papers = {one.paper.url: _paper(one) for one in sources if one.paper}
    software = [_software(package, version) for package, version in sorted(versions.items())]
    is_address = licence.startswith(("http://", "https://"))
    of_bundle = {"@id": licence if is_address else "#licence", "@type": "CreativeWork", "name": licence}
    parts = [_file(path, *facts) for path, facts in sorted(files.items())]
    houses = [publisher.entity("Organization")] if publisher else []
    belong = {"affiliation": _link(houses[0])} if houses else {}
    people = [one.entity("Person") | belong for one in authors]
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"segbench run '{name}'",
        "description": description,
        "datePublished": date,
        "license": _link(of_bundle),
        **({"author": [_link(one) for one in people]} if people else {}),
        **({"publisher": _link(houses[0])} if houses else {}),
        "hasPart": [_link(one) for one in parts],
        "citation": [_link(one) for one in papers.values()],
        "mentions": [{"@id": "#run"}, *map(_link, used)],
    }
    action = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"Benchmark '{name}'",
        "endTime": date,
        "instrument": [_link(one) for one in software],
        "object": [_link(one) for one in used],
        "result": [_link(one) for one in parts if one["@id"].startswith(("summary/", "cells/"))],
    }
    descriptor = {
        "@id": NAME,
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": {"@id": "./"},
    }
    context = [
        "https://w3id.org/ro/crate/1.1/context",
        {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"},
    ]
    graph = [
        descriptor,
        root,
        of_bundle,
        *people,
        *houses,
        action,
        *software,
        *used,
        *papers.values(),
        *parts,
    ]
    entities = [{key: _compact(value) for key, value in entity.items()} for entity in graph]
    return json.dumps({"@context": context, "@graph": entities}, indent=1, ensure_ascii=False) + "\n"


def _compact(value: Any) -> Any:
    """Return the only element of a list of one, as compacted JSON-LD has it."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _link(entity: Mapping[str, Any]) -> dict[str, str]:
    return {"@id": entity["@id"]}


def _file(path: str, size: int, sha256: str) -> dict[str, str]:
    suffix = PurePosixPath(path).suffix
    kind = TYPES.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
    return {
        "@id": quote(path),
        "@type": "File",
        "name": path,
        "contentSize": str(size),
        "encodingFormat": kind,
        "sha256": sha256,
    }


def _source(one: Cited) -> dict[str, Any]:
    stated = {
        "license": one.licence,
        "url": one.address,
        "creditText": one.citation,
        "citation": {"@id": one.paper.url} if one.paper else None,
    }
    kind = "SoftwareSourceCode" if one.kind == "network" else "CreativeWork"
    return {
        "@id": f"#{one.kind}-{quote(one.name)}",
        "@type": kind,
        "name": one.title,
        "identifier": key_of(one),
        **{key: value for key, value in stated.items() if value},
    }


def _paper(one: Cited) -> dict[str, Any]:
    paper = one.paper
    assert paper is not None
    return {
        "@id": paper.url,
        "@type": "ScholarlyArticle",
        "name": paper.title,
        "creditText": str(paper),
        "datePublished": str(paper.year),
    }


def _software(package: str, version: str) -> dict[str, str]:
    return {
        "@id": f"#software-{package}-{quote(version)}",
        "@type": "SoftwareApplication",
        "name": package,
        "version": version,
    }
