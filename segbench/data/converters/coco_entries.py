"""Schemas of COCO's JSON files. A null counts as a missing field; numbers have no quotes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, model_validator

from segbench.contract.view import Color
from segbench.data.coco.checks import Flag, Id, Number, Text


class Entry(BaseModel):
    @model_validator(mode="before")
    @classmethod
    def without_null(cls, value: Any) -> Any:
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


class CategoryEntry(Entry):
    id: Id
    name: Text
    supercategory: Any = None
    isthing: Flag = True
    color: Color | None = None


class ImageEntry(Entry):
    id: Id
    file_name: Text
    height: Id | None = None
    width: Id | None = None


class ObjectEntry(Entry):
    id: Id
    image_id: Id
    category_id: Id
    segmentation: Any = None
    iscrowd: Flag = False
    area: Number | None = None
    bbox: tuple[Number, Number, Number, Number] | None = None

    @model_validator(mode="before")
    @classmethod
    def in_one_form(cls, value: Any) -> Any:
        """Drop `[]`, which VIA writes for a missing area or box; nest a polygon that is not in a list."""
        if not isinstance(value, dict):
            return value
        value = {k: v for k, v in value.items() if v != [] or k not in ("area", "bbox")}
        outline = value.get("segmentation")
        if isinstance(outline, list) and outline and all(type(v) in (int, float) for v in outline):
            value["segmentation"] = [outline]
        return value


class SegmentEntry(Entry):
    id: Id
    category_id: Id
    iscrowd: Flag = False


class PanopticEntry(Entry):
    image_id: Id
    file_name: Text
    segments_info: list[SegmentEntry]
