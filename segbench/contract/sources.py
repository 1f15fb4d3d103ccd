"""Sources of archives and public weights: entries of the registries, and records of downloads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    model_validator,
)

from segbench.contract.checkpoint import Checkpoint


def _known_scheme(url: str) -> str:
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise ValueError("the address must begin with http://, https:// or file://")
    return url


def _well_formed(checksum: str) -> str:
    if not re.fullmatch("sha256:[0-9a-f]{8,64}|md5:[0-9a-f]{32}", checksum.lower()):
        raise ValueError("a checksum is 'sha256:' and 8 to 64 hexadecimal digits, or 'md5:' and 32")
    return checksum.lower()


def local_path(address: str) -> Path | None:
    """Return the path of a folder name or file: address; None for an http address."""
    parts = urlsplit(address)
    if parts.scheme in ("http", "https"):
        return None
    return Path(url2pathname(parts.path) if parts.scheme == "file" else address).expanduser()


Address = Annotated[str, AfterValidator(_known_scheme)]


Checksum = Annotated[str, AfterValidator(_well_formed)]
"""`sha256:<hex>` (or its first 8 or more digits, which PyTorch's file names carry) or `md5:<hex>`."""


class Archive(BaseModel):
    """An archive in an entry of config/datasets/: where it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    url: Address | None = None
    """Address of the archive."""
    checksum: Checksum | None = None
    """`sha256:` and 8 to 64 digits, or `md5:` and 32."""
    manual: str | None = None
    """For archives that cannot be downloaded automatically: where to get them, and where to put them."""
    gigabytes: PositiveFloat | None = Field(default=None, exclude=True)
    """Size in GB, rounded up, for the estimate of disk space. It repeats no job."""

    @model_validator(mode="after")
    def _has_a_source(self) -> Archive:
        if (self.url is None) == (self.manual is None):
            raise ValueError("give either `url` or `manual`")
        return self


class Provenance(BaseModel):
    """Record of a fetched archive."""

    model_config = ConfigDict(frozen=True)

    name: str
    """File name of the archive."""
    source: Literal["mirror", "upstream", "by hand"]
    address: str | None
    """File or URL of the source; None if the archive was already in place."""
    sha256: str
    """SHA-256 of the archive, as hexadecimal digits."""
    size: int
    """Size in bytes."""
    verified_by: str | None
    """Checksum that the archive was compared with, or None if none is known."""


class WeightsEntry(BaseModel):
    """An entry of config/weights/: where weights of a timm model or of a whole network come from."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    timm: str | None = None
    """Weights of a backbone: the name of the timm model."""
    checkpoint: Checkpoint | None = None
    """Weights of a whole network: what they were trained for."""
    url: Address | None = None
    """Address of the file."""
    package: str | None = None
    """An installed Python package that contains the file, instead of an address."""
    file: str | None = None
    """Path of the file in the package."""
    checksum: Checksum | None = None
    """`sha256:` and 8 to 64 digits, or `md5:` and 32. null: the checksum of the first download is stored and
    checked from then on."""
    layout: Literal["named", "ordered"] = "named"
    """named: names that timm knows (its own, torchvision's, often the authors'); ordered: other names, but
    the same tensors in the same order."""
    licence: str
    """Licence of the weights."""
    citation: str
    """How to cite the weights."""
    non_commercial: bool = False
    """The licence forbids commercial use: the run must set `allow_non_commercial`."""

    @model_validator(mode="after")
    def _has_one_source(self) -> WeightsEntry:
        if (self.timm is None) == (self.checkpoint is None):
            raise ValueError("give either `timm` or `checkpoint`")
        if (self.url is None) == (self.package is None):
            raise ValueError("give either `url` or `package`")
        if (self.package is None) != (self.file is None):
            raise ValueError("`package` and `file` go together")
        return self
