"""Documents that are missing from the index: searchable by the catalogue, but not in the index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import State
from pipeline.questions import ADMINISTRATOR, ALL, Filters

if TYPE_CHECKING:
    from indexes.catalogue.documents import DocumentStore
    from pipeline.ports import IndexReader

_SEARCHABLE = Filters(states=(State.INDEXED,), revisions=ALL)


def missing_from_index(documents: DocumentStore, reader: IndexReader) -> DocumentNumbers:
    """Return the numbers of the documents that the catalogue calls searchable and the index does not hold."""
    # The catalogue is read first: what it calls indexed was published before.
    expected = documents.visible(ADMINISTRATOR, _SEARCHABLE)
    return expected - reader.snapshot().numbers
