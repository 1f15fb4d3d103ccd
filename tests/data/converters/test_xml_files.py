from __future__ import annotations

from pathlib import Path

import pytest

from segbench.data.converters.xml_files import read_xml
from segbench.errors import SegbenchError

BOMB = '<!DOCTYPE a [<!ENTITY b "xxxxxxxxxx"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "a.xml"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("text", [BOMB, OUTSIDE, "<!DOCTYPE a><a/>"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_document_types_are_rejected(tmp_path, text, encoding):
    path = write(tmp_path, text, encoding)
    with pytest.raises(SegbenchError, match="declares a document type") as raised:
        read_xml(path)
    assert str(path) in str(raised.value) and "remove the declaration" in str(raised.value)


def test_an_entity_without_a_declaration(tmp_path):
    with pytest.raises(SegbenchError, match="is not XML .*undefined entity"):
        read_xml(write(tmp_path, "<a>&b;</a>"))


def test_elements_in_each_other(tmp_path):
    with pytest.raises(SegbenchError, match="more than 100 elements in each other"):
        read_xml(write(tmp_path, "<a>" * 100_000))


def test_text_in_its_encoding(tmp_path):
    assert read_xml(write(tmp_path, "<a>中</a>")).text == "中"
    declared = '<?xml version="1.0" encoding="ISO-8859-1"?><a>é</a>'
    assert read_xml(write(tmp_path, declared, "latin-1")).text == "é"
    declared = '<?xml version="1.0" encoding="gbk"?><a>中</a>'
    assert read_xml(write(tmp_path, declared, "gbk"), "gbk").text == "中"
    with pytest.raises(SegbenchError, match="is not XML"):
        read_xml(write(tmp_path, "<a>中</a>", "gbk"))
