from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from segbench.catalogue.listing import dataset_card, datasets, network_card, networks, with_tables, write_size
from segbench.config.registry import read_yaml
from segbench.config.schema import ModelEntry
from segbench.errors import SegbenchError

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"


def segbench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("segbench"), *arguments, "--config", str(CONFIG)]
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_the_readme_has_the_tables_that_the_entries_give() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_tables(text, CONFIG) == text, "run `segbench cards`"
    for name in (*networks(CONFIG), *datasets(CONFIG)):
        assert f"| `{name}` |" in text


def test_tables_replace_what_stands_between_the_markers() -> None:
    text = "a\n<!-- networks -->\nold\n<!-- end -->\nb\n<!-- datasets -->\n<!-- end -->\nc\n"
    new = with_tables(text, CONFIG)
    assert "old" not in new and new.startswith("a\n<!-- networks -->\n| Network |")
    assert new.endswith("<!-- end -->\nc\n") and "\nb\n" in new
    with pytest.raises(SegbenchError, match="<!-- datasets -->"):
        with_tables(text.replace("<!-- datasets -->", ""), CONFIG)


@pytest.mark.parametrize("name", networks(CONFIG))
def test_every_network_has_a_whole_card(name: str) -> None:
    entry = networks(CONFIG)[name]
    card = network_card(name, entry)
    assert {"Paper", "Good at", "Bad at", "Public weights", "Size", "Recipes"} <= set(card)
    known = datasets(CONFIG)
    assert all(one.dataset is None or one.dataset in known for one in entry.published)


@pytest.mark.parametrize("name", datasets(CONFIG))
def test_every_dataset_states_its_source(name: str) -> None:
    entry = datasets(CONFIG)[name]
    card = dataset_card(name, entry)
    assert all(card.values())
    if card["Source"] == "fetched":
        slices = entry.convert.endswith("volumes:convert")  # how many there are depends on the axis
        assert entry.address and (entry.images or slices)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["models"], ["fcn8s_vgg16", "Shelhamer et al., TPAMI 2017", "134.5 M", "222.6 G"]),
        (
            ["models", "pspnet_resnet50"],
            ["Pyramid Scene Parsing", "Uses the context", "miou 0.4168 on ade20k"],
        ),
        (["datasets"], ["coco2017", "118287 train + 5000 val", "generated", "by hand"]),
        (["datasets", "voc2012"], ["Everingham", "host.robots.ox.ac.uk", "Flickr"]),
    ],
)
def test_the_commands_list_and_show(arguments: list[str], words: list[str]) -> None:
    result = segbench(*arguments)
    assert result.returncode == 0, result.stderr
    assert all(word in result.stdout for word in words), result.stdout
    assert "control" not in result.stdout


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    result = segbench("models", "unett")
    assert result.returncode == 1 and "no network 'unett'" in result.stderr
    assert "did you mean 'unet'?" in result.stderr


def test_a_size_is_noted_once_and_the_rest_of_the_entry_stays(tmp_path: Path) -> None:
    path = tmp_path / "unet.yaml"
    shutil.copy(CONFIG / "models" / "unet.yaml", path)
    before = ModelEntry.model_validate(read_yaml(path))
    for parameters in (5, 7):
        write_size(path, {"parameters": parameters, "flops": 1, "image": [8, 8], "classes": 2})
        after = ModelEntry.model_validate(read_yaml(path))
        assert after.size and after.size.parameters == parameters
        assert after.model_copy(update={"size": before.size}) == before
    assert path.read_text().count("size: {parameters") == 1
    assert "# Section 3 of the paper" in path.read_text()
