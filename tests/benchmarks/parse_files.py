"""Parse every real file of the public data in the sandbox; measure how many succeed, how fast, in how much memory.

MAILROOM_DATA=... python -m tests.benchmarks.parse_files [--limit N] [--show CODE]
"""

from __future__ import annotations

import argparse
import collections
import statistics
import time
from pathlib import Path
from typing import Any

from rich.progress import track

from pipeline.errors import MailroomError, Rejected
from pipeline.parse import ParseLimits, SandboxedParser
from tests.benchmarks.record import public_data, record

#: Folders that hold no documents: licences, and the expected results of other programs' tests.
SKIPPED = ("_licence", "expected")


def documents(folder: Path) -> list[Path]:
    """Return all files except licences and expected results, in a fixed order."""
    files = (
        p
        for p in folder.rglob("*")
        if p.is_file() and not any(part.startswith(SKIPPED) for part in p.relative_to(folder).parts)
    )
    return sorted(files, key=lambda p: str(p.relative_to(folder)))


def outcome(parser: SandboxedParser, path: Path) -> tuple[str, float]:
    """Return the seconds and the result: "text", "no-text", the code of a rejection, or "lost" for any other error."""
    begin = time.monotonic()
    try:
        with path.open("rb") as content:
            parsed = parser.parse(content, path.name)
        result = "text" if parsed.text else "no-text"
    except Rejected as error:
        result = error.code
    except MailroomError:
        result = "lost"
    return result, time.monotonic() - begin


def figures(results: list[tuple[str, str, float]]) -> dict[str, Any]:
    """Return shares over all files, and counts and seconds by ending."""
    by_format: dict[str, Any] = {}
    for ending in sorted({e for e, _, _ in results}):
        rows = [(r, s) for e, r, s in results if e == ending]
        seconds = sorted(s for _, s in rows)
        failed = collections.Counter(r for r, _ in rows if r not in ("text", "no-text"))
        by_format[ending] = {
            "n": len(rows),
            "with_text": sum(r == "text" for r, _ in rows),
            "without_text": sum(r == "no-text" for r, _ in rows),
            "failed_by_code": dict(sorted(failed.items())),
            "median_s": round(statistics.median(seconds), 3),
            "p95_s": round(seconds[min(len(seconds) - 1, int(len(seconds) * 0.95))], 3),
        }
    total = len(results)
    return {
        "files": total,
        "terminal_share": round(sum(r != "lost" for _, r, _ in results) / total, 4),
        "parsed_with_text_share": round(sum(r == "text" for _, r, _ in results) / total, 4),
        "without_text_share": round(sum(r == "no-text" for _, r, _ in results) / total, 4),
        "failed_by_code": dict(collections.Counter(r for _, r, _ in results if r not in ("text", "no-text"))),
        "by_format": by_format,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--limit", type=int, default=0, help="only the first N files; writes nothing")
    arguments.add_argument("--show", default="", help="print the files that end with this code")
    options = arguments.parse_args()
    folder = public_data() / "files"
    paths = documents(folder)[: options.limit or None]
    parser = SandboxedParser(ParseLimits())
    results = []
    for path in track(paths, "parsing"):
        result, seconds = outcome(parser, path)
        results.append((path.suffix.lower().lstrip(".") or "none", result, seconds))
        if options.show in (result, "all"):
            print(f"{result:12} {seconds:6.2f} s  {path.relative_to(folder)}")
    totals = {
        **figures(results),
        "peak_rss_mb": round(parser.peak_rss_kb / 1024),
        "sandbox_level": parser.sandbox_level,
    }
    parser.close()
    if options.limit:
        print(totals)
    else:
        print(
            record(
                "parse_files", "python -m tests.benchmarks.parse_files", totals, data=f"{len(paths)} files of files/"
            )
        )


if __name__ == "__main__":
    main()
