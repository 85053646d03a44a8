"""eval: how good the search is, on judgements of the house's own."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track

from pipeline.errors import Refused
from pipeline.evaluate import DEPTH, Evaluation, evaluate, from_feedback, percentile, read_judgements, read_queries
from pipeline.questions import Feedback
from workers.cli.commands.documents import AsJson
from workers.cli.commands.questions import Mode, Rerank
from workers.cli.context import err, given, out
from workers.cli.narrowing import narrowed
from workers.cli.output import show
from workers.cli.output.lines import lines_of

if TYPE_CHECKING:  # the composition root imports every runtime; a command that needs none starts at once
    from workers.cli.gateway import Gateway

app = typer.Typer(help="Measure the search on judged queries; export what people said of hits.", no_args_is_help=True)
Queries = Annotated[Path, typer.Option("--queries", help="`id TAB text`, one a line.")]
Qrels = Annotated[Path, typer.Option("--qrels", help="`query 0 document gain`; a document by id, path or name.")]
#: A page as people ask for it: its latency is what is told.
PAGE = 10
STRANGERS = (
    "No judged document was found by any query. Does --data name the folder that holds them, and do the judgements name "
    "them as `mailroom list` does, by id, path or name?"
)

NOTHING_JUDGED = "None of the queries has a judgement: do the ids of both files agree?"
NOTHING_KEPT = "The filters keep no document that a query has a judgement of: nothing is left to measure."
#: Documents listed at a time.
LISTED = 500

Judged = Mapping[str, Mapping[str, int]]


@app.command()
@narrowed
def search(
    context: typer.Context,
    queries: Queries,
    qrels: Qrels,
    filters: dict[str, Any],
    mode: Mode = "hybrid",
    syntax: Annotated[bool, typer.Option("--syntax", help="The queries use signs; else they are plain text.")] = False,
    rerank: Rerank = None,
    worst: Annotated[int, typer.Option(min=0, help="Queries to list that fare worst.")] = 10,
    run: Annotated[Path | None, typer.Option(help="Write the ranking here, in TREC's format.")] = None,
    as_json: AsJson = False,
) -> None:
    """nDCG@10, recall@100, MRR and latency of the search, over the same way that REST and `mailroom search` go. With filters,
    judgements of documents that they leave out do not count: nobody looks for those there."""
    texts, judged = read_queries(lines_of(queries)), read_judgements(lines_of(qrels))
    given_judgements = sum(map(len, judged.values()))
    if filters:
        judged = _within(given(context).gateway, filters, judged)
    left_out = given_judgements - sum(map(len, judged.values()))
    asked = {name: text for name, text in texts.items() if judged.get(name)}
    if not asked:
        raise Refused("bad-request", NOTHING_KEPT if left_out else NOTHING_JUDGED)
    ranking = {"plain": not syntax, "rerank": rerank}
    ranked, seconds = _ask(given(context).gateway, asked, judged, mode, ranking, filters)
    result = evaluate(judged, ranked)
    if run:
        _write_run(run, ranked)
    figures = {**_figures(result, seconds, len(texts) - len(asked)), "left_out": left_out}
    if as_json:
        show.print_json({**figures, "queries": result.queries})
    else:
        _print(figures, result, texts, ranked, result.worst(worst))
    if not result.mean["MRR"]:
        err.print(STRANGERS)


@app.command()
def export(
    context: typer.Context,
    queries: Annotated[Path, typer.Option("--queries", help="Written: `id TAB text`.")],
    qrels: Annotated[Path, typer.Option("--qrels", help="Written: `query 0 document gain`.")],
) -> None:
    """Clicks and votes as queries and judgements: useful 2, a click 1, not useful 0."""
    texts, judged = from_feedback(_feedback(given(context).gateway))
    queries.write_text("".join(f"{name}\t{text}\n" for name, text in texts.items()), encoding="utf-8")
    rows = (f"{name} 0 {document} {gain}\n" for name, gains in judged.items() for document, gain in gains.items())
    qrels.write_text("".join(rows), encoding="utf-8")
    out.print(f"{len(texts)} queries, {sum(map(len, judged.values()))} judgements")


def _feedback(gateway: Gateway) -> Iterator[Feedback]:
    for said in gateway.feedback():
        yield Feedback(said["query"], said["document_id"], said["kind"], 0.0)


def _within(gateway: Gateway, filters: Mapping[str, Any], judged: Judged) -> Judged:
    """The judgements of documents that the filters keep."""
    kept: set[str] = set()
    offset: int | None = 0
    while offset is not None:
        page = gateway.documents(filters, LISTED, offset)
        kept.update(item[name] for item in page["items"] for name in ("id", "path", "name"))
        offset = page["next_offset"]
    return {query: {d: gain for d, gain in gains.items() if d in kept} for query, gains in judged.items()}


def _ask(
    gateway: Gateway,
    texts: Mapping[str, str],
    judged: Judged,
    mode: str,
    ranking: Mapping[str, Any],
    filters: Mapping[str, Any],
) -> tuple[dict[str, list[str]], list[float]]:
    """Documents by query, best first, named as the judgements name them; and the seconds of an ordinary page each."""
    ranked, seconds = {}, []
    gateway.search(next(iter(texts.values())), PAGE, mode, False, filters, **ranking)  # opens index and models, untimed
    for name, text in track(texts.items(), "asking", console=err, transient=True, disable=not err.is_terminal):
        started = time.perf_counter()
        gateway.search(text, PAGE, mode, False, filters, **ranking)
        seconds.append(time.perf_counter() - started)
        page = gateway.search(text, DEPTH, mode, False, filters, per_document=1, collapse=False, **ranking)
        ranked[name] = list(dict.fromkeys(_name(item, judged[name]) for item in page["items"]))
    return ranked, seconds


def _name(item: Mapping[str, Any], known: Collection[str]) -> str:
    names = (item["document_id"], item["path"], item["document_name"])
    return next((name for name in names if name in known), item["document_id"])


def _write_run(file: Path, ranked: Mapping[str, list[str]]) -> None:
    rows = (
        f"{name} Q0 {document} {rank} {1 / rank:.6f} mailroom\n"
        for name, documents in ranked.items()
        for rank, document in enumerate(documents, 1)
    )
    file.write_text("".join(rows), encoding="utf-8")


def _figures(result: Evaluation, seconds: list[float], unjudged: int) -> dict[str, Any]:
    latency = {f"p{share}_ms": round(1000 * percentile(seconds, share / 100), 1) for share in (50, 95, 99)}
    mean = {name: round(value, 4) for name, value in result.mean.items()}
    return {"mean": mean, "latency": latency, "judged": len(result.queries), "unjudged": unjudged}


def _print(
    figures: Mapping[str, Any],
    result: Evaluation,
    texts: Mapping[str, str],
    ranked: Mapping[str, list[str]],
    worst: list[str],
) -> None:
    rows = [*figures["mean"].items(), *figures["latency"].items()]
    show.table(("measure", "value"), [(name, f"{value:g}") for name, value in rows])
    out.print(f"{figures['judged']} queries with judgements, {figures['unjudged']} without.")
    if figures["left_out"]:
        out.print(f"{figures['left_out']} judgements of documents that the filters leave out are not counted.")
    if worst:
        listed = [(w, f"{result.queries[w]['nDCG@10']:.3f}", len(ranked[w]), texts[w][:80]) for w in worst]
        show.table(("query", "nDCG@10", "found", "text"), listed, "\nThe worst")
