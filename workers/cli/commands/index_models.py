"""index model: another embedding model built while the present one serves, compared, swapped in, and swapped back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import Refused
from workers.cli.context import err, out, shared
from workers.cli.files import lines_of
from workers.cli.options import AsJson, Yes
from workers.cli.output import show

if TYPE_CHECKING:
    from pipeline.documents import EmbeddingModel
    from pipeline.questions import SearchRequest
    from workers.assemble import Mailroom

app = typer.Typer(help="The embedding model: build a candidate, compare, swap, swap back.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="NAME, NAME@VERSION or a folder of an embedding model.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Leave it to the running writer, and do not wait.")]


@app.command()
def build(context: typer.Context, name: Name, no_wait: NoWait = False) -> None:
    """Embed every document by another model and build its index.

    The present one serves meanwhile. Resumes where it was interrupted; from now on new documents are embedded by both.
    """
    mailroom = shared(context).mailroom
    model = mailroom.embedding_models.candidate(name)
    with show.progress() as bar, _resumable():
        total = mailroom.catalogue.embeddings.count_missing(model.digest)
        task = bar.add_task("documents embedded", total=total)
        built = mailroom.embedding_models.build(
            model, not no_wait, lambda missing: bar.update(task, completed=total - missing)
        )
    out.print(f"{model.model} is ready to serve" if built else "the running writer builds it")


@app.command()
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the model that serves and the candidates.

    Shown are what is missing from their indexes, and whether they are ready.
    """
    rows = shared(context).mailroom.embedding_models.states()
    if as_json:
        show.print_json(rows)
        return
    show.table(("model", "role", "dimension", "documents missing", "ready"), (tuple(row.values()) for row in rows))


@app.command()
def compare(
    context: typer.Context,
    name: Name,
    queries: Annotated[Path | None, typer.Option("--queries", help="One a line: a text, or `id TAB text`.")] = None,
    saved: Annotated[bool, typer.Option("--saved", help="Everyone's saved queries, as they were saved.")] = False,
    mode: Annotated[str, typer.Option(help="hybrid or vector, for --queries.")] = "hybrid",
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="Hits to compare.")] = 10,
    worst: Annotated[int, typer.Option(min=0, help="Queries to list that differ most.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Run the same queries on the indexes of both models.

    Shown are how many of the best hits are common, and how long each takes. Which is better, judgements show: `mailroom
    eval search` before and after the swap.
    """
    if (queries is None) is not saved:
        raise typer.BadParameter("use --queries FILE or --saved")
    mailroom = shared(context).mailroom
    candidate = mailroom.embedders.describe(name)
    requests = _requests(mailroom, queries, mode)
    result = mailroom.comparison.compare(candidate, requests, k)
    if as_json:
        show.print_json(result.as_json())
        return
    rows = [(side.model, f"{side.p50_ms:.1f}", f"{side.p95_ms:.1f}") for side in result.sides]
    show.table(("model", "p50 ms", "p95 ms"), rows)
    share = f"overlap@{k}: {result.overlap:.3f} over {len(requests)} queries"
    out.print(f"\n{share}; the same first hit: {result.same_first:.3f}")
    if worst:
        different = [(f"{share:.2f}", text[:90]) for text, share in result.most_different(worst)]
        show.table(("overlap", "query"), different, "\nThose that differ most")


@app.command()
def swap(
    context: typer.Context,
    name: Name,
    anyway: Annotated[bool, typer.Option("--anyway", help="Even before its index is ready.")] = False,
    no_wait: NoWait = False,
) -> None:
    """Let a candidate serve.

    From then on it embeds questions and new documents. The former model is kept up to date as a candidate, until it is
    dropped.
    """
    models = shared(context).mailroom.embedding_models
    model = models.candidate(name)
    if not anyway:
        models.check_ready(model)
    _activate(context, model, no_wait)


@app.command()
def back(context: typer.Context, no_wait: NoWait = False) -> None:
    """Let the former model serve again, without embedding anything."""
    _activate(context, shared(context).mailroom.embedding_models.former(), no_wait)


@app.command()
def drop(context: typer.Context, name: Name, yes: Yes = False) -> None:
    """Delete a candidate: its vectors and its index. Only `build` brings it back."""
    models = shared(context).mailroom.embedding_models
    model = models.candidate(name)
    if not yes:
        typer.confirm(f"Delete the vectors of {model.model}?", abort=True, err=True)
    models.drop(model)
    out.print(show.plain(f"dropped {model.model}"))


def _activate(context: typer.Context, model: EmbeddingModel, no_wait: bool) -> None:
    with _resumable():
        serves = shared(context).mailroom.embedding_models.activate(model, not no_wait)
    out.print(f"{model.model} serves" if serves else f"the running writer lets {model.model} serve")


@contextmanager
def _resumable() -> Iterator[None]:
    """Say how an interrupted command is resumed."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("Interrupted; the same command resumes it.")
        raise


def _requests(mailroom: Mailroom, file: Path | None, mode: str) -> list[SearchRequest]:
    """Return the queries of a file, otherwise everyone's saved ones. Raises Refused if there are none."""
    from pipeline.questions import SearchRequest
    from workers.api.schemas.search import SearchBody

    if file:
        texts = [text for line in lines_of(file) if (text := line.rpartition("\t")[2].strip())]
        requests = [SearchRequest(text, mode=mode, plain=True) for text in texts]
        detail = f"{file} holds no query."
    else:
        queries = mailroom.catalogue.queries.of_tenant()
        requests = [SearchBody.model_validate(query.search).request() for query in queries]
        detail = "No query is saved; `mailroom queries create` saves one, --queries takes a file."
    if not requests:
        raise Refused("bad-request", detail)
    return requests
