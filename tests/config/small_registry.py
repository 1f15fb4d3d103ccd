"""A small registry of entries, and configurations that name them."""

from __future__ import annotations

from segbench.config import checks, signature
from segbench.jobs import fingerprint

MODULE = """
from typing import Annotated, Literal
from pydantic import BaseModel, Field

Side = Annotated[int, Field(ge=8)]

class Options(BaseModel):
    model_config = {"extra": "forbid"}
    size: tuple[Side, Side] = (8, 8)
    seed: int = 0
    images: dict[Literal["train", "test"], int] = {}

def f(archives, options): ...

def g(network, state): ...

class Base:
    def __init__(self, view, in_channels, width: int = 8, loss: dict[str, float] | None = None): ...

class C(Base):
    def __init__(self, view, in_channels, widths: "str" = (), sizes: tuple[int, int] = (1, 2), **options):
        super().__init__(view, in_channels, **options)
"""
RECIPE = {"iterations": 10, "batch_size": 2}
PAPER = {"authors": "A", "title": "t", "venue": "v", "year": 2015, "url": "https://example.org"}
CARD = {"paper": PAPER, "good": "g", "bad": "b", "licence": "l"}


def model(tasks: list[str], **more: object) -> dict:
    base = {"title": "t", "class": "m:C", "tasks": tasks, "card": CARD, "recipes": {"demo": RECIPE}}
    return {**base, **more}


def dataset(tasks: list[str], **more: object) -> dict:
    base = {"title": "t", "convert": "m:f", "tasks": tasks, "channels": 3, "licence": "l", "citation": "c"}
    return {**base, **more}


def config(**more: object) -> dict:
    base = {
        "datasets": ["vessels", "cells", "street"],
        "models": ["unet", "mask_rcnn", "mask2former"],
        "controls": ["control_truth"],
    }
    return {**base, **more}


def forget_sources() -> None:
    """Modules of one name differ between tests."""
    for cached in (fingerprint.tree, fingerprint.module_source, signature.constructor_options,
                   signature.model_options, signature.is_subclass, checks.fault_of_path):  # fmt: skip
        cached.cache_clear()


def recipe_of_unet(**recipe: object) -> dict:
    return config(overrides=[{"models": ["unet"], "recipe": recipe}])


def staged(*pairs: tuple[str, str], **more: object) -> dict:
    recipes = [{"models": [later], "recipe": {"init_from": earlier}} for later, earlier in pairs]
    return config(overrides=recipes, **more)
