"""Regular expressions whose time is bounded before they run: a rule must never stall on a hostile text.

Python's engine backtracks. The cost at one position of a text is at most the number of ways in which the pattern can
match there, and that number can be counted from the pattern if every repetition has an upper bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Python documents no parser for patterns; these two modules are what `re` itself uses.
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

#: Ways to match at one position; with `TEXT_LIMIT` positions the worst search takes under a second.
MAX_WAYS = 500
#: A pattern is searched in this many characters of a text.
TEXT_LIMIT = 50_000

_ONE = {sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN, sre.AT}


def compile_bounded(pattern: str) -> re.Pattern[str]:
    """Compile a pattern that ignores case. Raises ValueError saying what is wrong with it and what to write instead."""
    try:
        tree = _parser.parse(pattern, re.IGNORECASE)
        ways = _sequence(tree)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    if ways > MAX_WAYS:
        raise ValueError(f"can match in more than {MAX_WAYS} ways at one place; repeat less, and less deeply")
    return re.compile(pattern, re.IGNORECASE)


def _sequence(items: Iterable[tuple[Any, Any]]) -> int:
    ways = 1
    for operation, argument in items:
        ways *= _ways(operation, argument)
        if ways > MAX_WAYS:
            break
    return ways


def _ways(operation: object, argument: Any) -> int:
    if operation in _ONE:
        return 1
    if operation in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        return _repeat(*argument)
    if operation is sre.SUBPATTERN:
        return _sequence(argument[3])
    if operation is sre.BRANCH:
        return sum(_sequence(branch) for branch in argument[1])
    raise ValueError("uses a back-reference, a look-around or another construct whose time has no bound")


def _repeat(least: int, most: int, body: Iterable[tuple[Any, Any]]) -> int:
    if most == sre.MAXREPEAT:
        raise ValueError("repeats without an upper bound; write {1,20} instead of + and {0,20} instead of *")
    inner, ways = _sequence(body), 0
    for count in range(least, most + 1):
        ways += inner ** min(count, 64)
        if ways > MAX_WAYS:
            break
    return ways
