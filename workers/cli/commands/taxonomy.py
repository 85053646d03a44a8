"""taxonomy list, rename, merge, split, retire, history, undo: the house's labels over the model's."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.context import Context, out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

if TYPE_CHECKING:
    from workers.services.taxonomy import RecordedChange

app = typer.Typer(help="The house's labels: change them, look back, take back.", no_args_is_help=True)
Reason = Annotated[str, typer.Option(help="For the record.")]


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """The labels of today."""
    labels = shared(context).mailroom.taxonomy.labels()
    if as_json:
        show.print_json(labels)
        return
    for label in labels:
        out.print(show.plain(label))


@app.command()
def rename(context: typer.Context, label: str, into: str, reason: Reason = "", as_json: AsJson = False) -> None:
    """Call a label differently from now on."""
    _change(shared(context), "rename", [label], [into], reason, as_json)


@app.command()
def merge(
    context: typer.Context,
    labels: list[str],
    into: Annotated[str, typer.Option(help="The label they become; a new one or one of them.")],
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Make several labels one."""
    _change(shared(context), "merge", labels, [into], reason, as_json)


@app.command()
def split(
    context: typer.Context,
    label: str,
    into: Annotated[list[str], typer.Option(help="A part. Repeatable, two or more; the label itself may be one.")],
    relabel: Annotated[Path, typer.Option("--list", help="Where to write the documents to be labelled anew, as CSV.")],
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Make one label several. Until a model that knows them is in force, its documents go to review."""
    options = shared(context)
    taxonomy = options.mailroom.taxonomy
    listed = taxonomy.write_list(label, relabel)
    try:
        changed = taxonomy.change("split", [label], into, _who(), reason)
    except BaseException:
        relabel.unlink()
        raise
    if as_json:
        show.print_json({**asdict(changed), "list": str(relabel), "listed": listed})
        return
    _tell(changed)
    path = shlex.quote(str(relabel))
    out.print(show.plain(f"{listed} documents are in {relabel}: fill in the column label, then run"))
    out.print(show.plain(f"  mailroom train --labels {path} --labels LIST"))
    out.print(
        "where LIST has the examples of all other labels (or --reviews does): a model knows only what it was shown."
    )


@app.command()
def retire(context: typer.Context, label: str, reason: Reason = "", as_json: AsJson = False) -> None:
    """Use a label no longer."""
    _change(shared(context), "retire", [label], [], reason, as_json)


@app.command()
def undo(context: typer.Context, reason: Reason = "", as_json: AsJson = False) -> None:
    """Take back the latest operation that stands; a repeat takes back the one before."""
    _print(shared(context).mailroom.taxonomy.undo(_who(), reason), as_json)


@app.command()
def history(context: typer.Context, as_json: AsJson = False) -> None:
    """Every operation, oldest first."""
    operations = shared(context).mailroom.taxonomy.operations()
    if as_json:
        show.print_json([asdict(operation) for operation in operations])
        return
    undone = {operation.undoes for operation in operations if operation.undoes}
    rows = []
    for each in operations:
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(each.at))
        state = "undone" if each.id in undone else ""
        rows.append((when, each.who, each.kind, ", ".join(each.labels), ", ".join(each.into), state, each.reason))
    show.table(("when (UTC)", "who", "what", "labels", "into", "", "reason"), rows)


def _change(
    options: Context, kind: str, labels: Sequence[str], into: Sequence[str], reason: str, as_json: bool
) -> None:
    _print(options.mailroom.taxonomy.change(kind, labels, into, _who(), reason), as_json)


def _print(changed: RecordedChange, as_json: bool) -> None:
    if as_json:
        show.print_json(asdict(changed))
    else:
        _tell(changed)


def _tell(changed: RecordedChange) -> None:
    made = changed.operation
    out.print(show.plain(f"{made.kind}: {', '.join(made.labels) or '-'} -> {', '.join(made.into) or '-'}"))
    out.print("Verdicts follow with the next document. To take it back: mailroom taxonomy undo")
    if changed.documents:
        types = " ".join(f"--type {shlex.quote(label)}" for label in changed.borne)
        out.print(
            show.plain(f"{changed.documents} filed documents bear the old label; to see what would become of them:")
        )
        out.print(show.plain(f"  mailroom reclassify plan {types}"))
    if changed.rules:
        out.print(show.plain(f"Rules that name the old label and not the new one: {', '.join(changed.rules)}"))


def _who() -> str:
    from workers.services.promotion import current_user

    return current_user()
