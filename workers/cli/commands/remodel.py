"""index model: another embedding model built beside the one that serves, compared, swapped in, and swapped back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import Refused, Unavailable
from workers.cli.context import Context, err, out, shared
from workers.cli.files import lines_of
from workers.cli.options import AsJson
from workers.cli.output import show

if TYPE_CHECKING:
    from pipeline.documents import EmbeddingModel
    from pipeline.ports import IndexReader
    from pipeline.questions import SearchRequest
    from workers.assemble import Mailroom

app = typer.Typer(help="The embedding model: build another one beside, compare, swap, swap back.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="NAME, NAME@VERSION or a folder of an embedding model.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Leave it to the running writer, and do not wait.")]
#: Seconds between two looks at what the writer has done.
LOOK_SECONDS = 0.2
#: Seconds for which an index that cannot be opened may yet become one that can: a reader tries again within that time.
STUCK_SECONDS = 20.0


@app.command()
def build(context: typer.Context, name: Name, no_wait: NoWait = False) -> None:
    """Embed every document by another model and build its index, while the present one serves. Goes on where it was
    interrupted; from now on new documents are embedded by both."""
    from workers.services.rebuild import is_ready

    options = shared(context)
    model = options.mailroom.embedders.describe(name)
    _check_other(options, model)
    embeddings = options.mailroom.catalogue.embeddings
    embeddings.add(model)
    with show.progress() as bar:
        total = embeddings.count_missing(model.digest)
        task = bar.add_task("documents embedded", total=total)

        def done() -> bool:
            missing = embeddings.count_missing(model.digest)
            bar.update(task, completed=total - missing)
            return not missing and is_ready(options.mailroom.indexes.root, model)

        finished = _drive(options, done, no_wait)
    out.print(f"{model.model} is ready to serve" if finished else "the running writer builds it")


@app.command()
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """The model that serves and those beside it: what they lack, and whether their index is ready."""
    from workers.services.rebuild import is_ready

    options = shared(context)
    embeddings, serving = options.mailroom.catalogue.embeddings, options.mailroom.embedders.serving_model()
    beside = [model for model in embeddings.models() if model.digest != serving.digest]
    rows = [
        {
            "model": model.model,
            "role": "serves" if model.digest == serving.digest else "gave way" if model.served_until else "beside",
            "dimension": model.dimension,
            "documents_missing": embeddings.count_missing(model.digest),
            "ready": model.digest == serving.digest or is_ready(options.mailroom.indexes.root, model),
        }
        for model in (serving, *beside)
    ]
    if as_json:
        show.print_json(rows)
        return
    show.table(("model", "role", "dimension", "documents missing", "ready"), (tuple(row.values()) for row in rows))


@app.command()
def compare(
    context: typer.Context,
    name: Name,
    queries: Annotated[Path | None, typer.Option("--queries", help="One a line: a text, or `id TAB text`.")] = None,
    saved: Annotated[
        bool, typer.Option("--saved", help="The house's saved queries, everyone's, as they were saved.")
    ] = False,
    mode: Annotated[str, typer.Option(help="hybrid or vector, for --queries.")] = "hybrid",
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="Hits to compare.")] = 10,
    worst: Annotated[int, typer.Option(min=0, help="Queries to list that differ most.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Ask both models' indexes the same queries: which share of the best hits is common, and how long each takes. What is
    better is for judgements to say: `mailroom eval search` before and after the swap."""
    from pipeline.questions import SearchRequest

    if (queries is None) is not saved:
        raise typer.BadParameter("give --queries FILE or --saved")
    mailroom = shared(context).mailroom
    other = mailroom.embedders.describe(name)
    asked = (
        _saved(mailroom)
        if queries is None
        else [SearchRequest(text, mode=mode, plain=True) for text in _texts(queries)]
    )
    result = mailroom.comparison.compare(other, asked, k)
    if as_json:
        show.print_json(result.as_json())
        return
    rows = [(each.model, f"{each.p50_ms:.1f}", f"{each.p95_ms:.1f}") for each in result.sides]
    show.table(("model", "p50 ms", "p95 ms"), rows)
    out.print(
        f"\noverlap@{k}: {result.overlap:.3f} over {len(asked)} queries; the same first hit: {result.same_first:.3f}"
    )
    if worst:
        listed = [(f"{share:.2f}", text[:90]) for text, share in result.most_different(worst)]
        show.table(("overlap", "query"), listed, "\nThose that differ most")


