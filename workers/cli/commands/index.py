"""index rebuild, status, advise: what search reads, made anew, looked at and measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import Refused
from workers.cli.commands import advise, migrate, remodel
from workers.cli.context import Context, out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

if TYPE_CHECKING:
    from pipeline.ports import IndexWriter

app = typer.Typer(help="The search index.", no_args_is_help=True)
app.command("advise")(advise.advise)
app.command("migrate")(migrate.migrate)
app.add_typer(remodel.app, name="model")
#: Seconds for a running writer to publish the rebuilt index.
PATIENCE = 24 * 3600.0
NoWait = Annotated[bool, typer.Option("--no-wait", help="Ask the running writer, and do not wait for it.")]


@app.command()
def rebuild(context: typer.Context, no_wait: NoWait = False) -> None:
    """Make the index anew from the catalogue's texts and vectors, without embedding again. Search goes on meanwhile; a
    rebuild that was interrupted goes on where it was."""
    options = shared(context)
    try:
        writer = options.mailroom.writer
    except Refused:  # a running writer holds the index: it does the work
        generation = _ask_the_writer(options, no_wait)
    else:
        generation = _rebuild_here(options, writer)
    out.print(f"generation {generation}" if generation else "the running writer rebuilds")


def _rebuild_here(options: Context, writer: IndexWriter) -> str:
    from workers.services.rebuild import Rebuild

    catalogue = options.mailroom.catalogue
    with show.progress() as bar:
        task = bar.add_task("documents", total=sum(catalogue.documents.counts().values()))
        again = Rebuild(catalogue.chunks, options.mailroom.indexes, writer)
        while not again.run_for(1.0):
            bar.update(task, completed=again.documents_done)
        bar.update(task, completed=again.documents_done)
    options.mailroom.indexer().step()  # what the catalogue finished meanwhile
    return options.mailroom.indexes.reader().snapshot().generation


def _ask_the_writer(options: Context, no_wait: bool) -> str | None:
    from workers.indexer.writer import REQUEST

    request = options.settings.index_path / REQUEST
    request.touch()
    if no_wait:
        return None
    deadline = time.monotonic() + PATIENCE
    with show.progress() as bar:
        bar.add_task("the running writer rebuilds", total=None)
        while time.monotonic() < deadline:
            if not request.exists():
                return options.mailroom.reader.snapshot().generation
            time.sleep(0.2)
    raise Refused("conflict", "The writer did not finish; see logs/writer.log in the data folder.")


@app.command()
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """The current generation: its segments, their kinds and sizes, and what is wrong with it, if anything is. ``behind``: how
    many documents it lacks that the catalogue calls searchable."""
    from workers.services.missing import missing_from_index

    mailroom = shared(context).mailroom
    facts = mailroom.indexes.describe() | {
        "behind": len(missing_from_index(mailroom.catalogue.documents, mailroom.reader))
    }
    if as_json:
        show.print_json(facts)
        return
    show.fields({"index": {name: value for name, value in facts.items() if name != "segments"}})
    show.table(("kind", "rows", "documents gone"), (tuple(s.values()) for s in facts.get("segments", ())))
