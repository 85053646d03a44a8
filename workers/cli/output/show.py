"""How answers look: tables for people, JSON for programs. Documents' words are printed as text, never as markup."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from workers.cli.context import out

#: Control characters of a document must not steer the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
STATE_COLOURS = {"indexed": "green", "review": "yellow", "failed": "red", "quarantined": "red", "processing": "cyan"}


def print_json(value: Any) -> None:
    """One JSON value on standard output, as it is: no colour, no wrapping."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def plain(text: object) -> Text:
    return Text(_CONTROL.sub("�", str(text)))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """A table whose cells are plain text."""
    made = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else plain("" if cell is None else cell) for cell in row))
    out.print(made)


def state(word: str) -> Text:
    return Text(word, style=STATE_COLOURS.get(word, ""))


def documents(items: Sequence[Mapping[str, Any]]) -> None:
    """One line for each document."""
    table(
        ("id", "name", "state", "type", "confident", "reason"),
        (
            (d["id"], d["name"], state(d["state"]), d["label"], _share(d["probability"]), d["reason"] or "")
            for d in items
        ),
    )


def facts(values: Mapping[str, Any]) -> None:
    """Name and value, the empty ones left out."""
    made = Table("", "", box=None, pad_edge=False, show_header=False)
    for name, value in values.items():
        if value not in (None, "", [], {}):
            made.add_row(plain(name), plain(_flat(value)))
    out.print(made)


def facet_counts(counted: Mapping[str, Any] | None) -> None:
    """A line for each value of each facet; nothing where none was asked for."""
    for name, values in counted["fields"].items() if counted else ():
        out.print()
        table((name, "documents"), [(each["value"], each["count"]) for each in values])
        if counted and counted["more"][name]:
            out.print(f"and {counted['more'][name]} more values", style="dim")
    if counted and not counted["exact"]:
        out.print(f"\ncounted over {counted['documents']} documents; more may match")


def passage(number: int, found: Mapping[str, Any], explain: bool) -> None:
    """A passage with the query's words marked."""
    page = f", page {found['page_first']}" if found["page_first"] else ""
    heading = Text(f"{number}. ", style="bold") + plain(f"{found['document_name']}{page}")
    heading += Text(f"  {found['label'] or ''}  {found['document_id']}", style="dim")
    out.print(heading)
    text = Text(_CONTROL.sub("�", found["text"]))
    for start, end in found["highlights"]:
        text.stylize("bold yellow", start, end)
    out.print(text)
    if explain and found["explain"]:
        out.print(plain("  ".join(f"{part} {score:.4f}" for part, score in found["explain"].items())), style="dim")
    out.print()


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return "  ".join(f"{k}={_flat(v)}" for k, v in value.items())
    return ", ".join(map(_flat, value)) if isinstance(value, list) else str(value)
