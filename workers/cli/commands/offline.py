"""prove-offline."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.context import shared


def prove_offline(
    context: typer.Context,
    documents: Annotated[int | None, typer.Option(min=1, help="Only the first of the samples. Default: all.")] = None,
) -> None:
    """Count the packets that leave while the samples are read.

    In a temporary folder, with the default settings whatever a site has set. Ends with 0 only if no packet would have
    left the machine, and a process that calls out was seen.
    """
    _ = shared(context).settings  # refuses --url
    from workers.demo.offline_proof import prove

    prove(documents)
