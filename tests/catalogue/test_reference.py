from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field
from typer.testing import CliRunner

from segbench.catalogue.reference import Key, keys, reference, sections
from segbench.cli import app

ROOT = Path(__file__).parents[2]


class Inner(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    """How | fast."""


class Outer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    class_: Annotated[str, Field(alias="class")]
    """A text
    on two lines."""
    kind: Literal["a", "b"] = "a"
    crop: tuple[int, int] | None = None
    one: Inner = Inner()
    many: list[Inner] = []
    named: dict[str, Inner] = {}
    free: dict[str, int] = {}
    flag: bool = True


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert page == reference(), "run `make reference`"


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["reference", "--out", str(tmp_path / "page.md")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == reference()


@pytest.mark.parametrize("model", [model for _, _, model in sections()])
def test_every_key_has_a_meaning(model: type[BaseModel]) -> None:
    found = list(keys(model))
    assert not [key.path for key in found if not key.meaning]
    assert {field.alias or name for name, field in model.model_fields.items()} <= {key.path for key in found}


def test_keys_of_the_registries_and_of_the_users_own_data_are_there() -> None:
    page = reference()
    for path in (
        "run",
        "overrides[].recipe",
        "optimizer.lr",
        "archives.<name>.url",
        "card.paper.url",
        "class",
    ):
        assert f"| `{path}` |" in page
    assert "Options of `segbench.data.converters.labelme`" in page and "| `test_fraction` |" in page


def test_types_defaults_and_nested_keys() -> None:
    assert list(keys(Outer)) == [
        Key("class", "text", "required", "A text on two lines."),
        Key("kind", "`a`, `b`", '`"a"`', ""),
        Key("crop", "list of 2: integer or null", "`null`", ""),
        Key("one", "mapping", "", ""),
        Key("one.rate", "number > 0, ≤ 1", "`0.5`", "How \\| fast."),
        Key("many", "list: mapping", "`[]`", ""),
        Key("many[].rate", "number > 0, ≤ 1", "`0.5`", "How \\| fast."),
        Key("named", "mapping: mapping", "`{}`", ""),
        Key("named.<name>.rate", "number > 0, ≤ 1", "`0.5`", "How \\| fast."),
        Key("free", "mapping: integer", "`{}`", ""),
        Key("flag", "true or false", "`true`", ""),
    ]
