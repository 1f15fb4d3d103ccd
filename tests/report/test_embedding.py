"""Plots as data URIs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import unquote

import matplotlib.pyplot as plt
import numpy as np
import pytest

from segbench.report.embedding import compact, data_uri
from segbench.report.panels import Panel, canvas, round_ticks
from segbench.report.plots import RC

WORDS = 'a \'b\' "c" <d> & x="0.12345" 0.843'


@pytest.fixture(scope="module")
def svg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plots") / "plot.svg"
    with plt.rc_context(RC):
        figure, axes = canvas(200, 100)
        axes.plot(np.linspace(10, 190, 50), 50 + 30 * np.sin(np.arange(50)), "o-")
        axes.text(20, 20, WORDS)
        axes.imshow(np.eye(3), extent=(100, 130, 10, 40))
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)
    return path


def test_a_compact_plot_is_the_same_drawing(svg: Path) -> None:
    text = svg.read_text()
    small = compact(text)
    before, after = ET.fromstring(text), ET.fromstring(small)
    assert len(small) < 0.75 * len(text)
    for root in (before, after):
        assert WORDS in ["".join(e.itertext()).strip() for e in root.iter("{http://www.w3.org/2000/svg}text")]
    kinds = [
        [e.tag.rpartition("}")[2] for e in root.iter() if re.search("path|use|text|image", e.tag)]
        for root in (before, after)
    ]
    assert kinds[0] == kinds[1]
    places = [[float(e.get("x")) for e in root.iter() if e.tag.endswith("use")] for root in (before, after)]
    assert len(places[0]) == 50 and places[0] == pytest.approx(places[1], abs=0.1)
    used = {
        value[1:]
        for e in after.iter()
        if (value := e.get("{http://www.w3.org/1999/xlink}href", "")).startswith("#")
    }
    assert used and used <= {e.get("id") for e in after.iter()}


def test_a_data_uri_holds_no_quotes_and_no_markup(svg: Path) -> None:
    uri = data_uri(svg)
    assert not set('"<>&#%\n') & set(re.sub(r"%[0-9A-F]{2}", "", uri))
    assert ET.fromstring(unquote(uri.removeprefix("data:image/svg+xml,"))).tag.endswith("svg")


def test_a_panel_maps_values_to_places() -> None:
    figure, axes = canvas(100, 100)
    plt.close(figure)
    panel = Panel(axes, 10, 20, 80, 40, (1, 100), (5, 1), log=True)
    assert panel.x([1, 10, 100]).tolist() == pytest.approx([10, 50, 90])
    assert panel.y([5, 3, 1]).tolist() == [20, 40, 60], "the axis points down"
    assert Panel(axes, 10, 20, 80, 40, (3, 3), (0, 1)).x(3) == 10


def test_ticks_are_round_and_inside() -> None:
    assert round_ticks(0, 400, 4) == {0: "0", 100: "100", 200: "200", 300: "300", 400: "400"}
    assert list(round_ticks(0.31, 0.58, 4).values()) == ["0.32", "0.4", "0.48", "0.56"]
