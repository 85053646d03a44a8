"""search and ask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from workers.cli import exits
from workers.cli.commands.documents import AsJson
from workers.cli.context import err, given, out
from workers.cli.narrowing import FacetNames, names_of, narrowed
from workers.cli.output import show

K = Annotated[int, typer.Option("-k", min=1, max=100, help="Passages.")]
Mode = Annotated[str, typer.Option(help="hybrid, lexical or vector.")]
PerDocument = Annotated[int, typer.Option(min=1, max=100, help="Of one document at most; 1 groups.")]
Duplicates = Annotated[bool, typer.Option("--duplicates", help="Show passages that say the same, too.")]
Plain = Annotated[bool, typer.Option("--plain", help="Nothing in the query is syntax.")]
Rerank = Annotated[
    bool | None, typer.Option("--rerank/--no-rerank", help="A second look at the best; else as the house has set it.")
]


@narrowed
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
    batch: Annotated[Path | None, typer.Option(help="A CSV of queries: a column query, and any of filters.")] = None,
    written: Annotated[Path | None, typer.Option("--out", help="With --batch: the CSV of what they find.")] = None,
    as_json: AsJson = False,
) -> None:
    """Search the documents. Exit code 3 when nothing was found; with --batch 4 when some of the queries failed."""
    ranking = {"per_document": per_document, "collapse": not duplicates, "plain": plain, "rerank": rerank}
    if (query is None) == (batch is None) or (batch is None) != (written is None):
        raise typer.BadParameter("give a query, or --batch FILE with --out FILE")
    if query is None:
        if explain or facets:
            raise typer.BadParameter("--explain and --facets go with one query, not with --batch")
        _search_all(context, batch, written, as_json, k=k, mode=mode, filters=filters, **ranking)
        return
    page = given(context).gateway.search(query, k, mode, explain, filters, facets=names_of(facets), **ranking)
    tell(page, explain, as_json)


def tell(page: dict[str, Any], explain: bool, as_json: bool) -> None:
    """A page of passages; exit code 3 where there is none."""
    if as_json:
        show.print_json(page)
    else:
        for number, found in enumerate(page["items"], 1):
            show.passage(number, found, explain)
        at_least = "" if page["total_is_exact"] else "at least "
        out.print(f"{len(page['items'])} of {at_least}{page['total']}")
        show.facet_counts(page["facets"])
    if not page["items"]:
        raise typer.Exit(exits.NOT_FOUND)


def _search_all(context: typer.Context, batch: Path, written: Path, as_json: bool, **how: Any) -> None:
    from workers.cli.commands import batch as batches
    from workers.cli.output import rows

    if written.resolve() == batch.resolve():
        raise typer.BadParameter("--out would replace the file of --batch")
    summary = batches.run(given(context).gateway, rows.read(batch), written, **how)
    if as_json:
        show.print_json(summary.as_json())
    for line, error in summary.failed:
        err.print(show.plain(f"{batch}, line {line}: {error}"))
    if not as_json:
        done = f"{summary.queries} queries, {summary.without} without a hit, {len(summary.failed)} failed"
        out.print(show.plain(f"{done}; {summary.passages} passages in {written}"))
    if summary.failed:
        raise typer.Exit(exits.SOME_FAILED)


@narrowed
def ask(
    context: typer.Context,
    question: str,
    filters: dict[str, Any],
    as_json: AsJson = False,
) -> None:
    """Ask a question; the answer is made of quotes. Exit code 3 when it was not found."""
    answer = given(context).gateway.ask(question, filters)
    if as_json:
        show.print_json(answer)
    else:
        _print(answer)
    if not answer["answered"]:
        raise typer.Exit(exits.NOT_FOUND)


def _print(answer: dict) -> None:
    if not answer["answered"]:
        out.print("Not found in your documents. The nearest passages:\n")
        for number, found in enumerate(answer["nearest"], 1):
            show.passage(number, found, False)
        return
    for quote in answer["quotes"]:
        out.print(show.plain(f"“{quote['text']}”"), style="bold")
        page = f", page {quote['page']}" if quote["page"] else ""
        out.print(
            show.plain(f"  {quote['document_name']}{page}  {quote['document_id']} [{quote['start']}:{quote['end']}]")
        )
    out.print(f"confidence {answer['confidence']:.2f}")
