from __future__ import annotations

from pathlib import Path

import pytest

from segbench.contract.image_table import Row, read_header, read_rows
from segbench.errors import SegbenchError


def test_rows_have_their_lines_and_no_blanks_at_their_ends(tmp_path: Path) -> None:
    file = tmp_path / "cases.csv"
    file.write_text('b,image,a\n 1 ,x.png,"2\n3"\n,y\n', encoding="utf-8-sig")
    assert read_rows(file, "image", ["a", "b"], "metadata") == [
        Row(3, "x.png", ["2\n3", "1"]),
        Row(4, "y", ["", ""]),
    ]
    read_header(file, ["image", "b"], "metadata")


def test_missing_columns_and_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "cases.csv"
    file.write_text("image,site\n")
    with pytest.raises(SegbenchError) as error:
        read_header(file, ["image", "sites", "weather"], "metadata")
    assert "no column 'sites', 'weather' (has: image, site)" in str(error.value)
    assert "did you mean 'site'?" in str(error.value)
    with pytest.raises(SegbenchError, match="check `metadata` in the dataset's options"):
        read_header(file, ["weather"], "metadata")
    with pytest.raises(SegbenchError, match="gone.csv: cannot be read"):
        read_header(tmp_path / "gone.csv", ["image"], "metadata")
