"""why, approve: how a verdict came about, and a person's decision instead of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from workers.cli.context import err, out, shared
from workers.cli.options import AsJson
from workers.cli.output import show


def why(context: typer.Context, document_id: str, as_json: AsJson = False) -> None:
    """What moved a document's verdict most, and the nearest documents that people labelled."""
    found = shared(context).gateway.why(document_id)
    if as_json:
        show.print_json(found)
        return
    confident = "confident" if found["confident"] else "not sure"
    limit = "never" if found["threshold"] > 1 else f"from {found['threshold']:.4g}"
    show.fields(
        {
            "prediction": f"{found['label']} at {found['probability']:.4f} ({confident}; sure {limit})",
            "next": found["runner_up"],
            "model": found["model"],
            "recorded": f"{found['recorded']} by {found['recorded_by'] or 'nobody'}",
            "judged": f"{found['passes']} variants of the text",
        }
    )
    out.print()
    show.table(("influence", "p without", "page", "place", "text"), (_span_row(span) for span in found["spans"]))
    if found["examples"]:
        out.print("\nNearest documents that people labelled:")
        columns = ("similarity", "label", "document", "name", "passage")
        show.table(columns, (_example_row(example) for example in found["examples"]))
    else:
        err.print("No other document near it has a label that a person gave; see `mailroom approve`.")


def approve(
    context: typer.Context,
    document_id: str,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Its right label; repeatable, it is filed under the first. Default: what it has."),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="The house does not have these labels yet.")] = False,
    as_json: AsJson = False,
) -> None:
    """Decide yourself: the document is filed under the label, leaves the review, and becomes an example to learn from."""
    document = shared(context).gateway.approve(document_id, label or [], new)
    if as_json:
        show.print_json(document)
        return
    named = " and ".join([document["label"], *(label or [])[1:]])
    out.print(show.plain(f"{document['name']} is {named}, {document['state']}"))


def _span_row(span: dict[str, Any]) -> tuple[object, ...]:
    place = f"{span['start']}-{span['end']}"
    return (f"{span['influence']:+.2f}", f"{span['without']:.3f}", span["page"], place, _line(span["text"]))


def _example_row(example: dict[str, Any]) -> tuple[object, ...]:
    known = (example["label"], example["document_id"], example["document_name"])
    return (f"{example['similarity']:.2f}", *known, _line(example["text"]))


def _line(text: str) -> str:
    """The beginning, on one line; --json has the whole."""
    flat = " ".join(text.split())
    return flat if len(flat) <= 160 else f"{flat[:157]}..."
