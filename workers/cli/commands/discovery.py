"""suggest, similar: completions of a query, and documents like one."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli import exits
from workers.cli.context import out, shared
from workers.cli.options import AsJson
from workers.cli.output import show


def suggest(
    context: typer.Context,
    prefix: Annotated[str, typer.Argument(help="The beginning of a title, of a word or of several.")],
    limit: Annotated[int, typer.Option(min=1, max=20, help="Suggestions.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Suggest titles, headings, names and words that begin so. Exit code 3 when there are none."""
    page = shared(context).gateway.suggest(prefix, limit)
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
    """List the documents nearest to one. Each has its nearest passage. Exit code 3 when there are none."""
    page = shared(context).gateway.similar(document_id, k)
    if as_json:
        show.print_json(page)
    else:
        for rank, item in enumerate(page["items"], 1):
            document = item["document"]
            heading = {"document_name": document["name"], "document_id": document["id"], "label": document["label"]}
            show.passage(rank, {**item, **heading, "highlights": []}, False)
            if item["duplicates"]:
                out.print(show.plain(f"near-duplicates: {', '.join(item['duplicates'])}"), style="dim")
    if not page["items"]:
        raise typer.Exit(exits.NOT_FOUND)
