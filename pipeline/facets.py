"""The fields that documents are filtered and counted by, and counts as records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import Refused

#: Name of a facet -> the field that it counts. "type" is the common word for a label.
FIELDS: Mapping[str, str] = {
    "type": "label",
    "label": "label",
    "source": "source",
    "state": "state",
    "media_type": "media_type",
    "language": "language",
    "owner": "owner",
    "personal_data": "personal_data",
    "year": "year",
    "month": "month",
}
#: The prefix of the organisation's own fields: metadata.department.
CUSTOM = "metadata."
#: Facets per request.
MAX_FACETS = 12
#: For filters and facets a value is cut to this length; the document keeps the complete value.
MAX_VALUE = 200
#: Values per facet.
MAX_VALUES = 200


@dataclass(frozen=True, slots=True)
class Count:
    """The number of documents with a value."""

    value: str
    count: int


@dataclass(frozen=True, slots=True)
class Facet:
    """The counts of one field: the most frequent values, or of "year" and "month" the newest ones.

    ``more`` is the number of further values.
    """

    name: str
    values: tuple[Count, ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts over ``documents`` documents. If not ``exact``, more documents may match, so every count is a lower
    bound."""

    facets: tuple[Facet, ...]
    documents: int
    exact: bool


def field_of(name: str) -> str:
    """Return the field that a facet counts. Raises Refused("bad-request") with the known names."""
    if name in FIELDS:
        return FIELDS[name]
    if name.startswith(CUSTOM) and len(name) > len(CUSTOM):
        return name
    raise Refused(
        "bad-request", f"facets: there is no facet {name[:80]!r}; there are {', '.join(FIELDS)}, {CUSTOM}FIELD."
    )


def check(names: Sequence[str], limit: int) -> None:
    """Raise Refused("bad-request") for unknown facets, too many facets, or a ``limit`` of values out of bounds."""
    if len(names) > MAX_FACETS or not 1 <= limit <= MAX_VALUES:
        raise Refused("bad-request", f"facets: {MAX_FACETS} at most, of 1 to {MAX_VALUES} values each.")
    for name in names:
        field_of(name)


def attributes(
    languages: Sequence[str], metadata: Mapping[str, str], personal_data: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """Return the (field, value) pairs of a document that its columns do not hold, without repeats.

    Its owner is the "owner" of its metadata, otherwise the "author". ``personal_data`` are kinds.
    """
    pairs = [("language", language) for language in languages]
    pairs += [("owner", owner) for owner in [metadata.get("owner") or metadata.get("author")] if owner]
    pairs += [("personal_data", kind) for kind in personal_data]
    pairs += [(CUSTOM + name, str(value)) for name, value in metadata.items()]
    return list(dict.fromkeys((name[:MAX_VALUE], normalized(value)) for name, value in pairs if normalized(value)))


def normalized(value: str) -> str:
    """Return a value as filters and facets use it: blanks collapsed, at most MAX_VALUE characters."""
    return " ".join(value.split())[:MAX_VALUE]
