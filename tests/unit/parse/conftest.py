"""One warm parser for all tests of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.parse import ParseLimits, SandboxedParser


@pytest.fixture(scope="session")
def parser() -> Iterator[SandboxedParser]:
    parser = SandboxedParser(ParseLimits(wall_seconds=60.0))
    yield parser
    parser.close()
