from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest

from segbench.data.coco.checks import check_finite, check_same_ids, column, flag, number, stem, text, whole
from segbench.errors import SegbenchError

PATH = Path("x.json")


@pytest.mark.parametrize("value", [0, 7, -3, 7.0, 2**62])
def test_whole_numbers(value):
    assert whole(value) == value and type(whole(value)) is int


@pytest.mark.parametrize("value", ["7", "", None, True, 7.5, math.nan, math.inf, 10**40, [7], {}])
def test_what_is_no_whole_number(value):
    with pytest.raises(ValueError, match="not a whole number"):
        whole(value)


@pytest.mark.parametrize("value", ["0.5", None, False, math.nan, -math.inf, 10**400, 1e308, []])
def test_what_is_no_number(value):
    with pytest.raises(ValueError, match="not a finite number"):
        number(value)
    with pytest.raises(ValueError, match="a bbox has .*, not a finite number"):
        check_finite([1, 2.5, value], "a bbox")


def test_flags_and_names():
    assert [flag(v) for v in (None, 0, 1, False, True)] == [False, False, True, False, True]
    for value in ("0", 2, 1.0, -1, [], "false"):
        with pytest.raises(ValueError, match="not 0 or 1"):
            flag(value)
    for value in (None, "", " \t", 5, ["a"]):
        with pytest.raises(ValueError, match="not a name"):
            text(value)


def test_all_faults_of_a_column_are_counted():
    entries = [{"id": 1}, {"id": "2"}, {}, {"id": None}, {"id": 5.0}]
    with pytest.raises(SegbenchError, match=r'x.json: image 2: id is "2", not a whole number \(and 2 more\)'):
        column(entries, "image", "id", whole, PATH)
    assert column([{"id": 1}, {"id": 5.0}], "image", "id", whole, PATH) == [1, 5]
    assert column([{"id": 2**62}, {"id": -4}], "image", "id", whole, PATH) == [2**62, -4]
    with pytest.raises(SegbenchError, match="not a whole number"):
        column([{"id": 2**64}], "image", "id", whole, PATH)


def test_long_values_are_shortened():
    with pytest.raises(ValueError, match=r'^"x{59}\.\.\., not a whole number$'):
        whole("x" * 1000)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({1: "cat", 2: "dog"}, r'y.json: category "cat" has the id 1, in x.json 2 \(and 1 more\)'),
        ({3: "dog"}, 'y.json: category "dog" has the id 3, in x.json 1'),
    ],
)
def test_ids_that_mean_something_else(other, message):
    with pytest.raises(SegbenchError, match=message):
        check_same_ids({1: "dog", 2: "cat"}, other, "category", PATH, Path("y.json"))


def test_fewer_more_and_other_names(caplog):
    caplog.set_level(logging.WARNING)
    for other in ({}, {2: "cat"}, {1: "dog", 2: "cat", 3: "cow"}):
        check_same_ids({1: "dog", 2: "cat"}, other, "category", PATH, Path("y.json"))
    assert not caplog.messages
    check_same_ids({1: "dog", 2: "cat"}, {1: "hound"}, "category", PATH, Path("y.json"))
    assert caplog.messages == ["y.json: names differ from those of x.json: category id 1 is dog and hound"]


def test_stems():
    names = ["a.jpg", "val/a.png", "C:\\images\\a.jpg", "a", "b/a.tar.jpg"]
    assert [stem(n) for n in names] == ["a", "a", "a", "a", "a.tar"]
