"""suggest: what to look for."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli import exits, show
from workers.cli.context import given
from workers.cli.documents import AsJson


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
