"""The lexical index before the first publication."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from indexes.lexical.match import admits
from pipeline.query import Query
from pipeline.questions import Hit


class EmptyLexical:
    """Implements `pipeline.ports.Lexical` over no chunks."""

    def __len__(self) -> int:
        return 0

    def search(
        self, query: Query, k: int, allowed: Collection[int] | None, readable: Collection[int] | None = None
    ) -> Sequence[Hit]:
        """Return no hit."""
        return []

    def highlights(
        self, query: Query, text: str, readable: Collection[int] | None = None
    ) -> tuple[tuple[int, int], ...]:
        """Return no offsets: without hits there is nothing to highlight."""
        return ()

    def admits(self, query: Query, text: str, title: str, name: str) -> bool:
        """Return True if a passage has all that the query requires and nothing that it excludes."""
        return admits(query.clauses, text, title, name)

    def completions(self, typed: str, k: int, allowed: Collection[int] | None) -> list[tuple[str, Sequence[Hit]]]:
        """Return no words."""
        return []

    def titled(self, typed: str, k: int, allowed: Collection[int] | None) -> Sequence[Hit]:
        """Return no chunks."""
        return []
