"""index advise: which kind of vector index suits this machine and this house's vectors."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pipeline.errors import Refused
from workers.cli.context import Context, err, out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

if TYPE_CHECKING:  # NumPy and FAISS are imported by the command that measures, not by the help
    import numpy as np

    from indexes.vectors.advise import Measurement
    from indexes.vectors.faiss import FaissVectors

#: Fewer vectors than this say little about kinds that are for many.
FEWEST = 1000
Sample = Annotated[int, typer.Option(min=FEWEST, help="Vectors of the index to measure with, at most.")]
Synthetic = Annotated[
    int | None, typer.Option(min=FEWEST, max=5_000_000, help="Measure with so many made vectors instead.")
]
Queries = Annotated[int, typer.Option(min=10, max=1000, help="Searches for each kind.")]
COLUMNS = ("kind", "recall@10", "p50 ms", "bytes a vector: index", "with stored vectors", "build s")


def advise(
    context: typer.Context,
    sample: Sample = 50_000,
    synthetic: Synthetic = None,
    queries: Queries = 200,
    as_json: AsJson = False,
) -> None:
    """Measure every kind of vector index on this machine, over a sample of the index's own vectors, and recommend one.
    Nothing is changed; `index.kind` in the settings chooses a kind for large segments."""
    from indexes.vectors.advise import measure_kinds, recommend
    from indexes.vectors.kinds import kind_for

    options = shared(context)
    if options.settings.index.url:
        raise Refused(
            "bad-request", "The index stands in Milvus, which chooses the kind itself; index.kind is for FAISS."
        )
    rows, asked, total, origin = _vectors(options, sample, synthetic, queries)
    lines = []
    for line in measure_kinds(rows, asked):
        lines.append(line)
        err.print(f"{line.requested}: recall@10 {line.recall:.4f}, p50 {line.p50_ms:.2f} ms", style="dim")
    kind, reason = recommend(lines, total)
    now = kind_for(total, options.settings.index.kind)
    if as_json:
        facts = {"vectors": total, "measured": len(rows), "origin": origin, "recommended": kind, "reason": reason}
        show.print_json({**facts, "active": now, "kinds": [asdict(line) for line in lines]})
        return
    show.table(COLUMNS, map(_cells, lines), f"{len(rows):,} {origin} vectors of {rows.shape[1]} dimensions")
    out.print(f"\nFor {total:,} vectors: {kind}. Reason: {reason}.", soft_wrap=True)
    change = "" if kind == now else f"; to change it: --set index.kind={kind}, then `mailroom index rebuild`"
    out.print(f"In force: {now}{change}.", soft_wrap=True)


def _cells(line: Measurement) -> tuple[str, ...]:
    kind = line.kind if line.kind == line.requested else f"{line.requested} (gave way to {line.kind})"
    sizes = f"{line.index_bytes:,.0f}", f"{line.disk_bytes:,.0f}"
    return kind, f"{line.recall:.4f}", f"{line.p50_ms:.2f}", *sizes, f"{line.build_s:.1f}"


def _vectors(
    options: Context, sample: int, synthetic: int | None, queries: int
) -> tuple[np.ndarray, np.ndarray, int, str]:
    """(rows, queries, how many vectors the advice is for, where they are from)."""
    from indexes.vectors.advise import generate
    from indexes.vectors.advise import sample as sample_vectors

    if synthetic:
        return *generate(synthetic, _dimension(options), queries), synthetic, "made"
    vectors = cast("FaissVectors", options.mailroom.reader.snapshot().vectors)  # of the folder, as `advise` checks
    if len(vectors) < FEWEST:
        text = (
            f"The index holds {len(vectors)} vectors, too few to measure; give --synthetic and how many there will be."
        )
        raise Refused("bad-request", text)
    rows, asked = sample_vectors(vectors.segments, sample, queries)
    return rows, asked, len(vectors), "of the index's own"


def _dimension(options: Context) -> int:
    from models.registry import open_version

    return open_version(options.settings.models_root, options.settings.models.embedder).manifest.dimension
