"""Terms as tokens that every analyser of Milvus leaves as they are, and figures as tokens that a range can name.

A number is a token of its leading bits at every fourth bit, so that any range is a few hundred of them (the trie encoding
of Schindler and Diepenbroek, "Generic XML-based framework for metadata portals", Computers & Geosciences 34, 2008).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from indexes.milvus.schema import MOST_BYTES

#: Begins what stands for a term of other characters than a-z and 0-9.
MARK = "zz"
EDGE = f"{MARK}edge"
STEP = 4
NUMBER_BITS, DAY_BITS = 64, 24
_TOP = 1 << 63
_DAY_ZERO = 1 << 23


def token(term: str) -> str:
    """One word of a-z and 0-9."""
    if term.isascii() and term.isalnum() and term == term.lower() and not term.startswith(MARK):
        return term
    return MARK + term.encode().hex()


def term(token: str) -> str | None:
    """What a token stands for; None for one that stands for no term."""
    if not token.startswith(MARK):
        return token
    try:
        return bytes.fromhex(token.removeprefix(MARK)).decode()
    except ValueError:
        return None


def joined(*groups: Sequence[str]) -> str:
    """A field of terms, `EDGE` between the groups so that no phrase reaches over; cut where it would be too long."""
    return _cut(f" {EDGE} ".join(" ".join(map(token, terms)) for terms in groups if terms))


def figure_field(numbers: Sequence[float], days: Sequence[int]) -> str:
    found = [each for value in numbers for each in _levels("n", _bits(value), NUMBER_BITS)]
    found += [each for day in days for each in _levels("d", day + _DAY_ZERO, DAY_BITS)]
    return _cut(" ".join(dict.fromkeys(found)))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_BYTES else text[:MOST_BYTES].rpartition(" ")[0]


def range_tokens(kind: str, low: float | None, high: float | None) -> list[str]:
    """``kind``: "number" or "date"; both bounds are inside."""
    if kind == "number":
        first = _bits(-1e300 if low is None else low)
        return list(_cover("n", first, _bits(1e300 if high is None else high), NUMBER_BITS))
    first = 0 if low is None else int(low) + _DAY_ZERO
    return list(_cover("d", first, (1 << DAY_BITS) - 1 if high is None else int(high) + _DAY_ZERO, DAY_BITS))


def _bits(value: float) -> int:
    """Unsigned, in the order of the numbers."""
    bits = struct.unpack(">Q", struct.pack(">d", value + 0.0))[0]
    return bits ^ ((1 << 64) - 1) if bits & _TOP else bits | _TOP


def _levels(kind: str, value: int, width: int) -> Iterator[str]:
    for shift in range(0, width, STEP):
        yield _named(kind, shift, value >> shift)


def _cover(kind: str, low: int, high: int, width: int) -> Iterator[str]:
    """The fewest tokens that stand for all values from ``low`` to ``high``."""
    full = (1 << STEP) - 1
    for shift in range(0, width, STEP):
        last = shift + STEP >= width
        while low <= high and (last or low & full):
            yield _named(kind, shift, low)
            low += 1
        while low <= high and high & full != full:
            yield _named(kind, shift, high)
            high -= 1
        if low > high:
            return
        low, high = low >> STEP, high >> STEP


def _named(kind: str, shift: int, value: int) -> str:
    return f"{MARK}{kind}{shift:02d}x{value:x}"
