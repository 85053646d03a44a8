"""Silence around libraries that talk to their own makers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hushed() -> Iterator[None]:
    """No remarks and warnings of libraries: the exporter and the quantiser make hundreds of lines, none of them for whoever trains,
    and what is to be told is lost among them. Errors are told."""
    held = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(held)
