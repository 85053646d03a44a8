"""Compare our PDF reader with pdfminer, on which unstructured's "fast" strategy is built: CPU seconds and words found.

    pip install pdfminer.six      # in a scratch environment; the product does not use it
    MAILROOM_DATA=... python -m tests.benchmarks.pdf_readers

For each file: CPU seconds of both (one process, warm), the share of pdfminer's words that ours finds too (as
multisets), and the share of ours that pdfminer finds. Files that one of the two cannot open, and files without words,
are counted separately.
"""

from __future__ import annotations

import collections
import re
import statistics
import time
from pathlib import Path
from typing import Any

from rich.progress import track

from pipeline.parse import ParseLimits, shim
from pipeline.parse.findings import Findings
from tests.benchmarks.parse_files import documents
from tests.benchmarks.record import public_data, record

_WORD = re.compile(r"\w+")
_LARGEST = 3_000_000  # bytes: pdfminer needs minutes for more


def ours(path: Path) -> tuple[str, int, int]:
    """Return (text, pages, elements) of our reader, without OCR."""
    from pipeline.parse.readers import pdf

    findings = Findings(ParseLimits(), path.name, "pdf")
    with path.open("rb") as file:
        pdf.read(file, findings)
    return "\n".join(element.text for element in findings.elements), findings.pages, len(findings.elements)


def theirs(path: Path) -> str:
    """Return the text that pdfminer reads."""
    from pdfminer.high_level import extract_text

    # Words broken at the end of a line are joined, as our reader does: the comparison is about words.
    return re.sub(r"(?<=[a-z])[-\u00ad]\n(?=[a-z])", "", extract_text(str(path)))


def timed(reader: Any, path: Path) -> tuple[Any, float]:
    """Return a reader's result (None if it fails) and its CPU seconds."""
    begin = time.process_time()
    try:
        result = reader(path)
    except Exception:  # any failure of either reader counts as "cannot open"
        result = None
    return result, time.process_time() - begin


def recall(reference: str, text: str) -> float:
    """Return the share of the reference's words that the text has, each as often as it occurs."""
    a, b = (collections.Counter(_WORD.findall(part.lower())) for part in (reference, text))
    return sum((a & b).values()) / max(1, sum(a.values()))


def main() -> None:
    shim.install()
    paths = [
        p for p in documents(public_data() / "files") if p.suffix.lower() == ".pdf" and p.stat().st_size < _LARGEST
    ]
    ours(paths[0]), timed(theirs, paths[0])
    rows, failed = [], collections.Counter()
    for path in track(paths, "reading"):
        (our, our_seconds), (their, their_seconds) = timed(ours, path), timed(theirs, path)
        if our is None or their is None:
            failed["both" if our is None and their is None else "ours" if our is None else "pdfminer"] += 1
        elif len(_WORD.findall(their)) < 20:
            failed["fewer than 20 words"] += 1
        else:
            rows.append((our_seconds, their_seconds, our[1], recall(their, our[0]), recall(our[0], their), path.name))
    for row in sorted(rows, key=lambda r: r[3])[:15]:
        print(f"{row[3]:.3f} {row[4]:.3f} {row[0]:6.2f} s {row[1]:6.2f} s  {row[5]}")
    print(
        record(
            "pdf_readers",
            "python -m tests.benchmarks.pdf_readers",
            figures(rows, failed),
            data=f"{len(paths)} PDF files",
        )
    )


def figures(
    rows: list[tuple[float, float, int, float, float, str]], failed: collections.Counter[str]
) -> dict[str, Any]:
    our, their, pages = (sum(row[i] for row in rows) for i in range(3))
    return {
        "compared": len(rows),
        "not_compared": dict(failed),
        "pages": pages,
        "cpu_ms_per_page": round(1000 * our / pages, 2),
        "pdfminer_cpu_ms_per_page": round(1000 * their / pages, 2),
        "times_faster": round(their / our, 1),
        "word_recall_mean": round(statistics.mean(row[3] for row in rows), 4),
        "word_recall_median": round(statistics.median(row[3] for row in rows), 4),
        "word_precision_mean": round(statistics.mean(row[4] for row in rows), 4),
        "files_with_recall_under_0_9": sum(row[3] < 0.9 for row in rows),
    }


if __name__ == "__main__":
    main()
