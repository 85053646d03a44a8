"""queries create, list, run, delete: searches under a name."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.errors import Refused
from workers.cli.commands.questions import Duplicates, K, Mode, PerDocument, Plain, Rerank, print_page
from workers.cli.context import Gateway, out, shared
from workers.cli.options import AsJson, FacetNames, facet_names, with_filters
from workers.cli.output import show

app = typer.Typer(help="Saved queries: searches under a name, yours alone.", no_args_is_help=True)
QueryName = Annotated[str, typer.Argument(metavar="NAME", help="The name of a saved query, or its id.")]


@app.command()
@with_filters
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name.")],
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
    saved = shared(context).gateway.save_query(name, search)
    if as_json:
        show.print_json(saved)
    else:
        out.print(show.plain(f"saved {saved['name']} ({saved['id']})"))


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List your saved queries, by name."""
    page = shared(context).gateway.saved_queries()
    if as_json:
        show.print_json(page)
        return
    rows = ((query["name"], query["search"]["query"], query["created_at"], query["id"]) for query in page["items"])
    show.table(("name", "query", "saved", "id"), rows)


@app.command()
def run(
    context: typer.Context,
    name: QueryName,
    k: Annotated[int | None, typer.Option("-k", min=1, max=100, help="Passages. Default: as saved.")] = None,
    offset: Annotated[int | None, typer.Option(min=0, max=900, help="Passages to skip. Default: as saved.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a saved query again. Exit code 3 without a hit."""
    gateway = shared(context).gateway
    page = {field: value for field, value in (("k", k), ("offset", offset)) if value is not None}
    print_page(gateway.run_query(_id_of(gateway, name), **page), False, as_json)


@app.command()
def delete(context: typer.Context, name: QueryName) -> None:
    """Delete a saved query."""
    gateway = shared(context).gateway
    gateway.delete_query(_id_of(gateway, name))
    out.print(show.plain(f"deleted {name}"))


def _id_of(gateway: Gateway, name: str) -> str:
    """Return the id of the query with this name, otherwise with this id. Raises Refused("not-found")."""
    items = gateway.saved_queries()["items"]
    for field in ("name", "id"):
        for query in items:
            if query[field] == name.strip():
                return str(query["id"])
    raise Refused("not-found", f"No saved query is called {name!r}; `mailroom queries list` shows them.")
