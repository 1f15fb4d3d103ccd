from __future__ import annotations

from pathlib import Path

import pytest

from segbench.catalogue.listing import networks
from segbench.catalogue.size import measure

NETWORKS = networks(Path(__file__).parents[2] / "config")
RUN = {
    name
    for name, entry in NETWORKS.items()
    if entry.tasks == ["instance"] or entry.class_.endswith(":TransformersUniversal")
}
"""The work of these networks depends on values, such as the objects that they find, so they must run."""


LONG = ("eomt_base", "oneformer_swin_tiny")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[pytest.mark.extensive] if name in LONG else [pytest.mark.slow] * (name in RUN)
        )
        for name in NETWORKS
    ],
)
def test_sizes_are_those_of_the_entries(name: str) -> None:
    entry = NETWORKS[name]
    size = measure(entry.class_, entry.tasks, entry.options)
    assert entry.size and size.parameters == entry.size.parameters, "run `segbench cards`"
    assert size.flops == pytest.approx(entry.size.flops, rel=0.01)
    assert (size.image, size.classes) == (entry.size.image, entry.size.classes)


def test_operations_count_two_a_multiply_add() -> None:
    """Only the first convolution: 3 x 3, from three channels to eight, at every pixel."""
    small = measure("segbench.models.unet:UNet", ["semantic"], {"widths": [8]}, (16, 16), 3)
    assert small.flops == 2 * 16 * 16 * (3 * 9 * 8 + 8 * 9 * 8 + 8 * 3)
