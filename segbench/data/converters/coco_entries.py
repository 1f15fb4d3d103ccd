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


class SegmentEntry(Entry):
    id: Id
    category_id: Id
    iscrowd: Flag = False


class PanopticEntry(Entry):
    image_id: Id
    file_name: Text
    segments_info: list[SegmentEntry]


class Instances(BaseModel):
    """An instance file."""

    images: list[ImageEntry]
    annotations: list[ObjectEntry]
    categories: list[CategoryEntry]


class Panoptic(BaseModel):
    """A panoptic file."""

    images: list[ImageEntry]
    annotations: list[PanopticEntry]
    categories: list[CategoryEntry]
