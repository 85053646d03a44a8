"""queries create, list, run, delete: searches under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import Refused
from workers.cli.commands.questions import Duplicates, K, Mode, PerDocument, Plain, Rerank, print_page
from workers.cli.context import out, shared
from workers.cli.options import AsJson, FacetNames, facet_names, with_filters
from workers.cli.output import show

if TYPE_CHECKING:  # the composition root imports every runtime; a command that needs none starts at once
    from workers.cli.gateway import Gateway

app = typer.Typer(help="Saved queries: searches under a name, your own and nobody else's.", no_args_is_help=True)
Known = Annotated[str, typer.Argument(metavar="NAME", help="The name of a saved query, or its id.")]


@app.command()
@with_filters
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it will be called.")],
    query: Annotated[str, typer.Argument(help="As for `mailroom search`.")],
    filters: dict[str, Any],
    k: K = 10,
    mode: Mode = "hybrid",
    per_document: PerDocument = 3,
    duplicates: Duplicates = False,
    plain: Plain = False,
    rerank: Rerank = None,
    facets: FacetNames = None,
    as_json: AsJson = False,
) -> None:
    """Save a search under a name. A query that would be refused is not saved."""
    ranking = {"per_document": per_document, "collapse": not duplicates, "plain": plain, "rerank": rerank}
    search = {"query": query, "k": k, "mode": mode, "filters": filters, "facets": facet_names(facets), **ranking}
    made = shared(context).gateway.save_query(name, search)
    if as_json:
        show.print_json(made)
    else:
        out.print(show.plain(f"saved {made['name']} ({made['id']})"))


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """Your saved queries, by name."""
    page = shared(context).gateway.saved_queries()
    if as_json:
        show.print_json(page)
        return
    rows = ((each["name"], each["search"]["query"], each["created_at"], each["id"]) for each in page["items"])
    show.table(("name", "query", "saved", "id"), rows)


@app.command()
def run(
    context: typer.Context,
    name: Known,
    k: Annotated[int | None, typer.Option("-k", min=1, max=100, help="Passages, in place of the saved number.")] = None,
    offset: Annotated[int | None, typer.Option(min=0, max=900, help="Passages to skip.")] = None,
    as_json: AsJson = False,
) -> None:
    """Search again by a saved query. Exit code 3 when nothing was found."""
    gateway = shared(context).gateway
    print_page(gateway.run_query(_id_of(gateway, name), k, offset), False, as_json)


@app.command()
def delete(context: typer.Context, name: Known) -> None:
    """Forget a saved query."""
    gateway = shared(context).gateway
    gateway.delete_query(_id_of(gateway, name))
    out.print(show.plain(f"deleted {name}"))


def _id_of(gateway: Gateway, name: str) -> str:
    """Of the query of this name, else of this id."""
    items = gateway.saved_queries()["items"]
    for field in ("name", "id"):
        for each in items:
            if each[field] == name.strip():
                return str(each["id"])
    raise Refused("not-found", f"No saved query is called {name!r}; `mailroom queries list` shows them.")
