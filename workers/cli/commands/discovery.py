"""suggest, similar: what to look for, and more like what was found."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli import exits
from workers.cli.commands.documents import AsJson
from workers.cli.context import given, out
from workers.cli.output import show


def suggest(
    context: typer.Context,
    prefix: Annotated[str, typer.Argument(help="The beginning of a title, of a word or of several.")],
    limit: Annotated[int, typer.Option(min=1, max=20, help="Suggestions.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Titles, headings, file names and words that go on so. Exit code 3 when there are none."""
    page = given(context).gateway.suggest(prefix, limit)
    if as_json:
        show.print_json(page)
    elif page["items"]:
        show.table(("text", "kind", "document"), ((s["text"], s["kind"], s["document_id"]) for s in page["items"]))
    if not page["items"]:
        raise typer.Exit(exits.NOT_FOUND)


def similar(
    context: typer.Context,
    document_id: str,
    k: Annotated[int, typer.Option("-k", min=1, max=50, help="Documents.")] = 10,
    as_json: AsJson = False,
) -> None:
    """The documents nearest to one, and their nearest passages. Exit code 3 when there are none."""
    page = given(context).gateway.similar(document_id, k)
    if as_json:
        show.print_json(page)
    else:
        for number, found in enumerate(page["items"], 1):
            document = found["document"]
            known = {"document_name": document["name"], "document_id": document["id"], "label": document["label"]}
            show.passage(number, {**found, **known, "highlights": []}, False)
            if found["duplicates"]:
                out.print(show.plain(f"the same: {', '.join(found['duplicates'])}"), style="dim")
    if not page["items"]:
        raise typer.Exit(exits.NOT_FOUND)
