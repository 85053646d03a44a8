"""search and ask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from workers.cli import exits
from workers.cli.context import err, out, shared
from workers.cli.options import AsJson, FacetNames, facet_names, with_filters
from workers.cli.output import show

K = Annotated[int, typer.Option("-k", min=1, max=100, help="Passages.")]
Mode = Annotated[str, typer.Option(help="hybrid, lexical or vector.")]
PerDocument = Annotated[int, typer.Option(min=1, max=100, help="Passages of one document at most; 1 groups.")]
Duplicates = Annotated[bool, typer.Option("--duplicates", help="Show near-duplicate passages, too.")]
Plain = Annotated[bool, typer.Option("--plain", help="Nothing in the query is syntax.")]
Rerank = Annotated[
    bool | None,
    typer.Option("--rerank/--no-rerank", help="Rerank the best passages, or not. Default: the setting search.rerank."),
]


@with_filters
def search(
    context: typer.Context,
    filters: dict[str, Any],
    query: Annotated[
        str | None, typer.Argument(help='Words, "phrases", +must, -not, title:word, prefix*, like~, 10..20.')
    ] = None,
    k: K = 10,
    mode: Mode = "hybrid",
    per_document: PerDocument = 3,
    duplicates: Duplicates = False,
    plain: Plain = False,
    rerank: Rerank = None,
    facets: FacetNames = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the parts of each score.")] = False,
    batch: Annotated[
        Path | None, typer.Option(help="A CSV of queries: a column query, and any of the filters.")
    ] = None,
    results: Annotated[Path | None, typer.Option("--out", help="With --batch: the CSV to write the hits to.")] = None,
    as_json: AsJson = False,
) -> None:
    """Search the documents. Exit code 3 without a hit; with --batch 4 when some of the queries failed."""
    ranking = {"per_document": per_document, "collapse": not duplicates, "plain": plain, "rerank": rerank}
    if (query is None) == (batch is None) or (batch is None) != (results is None):
        raise typer.BadParameter("write a query, or --batch FILE with --out FILE")
    if query is not None:
        gateway = shared(context).gateway
        options = {"k": k, "mode": mode, "explain": explain, "facets": facet_names(facets), **ranking}
        print_page(gateway.search(query, filters, **options), explain, as_json)
        return
    assert batch is not None and results is not None
    if explain or facets:
        raise typer.BadParameter("--explain and --facets go with one query, not with --batch")
    _search_all(context, batch, results, as_json, k=k, mode=mode, filters=filters, **ranking)


def print_page(page: dict[str, Any], explain: bool, as_json: bool) -> None:
    """Print a page of passages; exit with code 3 where there is none."""
    if as_json:
        show.print_json(page)
    else:
        for rank, item in enumerate(page["items"], 1):
            show.passage(rank, item, explain)
        at_least = "" if page["total_is_exact"] else "at least "
        out.print(f"{len(page['items'])} of {at_least}{page['total']}")
        show.facets(page["facets"])
    if not page["items"]:
        raise typer.Exit(exits.NOT_FOUND)


def _search_all(context: typer.Context, batch: Path, results: Path, as_json: bool, **request: Any) -> None:
    from workers.cli.commands.batch import run
    from workers.cli.output import rows

    if results.resolve() == batch.resolve():
        raise typer.BadParameter("--out would replace the file of --batch")
    summary = run(shared(context).gateway, rows.read(batch), results, **request)
    if as_json:
        show.print_json(summary.as_json())
    for line, error in summary.failed:
        err.print(show.plain(f"{batch}, line {line}: {error}"))
    if not as_json:
        counts = f"{summary.queries} queries, {summary.empty} without a hit, {len(summary.failed)} failed"
        out.print(show.plain(f"{counts}; {summary.passages} passages in {results}"))
    if summary.failed:
        raise typer.Exit(exits.SOME_FAILED)


@with_filters
def ask(context: typer.Context, question: str, filters: dict[str, Any], as_json: AsJson = False) -> None:
    """Ask a question; the answer is made of quotes. Exit code 3 when there is no answer."""
    answer = shared(context).gateway.ask(question, filters)
    if as_json:
        show.print_json(answer)
    elif answer["answered"]:
        for quote in answer["quotes"]:
            page = f", page {quote['page']}" if quote["page"] else ""
            place = f"{quote['document_name']}{page}  {quote['document_id']} [{quote['start']}:{quote['end']}]"
            out.print(show.plain(f"“{quote['text']}”"), style="bold")
            out.print(show.plain(f"  {place}"))
        out.print(f"confidence {answer['confidence']:.2f}")
    else:
        out.print("Not found in your documents. The nearest passages:\n")
        for rank, item in enumerate(answer["nearest"], 1):
            show.passage(rank, item, False)
    if not answer["answered"]:
        raise typer.Exit(exits.NOT_FOUND)
