"""The work that waits, is being done or was given up: for status and for administrators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.queue.notify import Notifier

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Workload:
    """``documents``: how many are in each state. ``jobs``: rows as `JobStore.backlog` returns them. ``broker``: the
    wake-ups that wait in each queue, None if the broker does not answer."""

    documents: Mapping[str, int]
    jobs: Sequence[Mapping[str, Any]]
    broker: Mapping[str, int] | None


def workload(catalogue: Catalogue, notifier: Notifier) -> Workload:
    """Return the workload of the whole installation, whoever may read the documents."""
    return Workload(catalogue.documents.counts(), catalogue.jobs.backlog(), notifier.waiting())
