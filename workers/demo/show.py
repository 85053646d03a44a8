"""What the demo prints."""

from __future__ import annotations

import datetime
import io
import re
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.table import Table
from rich.text import Text

from workers.cli.output.show import STATE_COLOURS
from workers.demo.samples_manifest import Sample

Json = Mapping[str, Any]
#: Rich's template without the fonts that it would fetch from another host.
PICTURE = re.sub(r"@font-face {{.*?}}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
#: Columns of a terminal from which the table also shows pages, chunks and seconds.
WIDE = 110
#: Columns that everything but file names needs.
REST_COLUMNS, WIDE_REST_COLUMNS = 48, 72
#: Characters of a passage that are shown, and of those before the first highlight.
EXCERPT, BEFORE = 160, 60
LOW_CONFIDENCE = "The classifier's confidence is under the threshold of the type, so a person decides."


@dataclass(frozen=True, slots=True)
class SampleOutcome:
    """The result of a sample. ``document`` is None if it was not received; ``receipts`` are where it was filed."""

    sample: Sample
    document: Json | None
    receipts: Sequence[str]

    @property
    def expected(self) -> bool:
        """Whether state and reason are what the manifest allows. Without an OCR program, scans wait in review."""
        document, sample = self.document, self.sample
        if document is None:
            return False
        if sample.needs == "tesseract" and shutil.which("tesseract") is None:
            return (document["state"], document["reason"]) == ("review", "no-text")
        reason_fits = sample.reason is None or document["state"] == "indexed" or document["reason"] == sample.reason
        return document["state"] in sample.states and reason_fits

    @property
    def place(self) -> str:
        """The folders that the document was filed in, or in a few words why it was not filed."""
        if self.document is None:
            return "not received"
        if self.document["state"] != "indexed":
            return f"{self.document['state']}: {self.document['reason']}"
        return ", ".join(Path(receipt).parent.as_posix() for receipt in self.receipts)

    @property
    def seconds(self) -> str:
        """The seconds from arrival to the end, empty before the end."""
        if self.document is None or not self.document["finished_at"]:
            return ""
        times = (datetime.datetime.fromisoformat(self.document[name]) for name in ("received_at", "finished_at"))
        received, finished = times
        return f"{(finished - received).total_seconds():.1f}"

    @property
    def reason(self) -> str:
        """The sentence behind `place`; empty if there is nothing to explain."""
        if self.document is None:
            return ""
        if self.document["state"] == "indexed":
            return (
                f"The same content as {self.sample.duplicate_of}; a search shows it once."
                if self.sample.duplicate_of
                else ""
            )
        return LOW_CONFIDENCE if self.document["reason"] == "low-confidence" else str(self.document["detail"])


def table(console: Console, outcomes: Sequence[SampleOutcome]) -> None:
    """Print a row for each sample, grouped by folder, and below the table each reason for not filing one, once."""
    wide = console.width >= WIDE
    columns = ["file", "type", "conf.", "filed in, or why not", *(["pages", "chunks", "s"] if wide else [])]
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold underline")
    for name in columns:
        grid.add_column(name, justify="right" if name in ("conf.", "pages", "chunks", "s") else "left")
    name_width = console.width - (WIDE_REST_COLUMNS if wide else REST_COLUMNS)
    folder = ""
    for outcome in outcomes:
        parent = Path(outcome.sample.path).parent.as_posix()
        if parent != folder:
            grid.add_row(Text(f"{parent}/", style="cyan"))
            folder = parent
        grid.add_row(*_cells(outcome, name_width)[: len(columns)])
    console.print(grid)
    _reasons(console, outcomes)


def _cells(outcome: SampleOutcome, name_width: int) -> list[Text]:
    document = outcome.document or {"state": "failed", "label": "", "probability": None, "pages": "", "passages": ""}
    name = "\n".join(textwrap.wrap(Path(outcome.sample.path).name, name_width - 1))
    return [
        Text(f" {name}".replace("\n", "\n "), style="" if outcome.expected else "red"),
        Text(document["label"] or ""),
        Text("" if document["probability"] is None else f"{document['probability']:.2f}"),
        Text(outcome.place, style="" if document["state"] == "indexed" else STATE_COLOURS[document["state"]]),
        Text(str(document["pages"] or "")),
        Text(str(document["passages"] or "")),
        Text(outcome.seconds),
    ]


def _reasons(console: Console, outcomes: Sequence[SampleOutcome]) -> None:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for place, reason in dict.fromkeys((outcome.place, outcome.reason) for outcome in outcomes if outcome.reason):
        grid.add_row(Text(place), Text(reason))
    if grid.rows:
        console.print()
        console.print(grid)
    unexpected = [outcome.sample.path for outcome in outcomes if not outcome.expected]
    if unexpected:
        console.print(Text(f"\nNot as expected: {', '.join(unexpected)}", style="red"))


def types(console: Console, outcomes: Sequence[SampleOutcome]) -> None:
    """Print how many types are right, of the samples that have one."""
    typed = [(o.sample, o.document) for o in outcomes if o.sample.kinds and o.document and o.document["label"]]
    right = sum(document["label"] in sample.kinds for sample, document in typed)
    wrong = sum(d["state"] == "indexed" and d["label"] not in s.kinds for s, d in typed)
    console.print(f"\ntypes: {right} of {len(typed)} right; filed under a wrong one: {wrong}")


def search(console: Console, query: str, page: Json) -> None:
    """Print the best passages, with the words of the query highlighted."""
    console.print(f"\nsearch: {query}", style="bold", markup=False)
    for item in page["items"][:3]:
        text = Text(item["text"])
        for start, end in item["highlights"]:
            text.stylize("bold yellow", start, end)
        first = item["highlights"][0][0] if item["highlights"] else 0
        place = item["document_name"] + (f", page {item['page_first']}" if item["page_first"] else "")
        console.print(Text.assemble((f"  {place}: ", "cyan"), _excerpt(text, max(0, first - BEFORE))))


def _excerpt(text: Text, start: int) -> Text:
    """Return whole words from about ``start`` on, with spaces for line breaks and the highlights where they were."""
    line = Text("".join(c if c.isprintable() else " " for c in text.plain), spans=text.spans)
    start = line.plain.rfind(" ", 0, start) + 1
    end = line.plain.rfind(" ", start, start + EXCERPT) if len(line) > start + EXCERPT else len(line)
    return line[start:end]


def answer(console: Console, response: Json) -> None:
    """Print the quotes with their places, or that there is no answer."""
    console.print(f"\nquestion: {response['question']}", style="bold", markup=False)
    if not response["answered"]:
        nearest = ", ".join(dict.fromkeys(passage["document_name"] for passage in response["nearest"][:3]))
        console.print(f"  {response['answer']} Nearest: {nearest}", markup=False)
        return
    for quote in response["quotes"]:
        page = f", page {quote['page']}" if quote["page"] else ""
        place = f"    {quote['document_name']}{page}, characters {quote['start']}-{quote['end']}"
        console.print(f"  “{quote['text']}”", markup=False)
        console.print(place, style="cyan", markup=False)


def save_picture(path: Path, width: int, draw: Callable[[Console], object]) -> None:
    """Write what ``draw`` prints to a console of ``width`` columns as an SVG file."""
    recorder = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, highlight=False)
    draw(recorder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(recorder.export_svg(title="make demo", code_format=PICTURE, unique_id="demo"), encoding="utf-8")
