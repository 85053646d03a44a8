"""Generated business documents: variety where the public sets have one source and one template per class.

The templates are the TOML files of the folder templates/, one per class. No name or sentence is from a real document.
A ``[[document]]`` is a set of lists of texts. Its ``text`` becomes the document; the values in ``let`` are drawn once
for the whole document. A list that it lacks is looked up in its file, then in words.toml. Texts hold slots in braces:

    {company}                a text of the list of that name, or the value of that name
    {company:upper}          the same, changed (`CHANGES`; several changes are applied in turn)
    {Due date|Pay by}        one of these texts; each may hold slots
    {1..40}  {07..21}  {0.50..9,999.00}     a number with the width, decimals and thousands separators of its bounds
    {3-7 lines}              three to seven different texts of a list, in any order, as blocks
    {3-7 ordered lines}      the same in the order of the list; with "mostly ordered" in four documents of five
    {3-7 times row}          three to seven texts of a list, drawn anew each time
    {3-7 lines as numbered}  each put into a text of the list `numbered`, where {entry} is the text and {#} its number
    {3-7 lines by space}     joined by a text of the list `space`
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("templates")
#: The file of the word lists, and that of the templates which only calibration reads.
WORDS, UNSEEN = "words", "unseen"
CHANGES: dict[str, Callable[[str], str]] = {
    "capital": str.capitalize,
    "lower": str.lower,
    "upper": str.upper,
    "title": lambda text: text.replace("_", " ").title(),
    "first": lambda text: text.split()[0],
    "last": lambda text: text.split()[-1],
    "mailbox": lambda text: text.lower().replace(" ", "."),
}
#: How often a list that is "mostly ordered" keeps its order.
MOSTLY = 0.8
_PICK = re.compile(r"(\d+)-(\d+) (?:(times|ordered|mostly ordered) )?(\w+)(?: as (\w+))?(?: by (\w+))?")
_RANGE = re.compile(r"(-?\d[\d,]*(?:\.\d+)?)\.\.(\d[\d,]*(?:\.\d+)?)")

Lists = Mapping[str, Any]


def generate(per_class: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield ``per_class`` documents to train on of every class that has templates, as (label, text)."""
    for file in sorted(FOLDER.glob("*.toml")):
        if file.stem not in {WORDS, UNSEEN}:
            documents = [lists for _, lists in _documents(file.stem)]
            for number in range(per_class):
                yield file.stem, roughen(render(documents[number % len(documents)], rng), rng)


def generate_unseen(per_class: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield ``per_class`` documents of every class, as (label, text), from the templates for calibration alone.

    A classifier that was calibrated on the templates it learned from is overconfident on every other one.
    """
    for label, lists in _documents(UNSEEN):
        for _ in range(per_class):
            yield label, roughen(render(lists, rng), rng)


def render(lists: Lists, rng: random.Random) -> str:
    """Return one text of a document: its slots filled, empty blocks dropped."""
    values: dict[str, str] = {}
    for name, template in lists.get("let", {}).items():
        values[name] = _fill(template, lists, values, rng)
    return re.sub(r"\n{3,}", "\n\n", _fill("{text}", lists, values, rng)).strip()


def roughen(text: str, rng: random.Random) -> str:
    """Return the text as parsers and scanners may leave it: without blank lines, with letters lost, in another case."""
    chance = rng.random()
    if chance < 0.1:
        return re.sub(r"\n+", "\n", text)
    if chance < 0.16:
        return re.sub(r"\s+", " ", text)
    if chance < 0.24:
        return "".join("" if rng.random() < 0.01 else rng.choice("il1o0 ") if rng.random() < 0.01 else c for c in text)
    if chance < 0.28:
        return text.lower()
    if chance < 0.31:
        return text.upper()
    return text


@cache
def _documents(name: str) -> list[tuple[str, Lists]]:
    """Read the documents of a file, as (label, lists); their own lists take precedence over shared ones."""
    words, own = (tomllib.loads((FOLDER / f"{stem}.toml").read_text("utf-8")) for stem in (WORDS, name))
    return [(document.get("label", name), {**words, **own, **document}) for document in own.pop("document")]


def _fill(template: str, lists: Lists, values: Mapping[str, str], rng: random.Random) -> str:
    """Fill every slot of a template: the parts at odd places."""
    parts = _split(template, "{}")
    return "".join(_slot(part, lists, values, rng) if place % 2 else part for place, part in enumerate(parts))


def _slot(content: str, lists: Lists, values: Mapping[str, str], rng: random.Random) -> str:
    choices = _split(content, "|")
    if len(choices) > 1:
        return _fill(rng.choice(choices), lists, values, rng)
    if bounds := _RANGE.fullmatch(content):
        return random_number(bounds[1], bounds[2], rng)
    if pick := _PICK.fullmatch(content):
        return _picked(pick, lists, values, rng)
    name, *changes = content.split(":")
    text = values[name] if name in values else _fill(_drawn(name, lists, rng), lists, values, rng)
    for change in changes:
        text = CHANGES[change](text)
    return text


def _picked(pick: re.Match, lists: Lists, values: Mapping[str, str], rng: random.Random) -> str:
    """Draw and join the texts of a slot such as {3-7 ordered lines as numbered by space}."""
    least, most, order, name, frame, between = pick.groups()
    count = rng.randint(int(least), int(most))
    if order == "times":
        templates = [_drawn(name, lists, rng) for _ in range(count)]
    else:
        places = rng.sample(range(len(lists[name])), min(count, len(lists[name])))
        if order == "ordered" or (order and rng.random() < MOSTLY):
            places.sort()
        templates = [lists[name][place] for place in places]
    texts = []
    for number, template in enumerate(templates, 1):
        counted = {**values, "#": str(number)}
        text = _fill(template, lists, counted, rng)
        texts.append(_fill(_drawn(frame, lists, rng), lists, {**counted, "entry": text}, rng) if frame else text)
    return _slot(between or "block", lists, values, rng).join(texts)


def _drawn(name: str, lists: Lists, rng: random.Random) -> str:
    """Draw a template of a list; a list of one may be written as a plain text."""
    return lists[name] if isinstance(lists[name], str) else rng.choice(lists[name])


def random_number(low: str, high: str, rng: random.Random) -> str:
    """Draw a number between two bounds and write it like them."""
    decimals = len(high.partition(".")[2])
    width = len(low) if low.startswith("0") and low.isdigit() else 0
    least, most = (float(bound.replace(",", "")) for bound in (low, high))
    value = rng.uniform(least, most) if decimals else rng.randint(int(least), int(most))
    return f"{value:{f'0{width}' if width > 1 else ''}{',' if ',' in high else ''}.{decimals}f}"


@cache
def _split(text: str, marks: str) -> list[str]:
    """Cut a text at its outermost braces ("{}"), or at the bars ("|") outside of all braces."""
    parts, start, depth = [], 0, 0
    for place, character in enumerate(text):
        depth -= character == "}"
        if (character in marks) and depth == 0:
            parts.append(text[start:place])
            start = place + 1
        depth += character == "{"
    return [*parts, text[start:]]
