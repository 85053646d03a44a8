"""Many searches from a file. A row that cannot be right affects only itself and is named by its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.errors import MailroomError
from workers.cli.context import Gateway
from workers.cli.exits import first_fault
from workers.cli.output import show
from workers.cli.output.rows import QUOTED, QueryRow
from workers.services import sheet

#: Faults of one row. Any other error (a wrong key, a server that is gone) would be that of every other row as well.
ROW_FAULTS = {"bad-request", "bad-query", "upload-too-large", "internal"}
COLUMNS = (
    *("line", "query", "total", "rank", "score", "document_id", "document_name", "type", "source", "path", "page"),
    *("text", "error"),
)

Json = Mapping[str, Any]


@dataclass(slots=True)
class Summary:
    """The outcome of a batch. ``empty`` counts queries without a hit; ``failed`` pairs a line with its error."""

    queries: int = 0
    passages: int = 0
    empty: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        failed = [{"line": line, "error": error} for line, error in self.failed]
        return {"queries": self.queries, "passages": self.passages, "without": self.empty, "failed": failed}

    def add(self, row: QueryRow, page: Json | None, error: str) -> None:
        """Count the outcome of a row."""
        self.queries += 1
        if page is None:
            self.failed.append((row.line, error))
        else:
            self.passages += len(page["items"])
            self.empty += not page["items"]


def run(gateway: Gateway, rows: Sequence[QueryRow], file: Path, filters: Json, **options: Any) -> Summary:
    """Search for every row, and write a line for each passage or one that says why there is none.

    A row's own filter takes precedence over the same one of ``filters``. ``file`` appears complete at the end, or not
    at all. Raises what is not the fault of one row.
    """
    summary = Summary()
    with sheet.open_sheet(file, COLUMNS) as write, show.progress() as bar:
        for row in bar.track(rows, description="searching"):
            page, error = _search(gateway, row, {**filters, **row.filters}, options)
            summary.add(row, page, error)
            for line in _lines(row, page, error):
                write([line.get(name) for name in COLUMNS])
    return summary


def _search(gateway: Gateway, row: QueryRow, filters: Json, options: Json) -> tuple[Json | None, str]:
    """Return the page, or None and the row's fault."""
    if row.error:
        return None, row.error
    try:
        return gateway.search(row.query, filters, **options), ""
    except ValidationError as error:
        return None, f"bad-request: {first_fault(error)}"
    except MailroomError as error:
        if error.code not in ROW_FAULTS:
            raise
        return None, str(error)


def _lines(row: QueryRow, page: Json | None, error: str) -> Iterator[dict[str, object]]:
    """Yield the lines of a row as values by column."""
    if page is None:
        yield {"line": row.line, "query": row.query[:QUOTED], "error": error}
        return
    query = {"line": row.line, "query": row.query, "total": page["total"]}
    if not page["items"]:
        yield query
    for rank, item in enumerate(page["items"], 1):
        place = {name: item[name] for name in ("score", "document_id", "document_name", "source", "path", "text")}
        yield {**query, **place, "rank": rank, "type": item["label"], "page": item["page_first"]}
