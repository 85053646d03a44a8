"""Routing rules as data: one TOML file, read into frozen records; an error names the rule and the key.

    mode = "first"                    # or "all": every matching rule adds its destinations

    [default]                         # if no rule matches
    destinations = ["folder:{label}/{year}/{name}"]

    [[rule]]
    name = "large invoices"
    when = { label = "invoice", text = "total", min_score = 0.9 }
    destinations = ["folder:finance/{year}/{name}", "webhook:erp"]

    [[rule]]
    name = "personnel"
    when = { path = "hr/*" }
    trust = true                      # applies without a confident prediction
    review = "sensitive"              # a person decides

Conditions: label, path, source, sender, media_type, flag, personal_data (globs, or a list of them:
one must match; a sender without @ is a domain), text (a phrase, or a list: one must occur), pattern (a regular
expression with bounded repetitions, or a list), personal_data as a table of kinds and least counts
({ iban = 2 }: all must be reached), min_score, max_score, min_pages, max_pages, metadata (a table of
globs, all must match).
All conditions of ``when`` must hold; ``unless`` has the same form, and the rule does not match if all of it holds.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.documents import Destination
from pipeline.errors import Misconfigured
from pipeline.patterns import compile_bounded
from pipeline.personal_data.kinds import KINDS as KINDS_OF_DATA

GLOBS = ("label", "path", "source", "sender", "media_type", "flag", "personal_data")
NUMBERS = ("min_score", "max_score", "min_pages", "max_pages")
CONDITIONS = (*GLOBS, "text", "pattern", "metadata", *NUMBERS)
RULE_KEYS = ("name", "when", "unless", "destinations", "review", "trust")
KINDS = ("folder", "webhook")
#: What a folder template may name.
TEMPLATE_FIELDS = ("label", "year", "month", "day", "name", "stem", "suffix", "source", "id", "content_hash", "sender")


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a rule; an empty field sets no condition.

    ``globs`` maps a field to alternatives; ``texts`` are lower-case phrases and ``patterns`` regular expressions, one
    of which must occur. ``least_counts`` are of kinds of personal data.
    """

    globs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    least_counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """True if there is no condition at all."""
        return not (self.globs or self.texts or self.patterns or self.numbers or self.metadata or self.least_counts)


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """A routing rule: conditions, and what follows if they hold.

    A ``trust`` rule applies without a confident prediction; ``review`` sends the document to a person, for that reason.
    """

    name: str
    when: Conditions
    unless: Conditions
    destinations: tuple[Destination, ...] = ()
    review: str | None = None
    trust: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a file. ``digest`` is the SHA-256 of its text, for the decision record."""

    rules: tuple[RoutingRule, ...]
    default: RoutingRule
    first_only: bool
    digest: str


BUILT_IN = """
mode = "first"

# A file whose content does not match its name is reviewed by a person before it goes anywhere.
[[rule]]
name = "not what it claims"
when = { flag = "mismatch" }
review = "mismatch"

[default]
destinations = ["folder:{label}/{year}/{name}"]
"""


def load_rules(path: Path | None) -> Rules:
    """Return the rules of a file, or the built-in ones. Raises Misconfigured("bad-rules")."""
    if path is None:
        return parse_rules(BUILT_IN)
    try:
        return parse_rules(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured("bad-rules", f"The rules file {path} cannot be read: {error}.") from error


def parse_rules(text: str) -> Rules:
    """Return the rules in a TOML text. Raises Misconfigured("bad-rules")."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured("bad-rules", f"The rules are not valid TOML: {error}.") from error
    _check_keys("the file", tree, ("mode", "default", "rule"))
    mode = tree.get("mode", "first")
    if mode not in ("first", "all"):
        raise Misconfigured("bad-rules", f'mode is {mode!r}; it is "first" or "all".')
    tables = tree.get("rule", [])
    if not isinstance(tables, list):
        raise Misconfigured("bad-rules", "Rules are written as [[rule]], with two brackets.")
    lines = _rule_lines(text, len(tables))
    rules = tuple(_rule(table, line) for table, line in zip(tables, lines, strict=True))
    names = [rule.name for rule in rules]
    if len(set(names)) != len(names):
        raise Misconfigured("bad-rules", "Two rules have the same name; the decision record needs them apart.")
    default = _rule({"name": "default", **tree.get("default", {})}, "")
    return Rules(rules, default, mode == "first", hashlib.sha256(text.encode()).hexdigest())


