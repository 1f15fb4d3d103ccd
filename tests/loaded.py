"""Read the samples of a converter as the writer does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from segbench.data.dataset import Archives, Converted, Sample


def loading(convert: Callable[[Archives, dict[str, Any]], Converted]) -> Callable[..., Converted]:
    """Wrap a converter, so that the truth of its samples is read with them, in this process."""

    def run(archives: Archives, options: dict[str, Any]) -> Converted:
        converted = convert(archives, options)
        return replace(converted, samples=_loaded(converted))

    return run


def _loaded(converted: Converted) -> Iterator[Sample]:
    facts = defaultdict(list)
    for sample in converted.samples:
        loaded = sample if sample.faults else sample.loaded()
        for name, value in loaded.facts.items():
            facts[name].append(value)
        yield loaded
    converted.finish(facts)
