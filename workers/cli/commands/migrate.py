"""index migrate: the index copied to another place from the catalogue's texts and vectors, without embedding again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import Misconfigured, Refused
from workers.cli.context import Context, out, shared
from workers.cli.output import show

if TYPE_CHECKING:
    from indexes.places import Indexes

#: What stands for FAISS and Tantivy in the folder of the settings.
FOLDER = "folder"
To = Annotated[str, typer.Option("--to", help="milvus+http://HOST:19530/DATABASE, or `folder` for FAISS and Tantivy.")]


def migrate(context: typer.Context, to: To) -> None:
    """Copy the index to another place, while the present one serves. Goes on where it was interrupted. Nothing is switched:
    a setting, printed in the end, does that, and what came meanwhile is added then."""
    from indexes.open import open_indexes

    options = shared(context)
    url, index = "" if to == FOLDER else to, options.settings.index
    if url == index.url:
        raise Refused("bad-request", "The index stands there already; `mailroom index rebuild` makes it anew.")
    target = open_indexes(url, options.settings.index_path, index.kind)
    begun = _copy(options, target)
    documents, passages = _verified(options, target, begun)
    out.print(f"{documents} documents, {passages} passages: counted there, none is missing")
    switch = "index.url to the URL that you gave" if url else "index.url to nothing"
    out.print(show.plain(f"To search there: set {switch}, and start Mailroom again."))


def _copy(options: Context, target: Indexes) -> float:
    """Returns when it was begun: what the catalogue finished later may be missing."""
    from workers.services.rebuild import Rebuild

    catalogue = options.mailroom.catalogue
    writer = target.writer(options.mailroom.embedders.serving_model())
    try:
        with show.progress() as bar:
            task = bar.add_task("documents", total=sum(catalogue.documents.counts().values()))
            again = Rebuild(catalogue.chunks, target, writer)
            try:
                while not again.run_for(1.0):
                    bar.update(task, completed=again.documents_done)
            finally:
                again.close()
            bar.update(task, completed=again.documents_done)
        return again.started_at
    finally:
        writer.close()


def _verified(options: Context, target: Indexes, begun: float) -> tuple[int, int]:
    """(documents, passages) that are there. Raises Misconfigured("bad-index") where that is not all."""
    from pipeline.questions import ADMINISTRATOR, Filters
    from workers.indexer.writer import CLOCK_SECONDS

    documents = options.mailroom.catalogue.documents
    expected = documents.visible(ADMINISTRATOR, Filters()) - documents.finished_since(begun - CLOCK_SECONDS)
    snapshot = target.reader().snapshot()
    missing = expected - snapshot.numbers
    counted, told = target.counts(), (len(snapshot.numbers), len(snapshot.lexical))
    if missing or counted != told:
        detail = f"{len(missing)} documents are missing there; {counted} documents and passages are stored, not {told}."
        raise Misconfigured("bad-index", f"{detail} Nothing was switched; run the same command again.")
    return counted
