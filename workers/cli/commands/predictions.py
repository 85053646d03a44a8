"""why, approve: what caused a prediction, and a person's decision instead of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from workers.cli.context import err, out, shared
from workers.cli.options import AsJson
from workers.cli.output import show


def why(context: typer.Context, document_id: str, as_json: AsJson = False) -> None:
    """Show what influenced a document's prediction most. The nearest documents that people labelled follow."""
    explanation = shared(context).gateway.why(document_id)
    if as_json:
        show.print_json(explanation)
        return
    confident = "above the threshold" if explanation["confident"] else "under the threshold"
    threshold = "none" if explanation["threshold"] > 1 else f"{explanation['threshold']:.4g}"
    show.fields(
        {
            "prediction": f"{explanation['label']} at {explanation['probability']:.4f} ({confident}: {threshold})",
            "next": explanation["runner_up"],
            "model": explanation["model"],
            "recorded": f"{explanation['recorded']} by {explanation['recorded_by'] or 'nobody'}",
            "classified": f"{explanation['passes']} variants of the text",
        }
    )
    out.print()
    show.table(("influence", "p without", "page", "place", "text"), map(_span_row, explanation["spans"]))
    if explanation["examples"]:
        out.print("\nNearest documents that people labelled:")
        columns = ("similarity", "label", "document", "name", "passage")
        show.table(columns, map(_example_row, explanation["examples"]))
    else:
        err.print("No other document near it has a label that a person assigned; see `mailroom approve`.")


def approve(
    context: typer.Context,
    document_id: str,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Its right label; repeatable, it is filed under the first. Default: the one it has."),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="These labels are new to the taxonomy.")] = False,
    as_json: AsJson = False,
) -> None:
    """Decide a document's label yourself. It is filed, leaves review, and becomes a training example."""
    document = shared(context).gateway.approve(document_id, label or [], new)
    if as_json:
        show.print_json(document)
        return
    labels = " and ".join([document["label"], *(label or [])[1:]])
    out.print(show.plain(f"{document['name']} is {labels}, {document['state']}"))


def _span_row(span: dict[str, Any]) -> tuple[object, ...]:
    place = f"{span['start']}-{span['end']}"
    return f"{span['influence']:+.2f}", f"{span['without']:.3f}", span["page"], place, show.line(span["text"])


def _example_row(example: dict[str, Any]) -> tuple[object, ...]:
    names = (example["label"], example["document_id"], example["document_name"])
    return f"{example['similarity']:.2f}", *names, show.line(example["text"])
