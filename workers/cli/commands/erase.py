"""erase: documents by id, or all that name a person or thing; and the verification of receipts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.errors import Refused
from workers.cli.context import Context, Gateway, err, every_document, out, shared
from workers.cli.options import Yes
from workers.cli.output import show

#: The first argument that stands for a receipt's verification instead of a document.
VERIFY = "verify"
POLL_SECONDS = 0.5
#: Passages of one page of a search, and the most that a search returns.
PAGE, MAX_PASSAGES = 100, 1000


def erase(
    context: typer.Context,
    documents: Annotated[list[str] | None, typer.Argument(help="Ids of documents; or: verify RECEIPT.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="Every document that has these words in its text, name, place or metadata.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be erased.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the receipt and print it.")] = False,
    public_key: Annotated[
        str | None, typer.Option(help="For verify: the public key, where it is not this installation's.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Erase documents from every store, with a receipt. `mailroom erase verify RECEIPT` verifies one."""
    ids = documents or []
    if ids[:1] == [VERIFY]:
        _verify(shared(context), ids[1:], public_key)
        return
    if bool(ids) == bool(subject):
        raise typer.BadParameter("name documents, or use --subject")
    gateway = shared(context).gateway
    matches = list(_of_subject(gateway, subject)) if subject else [(gateway.document(id), "named") for id in ids]
    rows = ((d["id"], d["name"], d["source"], d["path"], why) for d, why in matches)
    show.table(("id", "name", "source", "path", "found in"), rows)
    if dry_run or not matches:
        out.print(f"{len(matches)} documents; nothing was erased")
        return
    if not yes:
        typer.confirm(f"Erase {len(matches)} documents and what is attached to them?", abort=True, err=True)
    erasures = gateway.erase([document["id"] for document, _ in matches])
    for erasure in erasures:
        out.print(f"erasure {erasure}")
        if wait:
            while not (receipt := gateway.erasure(erasure)["receipt"]):
                time.sleep(POLL_SECONDS)
            show.print_json(receipt)


def _of_subject(gateway: Gateway, subject: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each document that names a subject, with where it does: text, name, place or metadata."""
    in_text = set(_with_text(gateway, subject))
    words = " ".join(subject.lower().split())
    for document in every_document(gateway, {}):
        metadata = document.get("metadata") or {}
        values = {
            "name": f"{document['name']} {document.get('title') or ''}",
            "place": f"{document['source']}/{document['path']}",
            "metadata": " ".join([*metadata, *map(str, metadata.values())]),
        }
        places = [place for place, value in values.items() if words in " ".join(value.lower().split())]
        if places or document["id"] in in_text:
            yield document, ", ".join((["text"] if document["id"] in in_text else []) + places)


def _with_text(gateway: Gateway, subject: str) -> Iterator[str]:
    """Yield the ids of the documents whose text has the words of a subject one after another."""
    phrase = " ".join(subject.replace('"', " ").split())
    options = {"mode": "lexical", "k": PAGE, "per_document": 1, "collapse": False}
    for offset in range(0, MAX_PASSAGES if phrase else 0, PAGE):
        items = gateway.search(f'"{phrase}"', {}, offset=offset, **options)["items"]
        yield from (item["document_id"] for item in items)
        if len(items) < PAGE:
            return
    if phrase:
        err.print(f"only the first {MAX_PASSAGES} documents with these words in their text are listed: run it again")


def _verify(context: Context, files: Sequence[str], public_key: str | None) -> None:
    """Verify a receipt, by the key of this installation unless another one is named."""
    from workers.services.installation_key import InstallationKey, verify_receipt

    if len(files) != 1:
        raise typer.BadParameter("name one file with a receipt")
    try:
        receipt = json.loads(Path(files[0]).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused("bad-request", f"{files[0]} cannot be read as a receipt: {error}") from error
    verify_receipt(receipt, public_key or InstallationKey(context.settings.home).public)
    out.print(f"the receipt of erasure {receipt['erasure']} is genuine: {len(receipt['documents'])} documents")
