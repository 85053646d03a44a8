"""The lock of a root of models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.disk import locked, translated


@contextmanager
def changing(root: Path) -> Iterator[None]:
    """Hold the lock of a root of models, made if need be: promotions, imports and the taxonomy change one by one.

    Raises Unavailable("disk-full") and Misconfigured("bad-store") for the disk's errors in the block.
    """
    with translated(root), locked(root / ".lock"):
        yield
