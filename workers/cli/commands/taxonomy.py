"""taxonomy list, rename, merge, split, retire, history, undo: the organisation's labels instead of the model's."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.errors import Refused
from workers.cli.context import Gateway, every_document, out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

app = typer.Typer(help="The labels: change them, see their history, undo.", no_args_is_help=True)
Reason = Annotated[str, typer.Option(help="For the record.")]


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the current labels."""
    labels = shared(context).gateway.taxonomy()["labels"]
    if as_json:
        show.print_json(labels)
        return
    for label in labels:
        out.print(show.plain(label))


@app.command()
def rename(context: typer.Context, label: str, into: str, reason: Reason = "", as_json: AsJson = False) -> None:
    """Rename a label from now on."""
    _print(_change(context, "rename", [label], [into], reason), as_json)


@app.command()
def merge(
    context: typer.Context,
    labels: list[str],
    into: Annotated[str, typer.Option(help="The label they become; a new one or one of them.")],
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Make several labels one."""
    _print(_change(context, "merge", labels, [into], reason), as_json)


@app.command()
def split(
    context: typer.Context,
    label: str,
    into: Annotated[list[str], typer.Option(help="A part. Repeatable, two or more; the label itself may be one.")],
    file: Annotated[Path, typer.Option("--list", help="Where to write the documents to be labelled anew, as CSV.")],
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Make one label several. Until a model that knows them is active, its documents go to review."""
    count = _write_documents(shared(context).gateway, label, file)
    try:
        receipt = _change(context, "split", [label], into, reason)
    except BaseException:
        file.unlink()
        raise
    if as_json:
        show.print_json({**receipt, "list": str(file), "listed": count})
        return
    _print(receipt, False)
    out.print(show.plain(f"{count} documents are in {file}: fill in the column label, then run"))
    out.print(show.plain(f"  mailroom train --labels {shlex.quote(str(file))} --labels LIST"))
    out.print("where LIST has examples of all other labels (or --reviews does): a model knows only what it was shown.")


@app.command()
def retire(context: typer.Context, label: str, reason: Reason = "", as_json: AsJson = False) -> None:
    """Stop using a label."""
    _print(_change(context, "retire", [label], [], reason), as_json)


@app.command()
def undo(context: typer.Context, reason: Reason = "", as_json: AsJson = False) -> None:
    """Undo the latest operation that is not undone. A repeat undoes the one before."""
    _print(shared(context).gateway.undo_taxonomy(reason), as_json)


@app.command()
def history(context: typer.Context, as_json: AsJson = False) -> None:
    """List every operation, oldest first."""
    operations = shared(context).gateway.taxonomy()["operations"]
    if as_json:
        show.print_json(operations)
        return
    undone = {operation["undoes"] for operation in operations if operation["undoes"]}
    rows = (
        (
            operation["at"][:16].replace("T", " "),
            operation["who"],
            operation["kind"],
            ", ".join(operation["labels"]),
            ", ".join(operation["into"]),
            "undone" if operation["id"] in undone else "",
            operation["reason"],
        )
        for operation in operations
    )
    show.table(("when (UTC)", "who", "what", "labels", "into", "", "reason"), rows)


def _change(
    context: typer.Context, kind: str, labels: Sequence[str], into: Sequence[str], reason: str
) -> dict[str, Any]:
    change = {"kind": kind, "labels": list(labels), "into": list(into), "reason": reason}
    return shared(context).gateway.change_taxonomy(change)


def _write_documents(gateway: Gateway, label: str, file: Path) -> int:
    """Write the documents with a label as a CSV to be filled in: document, label (empty), name. Return how many.

    Raises Refused("conflict") if the file exists.
    """
    from pipeline.taxonomy import Operation
    from workers.services.sheet import open_sheet
    from workers.services.taxonomy import all_names

    operations = [Operation(**operation) for operation in gateway.taxonomy()["operations"]]
    if file.exists():
        raise Refused("conflict", f"{file} is there already; choose another name.")
    filters = {"label": all_names(label, operations), "state": ["indexed", "review"], "revisions": "all"}
    count = 0
    with open_sheet(file, ("document", "label", "name")) as write:
        for document in every_document(gateway, filters, order="oldest"):
            write((document["id"], "", document["name"]))
            count += 1
    return count


def _print(receipt: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show.print_json(receipt)
        return
    operation = receipt["operation"]
    labels, into = (", ".join(operation[name]) or "-" for name in ("labels", "into"))
    out.print(show.plain(f"{operation['kind']}: {labels} -> {into}"))
    out.print("Predictions follow with the next document. To undo it: mailroom taxonomy undo")
    if receipt["documents"]:
        types = " ".join(f"--type {shlex.quote(label)}" for label in receipt["old_labels"])
        out.print(show.plain(f"{receipt['documents']} filed documents have the old label; to see what would change:"))
        out.print(show.plain(f"  mailroom reclassify plan {types}"))
    if receipt["rules"]:
        out.print(show.plain(f"Rules that name the old label and not the new one: {', '.join(receipt['rules'])}"))
