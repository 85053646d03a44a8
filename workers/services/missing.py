"""What the index lacks: documents that the catalogue calls searchable and that no reader finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import State
from pipeline.ports import Documents
from pipeline.questions import ADMINISTRATOR, Filters

if TYPE_CHECKING:
    from indexes.places import Reader

_SEARCHABLE = Filters(states=(State.INDEXED,))


def missing_from_index(documents: Documents, reader: Reader) -> DocumentNumbers:
    """Their numbers. The catalogue is asked first: what it calls indexed was published before."""
    expected = documents.visible(ADMINISTRATOR, _SEARCHABLE)
    return expected - reader.snapshot().numbers
