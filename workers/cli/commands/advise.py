"""index advise: which kind of vector index suits this machine and these vectors."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pipeline.errors import Refused
from workers.cli.context import Context, err, out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

if TYPE_CHECKING:
    import numpy as np

    from indexes.vectors.faiss import FaissVectors

#: With fewer vectors, kinds that are meant for many show little.
MIN_VECTORS = 1000
Sample = Annotated[int, typer.Option(min=MIN_VECTORS, help="Vectors of the index to measure with, at most.")]
Synthetic = Annotated[
    int | None, typer.Option(min=MIN_VECTORS, max=5_000_000, help="Measure with so many generated vectors instead.")
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
    """Measure every kind of vector index here, and recommend one.

    It is measured over a sample of the index's own vectors. Nothing is changed; `index.kind` in the settings chooses a
    kind for large segments.
    """
    from indexes.vectors.advise import measure_kinds, recommend
    from indexes.vectors.kinds import kind_for

    options = shared(context)
    if options.settings.index.url:
        raise Refused("bad-request", "The index is in Milvus, which chooses the kind itself; index.kind is for FAISS.")
    rows, searches, total, origin = _vectors(options, sample, synthetic, queries)
    measurements = []
    for kind in measure_kinds(rows, searches):
        measurements.append(kind)
        err.print(f"{kind.requested}: recall@10 {kind.recall:.4f}, p50 {kind.p50_ms:.2f} ms", style="dim")
    recommended, reason = recommend(measurements, total)
    active = kind_for(total, options.settings.index.kind)
    if as_json:
        advice = {"vectors": total, "measured": len(rows), "origin": origin, "recommended": recommended}
        kinds = [asdict(kind) for kind in measurements]
        show.print_json({**advice, "reason": reason, "active": active, "kinds": kinds})
        return
    cells = (
        (
            kind.kind if kind.kind == kind.requested else f"{kind.requested} (replaced by {kind.kind})",
            f"{kind.recall:.4f}",
            f"{kind.p50_ms:.2f}",
            f"{kind.index_bytes:,.0f}",
            f"{kind.disk_bytes:,.0f}",
            f"{kind.build_s:.1f}",
        )
        for kind in measurements
    )
    show.table(COLUMNS, cells, f"{len(rows):,} {origin} vectors of {rows.shape[1]} dimensions")
    out.print(f"\nFor {total:,} vectors: {recommended}. Reason: {reason}.", soft_wrap=True)
    change = f"; to change it: --set index.kind={recommended}, then `mailroom index rebuild`"
    out.print(f"Active: {active}{'' if recommended == active else change}.", soft_wrap=True)


def _vectors(
    options: Context, sample: int, synthetic: int | None, queries: int
) -> tuple[np.ndarray, np.ndarray, int, str]:
    """Return the vectors to index, those to search for, how many vectors the advice is for, and their origin.

    Both arrays are float32 of shape (vectors, dimension).
    """
    from indexes.vectors.advise import generate
    from indexes.vectors.advise import sample as sample_vectors

    if synthetic:
        from models.registry import open_version

        manifest = open_version(options.settings.models_root, options.settings.models.embedder).manifest
        return *generate(synthetic, manifest.dimension, queries), synthetic, "generated"
    vectors = cast("FaissVectors", options.mailroom.reader.snapshot().vectors)  # of the folder, as `advise` checks
    if len(vectors) < MIN_VECTORS:
        detail = (
            f"The index holds {len(vectors)} vectors, too few to measure; use --synthetic and how many there will be."
        )
        raise Refused("bad-request", detail)
    rows, searches = sample_vectors(vectors.segments, sample, queries)
    return rows, searches, len(vectors), "of the index's own"
