"""Fixtures of the tests of the workflow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from warm_server import WarmServer


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmServer]:
    """A server that starts snakemake and segbench quickly."""
    server = WarmServer(tmp_path_factory.mktemp("warm"))
    yield server
    server.close()
