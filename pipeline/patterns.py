"""Regular expressions whose time is bounded before they run: a rule must never stall on a hostile text.

Python's engine backtracks. What it may cost at one place of a text is at most the number of ways in which the pattern
can match there, and that number can be counted from the pattern when every repetition has an upper bound.
"""

from __future__ import annotations

import re
from re import _constants as sre
from re import _parser

#: Ways to match at one place; with `TEXT_LIMIT` places this keeps the worst search under a second.
MAX_WAYS = 500
#: Characters of a text that a pattern looks at.
TEXT_LIMIT = 50_000

_ONE = {sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN, sre.AT}


def compile_bounded(pattern: str) -> re.Pattern[str]:
    """The compiled pattern, case ignored. Raises ValueError saying what is wrong with it and what to write instead."""
    try:
        tree = _parser.parse(pattern, re.IGNORECASE)
        ways = _sequence(tree)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    if ways > MAX_WAYS:
        raise ValueError(f"can match in more than {MAX_WAYS} ways at one place; repeat less, and less deeply")
    return re.compile(pattern, re.IGNORECASE)


def _sequence(items: object) -> int:
    ways = 1
    for operation, argument in items:  # type: ignore[attr-defined]
        ways *= _ways(operation, argument)
        if ways > MAX_WAYS:
            break
    return ways


def _ways(operation: object, argument: tuple) -> int:
    if operation in _ONE:
        return 1
    if operation in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        return _repeat(*argument)
    if operation is sre.SUBPATTERN:
        return _sequence(argument[3])
    if operation is sre.BRANCH:
        return sum(_sequence(branch) for branch in argument[1])
    raise ValueError("uses a back-reference, a look-around or another construct whose time has no bound")


def _repeat(least: int, most: int, body: object) -> int:
    if most == sre.MAXREPEAT:
        raise ValueError("repeats without an upper bound; write {1,20} instead of + and {0,20} instead of *")
    inner, ways = _sequence(body), 0
    for count in range(least, most + 1):
        ways += inner ** min(count, 64)
        if ways > MAX_WAYS:
            break
    return ways
