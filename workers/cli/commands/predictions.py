"""why, approve: what caused a prediction, and a person's decision instead of it."""

from __future__ import annotations

from typing import Annotated

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
    spans = (
        (f"{s['influence']:+.2f}", f"{s['without']:.3f}", s["page"], f"{s['start']}-{s['end']}", show.line(s["text"]))
        for s in explanation["spans"]
    )
    show.table(("influence", "p without", "page", "place", "text"), spans)
    if explanation["examples"]:
        out.print("\nNearest documents that people labelled:")
        columns = ("similarity", "label", "document", "name", "passage")
        examples = (
            (f"{e['similarity']:.2f}", e["label"], e["document_id"], e["document_name"], show.line(e["text"]))
            for e in explanation["examples"]
        )
        show.table(columns, examples)
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
