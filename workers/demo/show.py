"""What the demo prints."""

from __future__ import annotations

import datetime
import io
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.table import Table
from rich.text import Text

from workers.demo.samples_manifest import Sample

Json = Mapping[str, Any]
#: rich's template without the fonts that it would fetch from another host.
PICTURE = re.sub(r"@font-face {{.*?}}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def table(
    console: Console,
    samples: Sequence[Sample],
    documents: Mapping[str, Json],
    content_hash_of: Callable[[Sample], str],
    record_of: Callable[[str], Json],
) -> int:
    """One row per sample; returns how many came where the manifest expects them."""
    shown = Table(
        "file", "state", "type", "confident", "where it went, or why not", "pages", "chunks", "s", "as expected"
    )
    good = 0
    for sample in samples:
        document = documents.get(content_hash_of(sample))
        fits = document is not None and expected(sample, document)
        good += fits
        shown.add_row(*_row(sample, document, record_of), "yes" if fits else Text("NO", style="red"))
    console.print(shown)
    named = [(s, d) for s in samples if s.kinds and (d := documents.get(content_hash_of(s))) and d["label"]]
    right = sum(document["label"] in sample.kinds for sample, document in named)
    wrong = sum(d["state"] == "indexed" and d["label"] not in s.kinds for s, d in named)
    console.print(f"types: {right} of {len(named)} right; sure and wrong: {wrong}")
    return good


def expected(sample: Sample, document: Json) -> bool:
    """The state, and the reason where one is named. What needs OCR waits for a person where there is none."""
    if sample.needs == "tesseract" and shutil.which("tesseract") is None:
        return (document["state"], document["reason"]) == ("review", "no-text")
    reason_fits = sample.reason is None or document["state"] == "indexed" or document["reason"] == sample.reason
    return document["state"] in sample.states and reason_fits


def _row(sample: Sample, document: Json | None, record_of: Callable[[str], Json]) -> list[str]:
    if document is None:
        return [sample.path, "not seen", "", "", "", "", "", ""]
    confident = f"{document['probability']:.2f}" if document["probability"] is not None else ""
    return [
        sample.path,
        document["state"],
        document["label"] or "",
        confident,
        _place(sample, document, record_of(document["id"])),
        str(document["pages"] or ""),
        str(document["passages"] or ""),
        _seconds(document),
    ]


def _place(sample: Sample, document: Json, record: Json) -> str:
    if document["state"] != "indexed":
        return f"{document['reason']}: {document['detail']}"
    if sample.duplicate_of:
        return f"the same content as {sample.duplicate_of}"
    receipts = [e["data"].get("receipt") for e in record["events"] if e["stage"] == "deliver" and e["event"] == "done"]
    return ", ".join(f"filed/{receipt}" for receipt in receipts if receipt)


def _seconds(document: Json) -> str:
    if not document["finished_at"]:
        return ""
    first, last = (datetime.datetime.fromisoformat(document[k]) for k in ("received_at", "finished_at"))
    return f"{(last - first).total_seconds():.1f}"


def search(console: Console, query: str, page: Json) -> None:
    """The best passages, the query's words marked."""
    console.print(f"\nsearch: {query}", style="bold", markup=False)
    for item in page["items"][:3]:
        text = Text(item["text"])
        for start, end in item["highlights"]:
            text.stylize("bold yellow", start, end)
        first = item["highlights"][0][0] if item["highlights"] else 0
        at = max(0, first - 60)
        where = f"{item['document_name']}" + (f", page {item['page_first']}" if item["page_first"] else "")
        console.print(Text(f"  {where}: ", style="cyan") + on_one_line(text[at : at + 160]))


def on_one_line(text: Text) -> Text:
    """Line breaks as spaces, marks where they were."""
    return Text("".join(c if c.isprintable() else " " for c in text.plain), spans=text.spans)


def answer(console: Console, told: Json) -> None:
    """The quotes with their places, or the honest refusal."""
    console.print(f"\nquestion: {told['question']}", style="bold", markup=False)
    if not told["answered"]:
        nearest = ", ".join(dict.fromkeys(each["document_name"] for each in told["nearest"][:3]))
        console.print(f"  {told['answer']} Nearest: {nearest}", markup=False)
        return
    for quote in told["quotes"]:
        page = f", page {quote['page']}" if quote["page"] else ""
        console.print(f"  “{quote['text']}”", markup=False)
        console.print(
            f"    {quote['document_name']}{page}, characters {quote['start']}-{quote['end']}",
            style="cyan",
            markup=False,
        )


def save_picture(path: Path, width: int, draw: Callable[[Console], object]) -> None:
    """Write what ``draw`` prints to a console of ``width`` columns as an SVG file."""
    recorder = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    draw(recorder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(recorder.export_svg(title="make demo", code_format=PICTURE, unique_id="demo"), encoding="utf-8")