def _rule_lines(text: str, count: int) -> list[str]:
    """Return the line of each [[rule]] as " (line N)"; empty strings if the lines are unknown (inline rules)."""
    lines = [
        n for n, line in enumerate(text.splitlines(), 1) if re.match(r"\s{0,20}\[\[\s{0,20}rule\s{0,20}\]\]", line)
    ]
    return [f" (line {n})" for n in lines] if len(lines) == count else [""] * count


def _rule(values: Mapping[str, Any], line: str) -> RoutingRule:
    name = values.get("name", "") if isinstance(values, dict) else ""
    if not isinstance(name, str) or not name:
        raise Misconfigured("bad-rules", f"A rule{line} has no name.")
    place = f"rule {name!r}{line}"
    _check_keys(place, values, RULE_KEYS)
    when, unless = (_conditions(place, values.get(key, {})) for key in ("when", "unless"))
    targets = _strings(place, "destinations", values.get("destinations", []))
    destinations = tuple(_destination(place, target) for target in targets)
    review = values.get("review")
    if review is not None and (not isinstance(review, str) or not review):
        raise Misconfigured("bad-rules", f"{place}: review is {review!r}; it is the reason, as text.")
    if not isinstance(values.get("trust", False), bool):
        raise Misconfigured("bad-rules", f"{place}: trust is {values['trust']!r}; it is true or false.")
    if not destinations and not review and name != "default":
        raise Misconfigured("bad-rules", f"{place} has neither destinations nor a review reason: it would do nothing.")
    return RoutingRule(name, when, unless, destinations, review, values.get("trust", False))


def _conditions(place: str, values: Mapping[str, Any]) -> Conditions:
    _check_keys(place, values, CONDITIONS)
    numbers = {key: values[key] for key in NUMBERS if key in values}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Misconfigured("bad-rules", f"{place}: {key} is {value!r}; it is a number.")
    metadata = values.get("metadata", {})
    if not isinstance(metadata, dict):
        raise Misconfigured("bad-rules", f"{place}: metadata is a table of globs.")
    least_counts = _least_counts(place, values.get("personal_data"))
    globs = [key for key in GLOBS if key in values and not (key == "personal_data" and least_counts)]
    return Conditions(
        globs={key: _strings(place, key, values[key]) for key in globs},
        texts=tuple(text.lower() for text in _strings(place, "text", values.get("text", []))),
        patterns=tuple(_pattern(place, pattern) for pattern in _strings(place, "pattern", values.get("pattern", []))),
        numbers=numbers,
        metadata={key: str(value) for key, value in metadata.items()},
        least_counts=least_counts,
    )


def _least_counts(place: str, value: Any) -> Mapping[str, int]:
    if not isinstance(value, dict):
        return {}
    _check_keys(f"{place}: personal_data", value, KINDS_OF_DATA)
    for kind, count in value.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise Misconfigured("bad-rules", f"{place}: personal_data.{kind} is {count!r}; it is a count from 1 on.")
    return value


def _strings(place: str, key: str, value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise Misconfigured("bad-rules", f"{place}: {key} is {value!r}; it is a string or a list of strings.")
    return tuple(values)


def _pattern(place: str, text: str) -> re.Pattern[str]:
    try:
        return compile_bounded(text)
    except ValueError as error:
        raise Misconfigured("bad-rules", f"{place}: pattern {text!r} {error}.") from error


def _destination(place: str, text: str) -> Destination:
    kind, _, target = text.partition(":")
    if kind not in KINDS or not target:
        raise Misconfigured("bad-rules", f"{place}: destination {text!r}; write folder:TEMPLATE or webhook:ENDPOINT.")
    try:
        parts = list(string.Formatter().parse(target)) if kind == "folder" else []
    except ValueError as error:
        raise Misconfigured("bad-rules", f"{place}: template {target!r}: {error}.") from error
    unknown = {name for _, name, _, _ in parts if name is not None} - set(TEMPLATE_FIELDS)
    if any(spec or conversion for _, name, spec, conversion in parts if name is not None):
        raise Misconfigured("bad-rules", f"{place}: template {target!r} formats a field; only {{field}} is allowed.")
    if unknown:
        raise Misconfigured(
            "bad-rules", f"{place}: template names {sorted(unknown)}; there are: {', '.join(TEMPLATE_FIELDS)}."
        )
    return Destination(kind, target)


def _check_keys(place: str, values: Any, keys: tuple[str, ...]) -> None:
    if not isinstance(values, dict):
        raise Misconfigured("bad-rules", f"{place} is not a table.")
    for key in values:
        if key not in keys:
            close = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(keys)}."
            raise Misconfigured("bad-rules", f"{place}: unknown key {key!r}; {hint}")
