from __future__ import annotations

from pathlib import Path

import pytest

from segbench.data.converters.group_table import GroupColumn
from segbench.data.converters.splits import SplitOptions, divided, groups_of
from segbench.errors import SegbenchError


def table(folder: Path, text: str, encoding: str = "utf-8", **more: str) -> SplitOptions:
    path = folder / "cases.csv"
    path.write_text(text, encoding=encoding)
    return SplitOptions(group={"file": path, "column": "patient", **more})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_column_gives_the_groups(tmp_path: Path, delimiter: str, encoding: str) -> None:
    lines = [
        "image,patient,age",
        "a.PNG,Ä1,50",
        "b,Ä1,50",
        '"sub\\c.tif",p2,61',
        "./sub/d.png,p2,61",
        "unused.png,p9,1",
    ]
    options = table(tmp_path, "\r\n".join(lines).replace(",", delimiter), encoding)
    expected = {"a": "Ä1", "b": "Ä1", "sub_c": "p2", "d": "p2"}
    assert groups_of(list(expected), options) == expected


def test_groups_of_a_table_stay_in_one_split(tmp_path: Path) -> None:
    names = [f"i{n}" for n in range(40)]
    text = "file,patient\n" + "".join(f"{name}.png,p{n // 4}\n" for n, name in enumerate(names))
    places = divided(names, table(tmp_path, text, image="file"))
    split_of = dict(zip(names, (place.split for place in places)))
    assert all(len({split_of[n] for n in names[i : i + 4]}) == 1 for i in range(0, 40, 4))
    assert set(split_of.values()) == {"train", "test"}


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ("image,pateint\na,p1\n", "has no column 'patient' (has: image, pateint)", "did you mean 'pateint'?"),
        ("image,patient\na,p1\n", "has no row for b, c", "add a row for each image"),
        ("image,patient\na,\n", "has no patient in line 2 (a)", "write the group"),
        ("image,patient\na,1\na.png,2\nb,1\nc,1\n", "has two groups for a", "keep one row"),
        ("", "has no column 'image'", "check `group`"),
        ("image,patient\n\0\xff", "has no patient in line 2", "write the group"),
    ],
)
def test_faults_name_file_value_and_remedy(tmp_path: Path, text: str, what: str, remedy: str) -> None:
    with pytest.raises(SegbenchError) as found:
        groups_of(["a", "b", "c"], table(tmp_path, text))
    assert what in found.value.what and remedy in str(found.value.remedy)
    assert found.value.where == tmp_path / "cases.csv"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SegbenchError, match="cannot be read"):
        groups_of(["a"], table(tmp_path, "image,patient\n\xe4,1\n", "latin-1"))
    gone = SplitOptions(group=GroupColumn(file=tmp_path / "gone.csv", column="patient"))
    with pytest.raises(SegbenchError, match="No such file"):
        groups_of(["a"], gone)


def test_one_name_in_two_folders_is_told_apart(tmp_path: Path) -> None:
    options = table(tmp_path, "image,patient\nx/1.png,p1\ny/1.png,p2\n")
    assert groups_of(["x_1", "y_1"], options) == {"x_1": "p1", "y_1": "p2"}
    with pytest.raises(SegbenchError, match="two groups for 1"):
        groups_of(["1"], options)
