"""How results look: tables for people, JSON for programs. Documents' words are printed as text, never as markup."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from workers.cli.context import err, out

if TYPE_CHECKING:  # imported by the commands that show a bar
    from rich.progress import Progress

#: Control characters of a document must not steer the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
STATE_COLOURS = {"indexed": "green", "review": "yellow", "failed": "red", "quarantined": "red", "processing": "cyan"}


def print_json(value: Any) -> None:
    """Print one JSON value on standard output: no colour, no wrapping."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def plain(text: object) -> Text:
    """Return a text without control characters, none of which is markup."""
    return Text(_CONTROL.sub("�", str(text)))


def line(text: str, length: int = 160) -> str:
    """Return the beginning of a text on one line, cut after ``length`` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= length else f"{flat[: length - 3]}..."


def progress() -> Progress:
    """Return a progress bar on standard error, so that standard output stays a program's."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """Print a table of plain text; None is an empty cell."""
    grid = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        grid.add_row(*(cell if isinstance(cell, Text) else plain("" if cell is None else cell) for cell in row))
    out.print(grid)


def documents(items: Sequence[Mapping[str, Any]]) -> None:
    """Print one line for each document."""
    table(
        ("id", "name", "state", "type", "confident", "reason"),
        (
            (
                document["id"],
                document["name"],
                Text(document["state"], style=STATE_COLOURS.get(document["state"], "")),
                document["label"],
                "" if document["probability"] is None else f"{document['probability']:.2f}",
                document["reason"],
            )
            for document in items
        ),
    )


def fields(values: Mapping[str, Any]) -> None:
    """Print a line with name and value for each field; empty ones are left out."""
    grid = Table("", "", box=None, pad_edge=False, show_header=False)
    for name, value in values.items():
        if value not in (None, "", [], {}):
            grid.add_row(plain(name), plain(_flat(value)))
    out.print(grid)


def facets(counts: Mapping[str, Any] | None) -> None:
    """Print a line for each value of each facet; nothing where no facet was asked for."""
    if not counts:
        return
    for name, values in counts["fields"].items():
        out.print()
        table((name, "documents"), [(value["value"], value["count"]) for value in values])
        if counts["more"][name]:
            out.print(f"and {counts['more'][name]} more values", style="dim")
    if not counts["exact"]:
        out.print(f"\ncounted over {counts['documents']} documents; more may match")


def passage(rank: int, item: Mapping[str, Any], explain: bool) -> None:
    """Print a passage with the words of the query highlighted and, to ``explain`` it, the parts of its score."""
    page = f", page {item['page_first']}" if item["page_first"] else ""
    heading = Text(f"{rank}. ", style="bold") + plain(f"{item['document_name']}{page}")
    heading += Text(f"  {item['label'] or ''}  {item['document_id']}", style="dim")
    out.print(heading)
    text = plain(item["text"])
    for start, end in item["highlights"]:
        text.stylize("bold yellow", start, end)
    out.print(text)
    if explain and item["explain"]:
        out.print(plain("  ".join(f"{part} {score:.4f}" for part, score in item["explain"].items())), style="dim")
    out.print()


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return "  ".join(f"{name}={_flat(inner)}" for name, inner in value.items())
    return ", ".join(map(_flat, value)) if isinstance(value, list) else str(value)
