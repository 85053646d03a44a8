"""Terms as tokens that no analyser of Milvus changes, and numbers and dates as tokens that a range can name.

A number becomes a token of its leading bits at every fourth bit, so that any range is a few hundred tokens (the trie
encoding of Schindler and Diepenbroek, "Generic XML-based framework for metadata portals", Computers & Geosciences 34,
2008).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from indexes.milvus.schema import MAX_BYTES

#: Begins every token that stands for a term with other characters than a-z and 0-9.
PREFIX = "zz"
#: Stands between groups of terms.
BOUNDARY = f"{PREFIX}edge"
STEP = 4
NUMBER_BITS, DAY_BITS = 64, 24
_SIGN_BIT = 1 << 63
_DAY_ZERO = 1 << 23


def token(term: str) -> str:
    """Encode a term as one word of a-z and 0-9."""
    if term.isascii() and term.isalnum() and term == term.lower() and not term.startswith(PREFIX):
        return term
    return PREFIX + term.encode().hex()


def term(token: str) -> str | None:
    """Decode a token; None for one that stands for no term."""
    if not token.startswith(PREFIX):
        return token
    try:
        return bytes.fromhex(token.removeprefix(PREFIX)).decode()
    except ValueError:
        return None


def joined(first: Sequence[str], *more: Sequence[str]) -> str:
    """Return a field of groups of terms with `BOUNDARY` between; cut after a whole term where it would be too long.

    The first group is the field's own words in order, see `first_group`; the others can only be matched word by word.
    """
    groups = [first, *(group for group in more if group)]
    return _cut(f" {BOUNDARY} ".join(" ".join(map(token, terms)) for terms in groups).strip())


def first_group(field: str) -> list[str]:
    """Return the tokens of a field's first group: those among which a phrase may occur."""
    tokens = field.split()
    return tokens[: tokens.index(BOUNDARY)] if BOUNDARY in tokens else tokens


def figure_field(numbers: Sequence[float], days: Sequence[int]) -> str:
    """Return the field for numbers and days (as `numeric.day` counts them): one token per value and level."""
    tokens = [level for value in numbers for level in _levels("n", _sortable_bits(value), NUMBER_BITS)]
    tokens += [level for day in days for level in _levels("d", day + _DAY_ZERO, DAY_BITS)]
    return _cut(" ".join(dict.fromkeys(tokens)))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_BYTES else text[:MAX_BYTES].rpartition(" ")[0]


def range_tokens(kind: str, low: float | None, high: float | None) -> list[str]:
    """Return tokens one of which every value of the range has. ``kind``: "number" or "date"; bounds are inclusive."""
    if kind == "number":
        first = _sortable_bits(-1e300 if low is None else low)
        return list(_cover("n", first, _sortable_bits(1e300 if high is None else high), NUMBER_BITS))
    first = 0 if low is None else int(low) + _DAY_ZERO
    return list(_cover("d", first, (1 << DAY_BITS) - 1 if high is None else int(high) + _DAY_ZERO, DAY_BITS))


def _sortable_bits(value: float) -> int:
    """Return a number's bits as an unsigned integer that sorts as the numbers do."""
    bits: int = struct.unpack(">Q", struct.pack(">d", value + 0.0))[0]
    return bits ^ ((1 << 64) - 1) if bits & _SIGN_BIT else bits | _SIGN_BIT


def _levels(kind: str, value: int, width: int) -> Iterator[str]:
    for shift in range(0, width, STEP):
        yield _level_token(kind, shift, value >> shift)


def _cover(kind: str, low: int, high: int, width: int) -> Iterator[str]:
    """Yield the fewest tokens that together stand for all values from ``low`` to ``high``."""
    full = (1 << STEP) - 1
    for shift in range(0, width, STEP):
        last = shift + STEP >= width
        while low <= high and (last or low & full):
            yield _level_token(kind, shift, low)
            low += 1
        while low <= high and high & full != full:
            yield _level_token(kind, shift, high)
            high -= 1
        if low > high:
            return
        low, high = low >> STEP, high >> STEP


def _level_token(kind: str, shift: int, value: int) -> str:
    return f"{PREFIX}{kind}{shift:02d}x{value:x}"
