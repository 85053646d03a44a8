"""One warm parser for all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.parse import ParseLimits, SandboxedParser


@pytest.fixture(scope="session")
def parser() -> Iterator[SandboxedParser]:
    made = SandboxedParser(ParseLimits(wall_seconds=60.0))
    yield made
    made.close()
