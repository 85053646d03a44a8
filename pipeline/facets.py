"""What documents can be told apart by: the fields of filters and facets, and facets as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import Refused

#: Facets by name -> the field they count. "type" is what people call a label.
FIELDS: Mapping[str, str] = {
    "type": "label",
    "label": "label",
    "source": "source",
    "state": "state",
    "media_type": "media_type",
    "language": "language",
    "owner": "owner",
    "year": "year",
    "month": "month",
}
#: Before the name of a field of the organisation's own: metadata.department.
CUSTOM = "metadata."
#: Facets of one request.
MAX_FACETS = 12
#: A value longer than this is cut for filters and facets; the document keeps it whole.
MAX_VALUE = 200


@dataclass(frozen=True, slots=True)
class Count:
    """So many documents have this value."""

    value: str
    count: int


@dataclass(frozen=True, slots=True)
class Facet:
    """``values``: the most frequent ones, of "year" and "month" the newest ones; ``more``: how many further values
    there are."""

    name: str
    values: tuple[Count, ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts over ``documents`` documents. ``exact`` False: more may match than were counted, so every count is a lower
    bound."""

    facets: tuple[Facet, ...]
    documents: int
    exact: bool


def field_of(name: str) -> str:
    """The field that a facet counts. Refused("bad-request") with the known names."""
    if name in FIELDS:
        return FIELDS[name]
    if name.startswith(CUSTOM) and len(name) > len(CUSTOM):
        return name
    raise Refused(
        "bad-request", f"facets: there is no facet {name[:80]!r}; there are {', '.join(FIELDS)}, {CUSTOM}FIELD."
    )


def check(names: Sequence[str], limit: int) -> None:
    """Raises Refused("bad-request") for facets that there are not, or too many of them."""
    if len(names) > MAX_FACETS or not 1 <= limit <= MAX_VALUE:
        raise Refused("bad-request", f"facets: {MAX_FACETS} at most, of 1 to {MAX_VALUE} values each.")
    for name in names:
        field_of(name)


def attributes(languages: Sequence[str], metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    """The (field, value) pairs of a document that its columns do not hold, each once. Its owner is who the metadata say
    owns it, else who they say wrote it."""
    pairs = [("language", language) for language in languages]
    pairs += [("owner", owner) for owner in [metadata.get("owner") or metadata.get("author")] if owner]
    pairs += [(CUSTOM + name, str(value)) for name, value in metadata.items()]
    return list(dict.fromkeys((name[:MAX_VALUE], normalized(value)) for name, value in pairs if normalized(value)))


def normalized(value: str) -> str:
    """A value as filters and facets know it."""
    return " ".join(value.split())[:MAX_VALUE]
