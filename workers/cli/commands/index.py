"""index rebuild, status, and the commands of other modules: the search index, built anew, inspected and measured."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.commands import advise, index_models, migrate
from workers.cli.context import out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

app = typer.Typer(help="The search index.", no_args_is_help=True)
app.command("advise")(advise.advise)
app.command("migrate")(migrate.migrate)
app.add_typer(index_models.app, name="model")
NoWait = Annotated[bool, typer.Option("--no-wait", help="Leave it to the running writer, and do not wait.")]


@app.command()
def rebuild(context: typer.Context, no_wait: NoWait = False) -> None:
    """Build the index anew from the catalogue, without embedding.

    Search continues meanwhile; an interrupted rebuild resumes.
    """
    maintenance = shared(context).mailroom.index_maintenance
    with show.progress() as bar:
        task = bar.add_task("documents", total=maintenance.document_count())
        generation = maintenance.rebuild(not no_wait, lambda done: bar.update(task, completed=done))
    out.print(f"generation {generation}" if generation else "the running writer rebuilds")


@app.command()
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the current generation and what is wrong with it.

    It has segments with their kinds and sizes. ``behind``: how many searchable documents are missing from it.
    """
    from workers.services.missing import missing_from_index

    mailroom = shared(context).mailroom
    behind = len(missing_from_index(mailroom.catalogue.documents, mailroom.reader))
    state = {**mailroom.indexes.describe(), "behind": behind}
    if as_json:
        show.print_json(state)
        return
    show.fields({"index": {name: value for name, value in state.items() if name != "segments"}})
    show.table(("kind", "rows", "documents deleted"), (tuple(s.values()) for s in state.get("segments", ())))
