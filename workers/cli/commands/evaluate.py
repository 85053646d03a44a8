"""eval: how good the search is, on your own judgements."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import Refused
from workers.cli.commands.questions import Mode, Rerank
from workers.cli.context import Gateway, err, every_document, out, shared
from workers.cli.files import lines_of
from workers.cli.options import AsJson, with_filters
from workers.cli.output import show

if TYPE_CHECKING:
    from pipeline.evaluate import Evaluation

app = typer.Typer(help="Measure the search on judged queries; export feedback.", no_args_is_help=True)
Queries = Annotated[Path, typer.Option("--queries", help="`id TAB text`, one a line.")]
Qrels = Annotated[Path, typer.Option("--qrels", help="`query 0 document gain`; a document by id, path or name.")]
#: Passages of the page whose latency is measured, as people ask for it.
PAGE = 10
STRANGERS = (
    "No query finds a judged document. Does --data name the folder that holds them, and do the judgements name "
    "them as `mailroom list` does, by id, path or name?"
)
NOTHING_JUDGED = "None of the queries has a judgement: do the ids of both files agree?"
NOTHING_LEFT = "No judged document matches the filters: nothing is left to measure."

Judgements = Mapping[str, Mapping[str, int]]


@app.command()
@with_filters
def search(
    context: typer.Context,
    queries: Queries,
    qrels: Qrels,
    filters: dict[str, Any],
    mode: Mode = "hybrid",
    syntax: Annotated[
        bool, typer.Option("--syntax", help="Read the queries as syntax. Default: as plain text.")
    ] = False,
    rerank: Rerank = None,
    worst: Annotated[int, typer.Option(min=0, help="Worst queries to list.")] = 10,
    run: Annotated[Path | None, typer.Option(help="Write the ranking here, in TREC's format.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure nDCG@10, recall@100, MRR and latency of the search.

    It is the search of REST and `mailroom search`. With filters, judgements of documents that they leave out do not
    count.
    """
    from pipeline.evaluate import evaluate, read_judgements, read_queries

    texts = read_queries(lines_of(queries))
    judgements: Judgements = read_judgements(lines_of(qrels))
    gateway = shared(context).gateway
    before = sum(map(len, judgements.values()))
    if filters:
        documents = every_document(gateway, filters)
        names = {document[name] for document in documents for name in ("id", "path", "name")}
        judgements = {query: {d: gains[d] for d in gains if d in names} for query, gains in judgements.items()}
    left_out = before - sum(map(len, judgements.values()))
    judged = {name: text for name, text in texts.items() if judgements.get(name)}
    if not judged:
        raise Refused("bad-request", NOTHING_LEFT if left_out else NOTHING_JUDGED)
    options = {"mode": mode, "plain": not syntax, "rerank": rerank}
    ranked, seconds = _rank(gateway, judged, judgements, filters, options)
    result = evaluate(judgements, ranked)
    if run:
        rows = (
            f"{name} Q0 {document} {rank} {1 / rank:.6f} mailroom\n"
            for name, documents in ranked.items()
            for rank, document in enumerate(documents, 1)
        )
        run.write_text("".join(rows), encoding="utf-8")
    metrics = {**_metrics(result, seconds, len(texts) - len(judged)), "left_out": left_out}
    if as_json:
        show.print_json({**metrics, "queries": result.queries})
    else:
        _print(metrics, result, texts, ranked, result.worst(worst))
    if not result.mean["MRR"]:
        err.print(STRANGERS)


@app.command()
def export(
    context: typer.Context,
    queries: Annotated[Path, typer.Option("--queries", help="Where to write `id TAB text`.")],
    qrels: Annotated[Path, typer.Option("--qrels", help="Where to write `query 0 document gain`.")],
) -> None:
    """Write clicks and votes as queries and judgements. Useful is 2, a click 1, not useful 0."""
    from pipeline.evaluate import from_feedback
    from pipeline.questions import Feedback

    entries = shared(context).gateway.feedback()
    feedback = (Feedback(entry["query"], entry["document_id"], entry["kind"], 0.0) for entry in entries)
    texts, judgements = from_feedback(feedback)
    queries.write_text("".join(f"{name}\t{text}\n" for name, text in texts.items()), encoding="utf-8")
    rows = (f"{name} 0 {document} {gain}\n" for name, gains in judgements.items() for document, gain in gains.items())
    qrels.write_text("".join(rows), encoding="utf-8")
    out.print(f"{len(texts)} queries, {sum(map(len, judgements.values()))} judgements")


def _rank(
    gateway: Gateway,
    texts: Mapping[str, str],
    judgements: Judgements,
    filters: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[dict[str, list[str]], list[float]]:
    """Return the documents of each query, best first, by the judgements' names; and the seconds of an ordinary page."""
    from rich.progress import track

    from pipeline.evaluate import DEPTH

    ranked, seconds = {}, []
    gateway.search(next(iter(texts.values())), filters, k=PAGE, **options)  # opens index and models, untimed
    for name, text in track(texts.items(), "searching", console=err, transient=True, disable=not err.is_terminal):
        started = time.perf_counter()
        gateway.search(text, filters, k=PAGE, **options)
        seconds.append(time.perf_counter() - started)
        page = gateway.search(text, filters, k=DEPTH, per_document=1, collapse=False, **options)
        ranked[name] = list(dict.fromkeys(_judged_name(item, judgements[name]) for item in page["items"]))
    return ranked, seconds


def _judged_name(item: Mapping[str, Any], judged: Collection[str]) -> str:
    """Return the name under which a document is judged, otherwise its id."""
    names = (item["document_id"], item["path"], item["document_name"])
    return next((name for name in names if name in judged), item["document_id"])


def _metrics(result: Evaluation, seconds: list[float], unjudged: int) -> dict[str, Any]:
    from pipeline.evaluate import percentile

    latency = {f"p{share}_ms": round(1000 * percentile(seconds, share / 100), 1) for share in (50, 95, 99)}
    mean = {name: round(value, 4) for name, value in result.mean.items()}
    return {"mean": mean, "latency": latency, "judged": len(result.queries), "unjudged": unjudged}


def _print(
    metrics: Mapping[str, Any],
    result: Evaluation,
    texts: Mapping[str, str],
    ranked: Mapping[str, list[str]],
    worst: list[str],
) -> None:
    rows = [*metrics["mean"].items(), *metrics["latency"].items()]
    show.table(("measure", "value"), [(name, f"{value:g}") for name, value in rows])
    out.print(f"{metrics['judged']} queries with judgements, {metrics['unjudged']} without.")
    if metrics["left_out"]:
        out.print(f"{metrics['left_out']} judgements of documents that the filters leave out are not counted.")
    if worst:
        rows = [(w, f"{result.queries[w]['nDCG@10']:.3f}", len(ranked[w]), texts[w][:80]) for w in worst]
        show.table(("query", "nDCG@10", "hits", "text"), rows, "\nThe worst")