@app.command()
def swap(
    context: typer.Context,
    name: Name,
    anyway: Annotated[bool, typer.Option("--anyway", help="Even before its index is ready.")] = False,
    no_wait: NoWait = False,
) -> None:
    """Let a model that was built serve: questions and new documents are embedded by it from then on. The former one is kept
    up to date beside it, until it is dropped."""
    from workers.services.rebuild import is_ready

    options = shared(context)
    model = options.mailroom.embedders.describe(name)
    _check_other(options, model)
    if not anyway and not is_ready(options.mailroom.indexes.root, model):
        raise Refused("conflict", f"The index of {model.model} is not ready; see `mailroom index model status`.")
    _serve(options, model, no_wait)


@app.command()
def back(context: typer.Context, no_wait: NoWait = False) -> None:
    """Let the model serve again that served before the last swap, without embedding anything again."""
    options = shared(context)
    serving = options.mailroom.embedders.serving_model()
    former = [
        m for m in options.mailroom.catalogue.embeddings.models() if m.served_until and m.digest != serving.digest
    ]
    if not former:
        raise Refused("conflict", "No model gave way to the one that serves: there is nothing to go back to.")
    _serve(options, max(former, key=lambda model: model.served_until or 0.0), no_wait)


@app.command()
def drop(
    context: typer.Context, name: Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Forget a model that does not serve: its vectors and its index. Only `build` brings it back."""
    from workers.services.rebuild import candidate_folder

    options = shared(context)
    model = options.mailroom.embedders.describe(name)
    _check_other(options, model)
    if not yes:
        typer.confirm(f"Forget the vectors of {model.model}?", abort=True, err=True)
    options.mailroom.catalogue.embeddings.drop(model.digest)
    options.mailroom.indexes.drop(candidate_folder(options.mailroom.indexes.root, model.digest))
    out.print(show.plain(f"dropped {model.model}"))


def _check_other(options: Context, model: EmbeddingModel) -> None:
    if model.digest == options.mailroom.embedders.serving_model().digest:
        raise Refused("conflict", f"{model.model} is the model that serves.")


def _serve(options: Context, model: EmbeddingModel, no_wait: bool) -> None:
    mailroom = options.mailroom
    mailroom.catalogue.embeddings.serve(
        model.digest, mailroom.embedders.serving_model(), options.settings.models.embedder
    )
    done = _drive(options, Served(mailroom.reader, model).look, no_wait)
    out.print(f"{model.model} serves" if done else f"the running writer lets {model.model} serve")


class Served:
    """Whether a reader has the index of a model. ``look`` raises Unavailable("index-unavailable") where, for a while, what is
    published cannot be opened."""

    def __init__(self, reader: IndexReader, model: EmbeddingModel) -> None:
        self._reader, self._model = reader, model
        self._failing_since: float | None = None

    def look(self) -> bool:
        served = self._reader.snapshot().embedder == self._model.digest
        if self._reader.problem is None:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = time.monotonic()
        elif not served and time.monotonic() - self._failing_since > STUCK_SECONDS:
            asked = f"{self._model.model} is to serve, but its index cannot be opened: {self._reader.problem}"
            raise Unavailable("index-unavailable", f"{asked} Mend that; the writer goes on with the swap by itself.")
        return served


def _drive(options: Context, done: Callable[[], bool], no_wait: bool) -> bool:
    """Until it is done: by the running writer, or here where none runs. False where it is not waited for."""
    try:
        writer = options.mailroom.indexer()
    except Refused:  # a running one holds the index
        if no_wait:
            return False
        while not done():
            time.sleep(LOOK_SECONDS)
        return True
    try:
        while True:
            writer.step()
            if done():
                return True
            time.sleep(0.02)
    except KeyboardInterrupt:
        err.print("Left as it is; the same command goes on with it.")
        raise
    finally:
        writer.close()


def _saved(mailroom: Mailroom) -> list[SearchRequest]:
    from workers.api.schemas.search import SearchBody

    asked = [SearchBody.model_validate(each.search).request() for each in mailroom.catalogue.queries.of_tenant()]
    if not asked:
        raise Refused("bad-request", "No query is saved; `mailroom queries create` saves one, --queries takes a file.")
    return asked


def _texts(file: Path) -> list[str]:
    texts = [line.rpartition("\t")[2].strip() for line in lines_of(file)]
    if not any(texts):
        raise Refused("bad-request", f"{file} holds no query.")
    return [text for text in texts if text]
