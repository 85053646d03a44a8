"""Many searches from a file. A row that cannot be right harms only itself and is named by its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pipeline.errors import MailroomError
from workers.cli.commands.documents import progress
from workers.cli.output.rows import TOLD, Asked
from workers.services import sheet

if TYPE_CHECKING:  # the composition root imports every runtime; a command that needs none starts at once
    from workers.cli.gateway import Gateway

#: Faults of one row; what else is refused (a key, a server that is gone) would be refused of every other row as well.
OF_A_ROW = {"bad-request", "bad-query", "upload-too-large", "internal"}
COLUMNS = ("line", "query", "total", "rank", "score", "document_id", "document_name", "type", "source", "path", "page")
COLUMNS += ("text", "error")

Json = Mapping[str, Any]


@dataclass(slots=True)
class Summary:
    """What became of a batch; ``without``: queries that found nothing; ``failed`` pairs a line with its error."""

    queries: int = 0
    passages: int = 0
    without: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        failed = [{"line": line, "error": error} for line, error in self.failed]
        return {"queries": self.queries, "passages": self.passages, "without": self.without, "failed": failed}


def run(
    gateway: Gateway, asked: Sequence[Asked], file: Path, k: int, mode: str, filters: Json, **ranking: Any
) -> Summary:
    """Ask every row; write a line for each passage, or one that says that there was none, or why. A row's own filter stands in
    the place of the same one of ``filters``. ``file`` appears whole at the end, or not at all."""
    summary = Summary()
    with sheet.writing(file, COLUMNS) as write, progress() as bar:
        for row in bar.track(asked, description="searching"):
            page, error = _ask(gateway, row, k, mode, {**filters, **row.filters}, ranking)
            _count(summary, row, page, error)
            for line in _lines(row, page, error):
                write(line)
    return summary


def _ask(gateway: Gateway, row: Asked, k: int, mode: str, filters: Json, ranking: Json) -> tuple[Json | None, str]:
    """The page, or None and the row's fault; raises what is not the row's."""
    if row.error:
        return None, row.error
    try:
        return gateway.search(row.query, k, mode, False, filters, **ranking), ""
    except ValidationError as error:
        first = error.errors()[0]
        return None, f"bad-request: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    except MailroomError as error:
        if error.code not in OF_A_ROW:
            raise
        return None, str(error)


def _count(summary: Summary, row: Asked, page: Json | None, error: str) -> None:
    summary.queries += 1
    if page is None:
        summary.failed.append((row.line, error))
    else:
        summary.passages += len(page["items"])
        summary.without += not page["items"]


def _lines(row: Asked, page: Json | None, error: str) -> Iterator[list[object]]:
    if page is None:
        yield _line(line=row.line, query=row.query[:TOLD], error=error)
        return
    told = {"line": row.line, "query": row.query, "total": page["total"]}
    if not page["items"]:
        yield _line(**told)
    for rank, found in enumerate(page["items"], 1):
        named = {name: found[name] for name in ("score", "document_id", "document_name", "source", "path", "text")}
        yield _line(**told, rank=rank, type=found["label"], page=found["page_first"], **named)


def _line(**told: object) -> list[object]:
    return [told.get(name) for name in COLUMNS]
