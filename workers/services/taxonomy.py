"""The taxonomy: its current labels, operations on them, and their effect on rules and filed documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from models import taxonomy
from models.registry import open_version
from pipeline.audit import entry
from pipeline.documents import Document
from pipeline.errors import MailroomError
from pipeline.questions import ADMINISTRATOR, ALL, Filters
from pipeline.reclassify import current_labels
from pipeline.rules import Rules
from pipeline.taxonomy import Operation, current_name, effective_operations, labelling

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class RecordedChange:
    """A recorded operation and what it leaves behind.

    ``old_labels`` are the labels that it replaced, with their earlier names; ``documents`` is how many documents still
    have one of them, and ``rules`` are the rules that name one of them and not all of the new ones.
    """

    operation: Operation
    documents: int
    old_labels: tuple[str, ...]
    rules: tuple[str, ...]


class TaxonomyService:
    """Reads and changes the taxonomy. Predictions follow with the next document; filed documents by a plan.

    Args:
        root: the folder of the models, which holds the operations.
        classifier: the configured classifier, whose labels they change.
        rules: returns the rules. Raises Misconfigured if they cannot be used.
    """

    def __init__(self, catalogue: Catalogue, root: Path, classifier: str, rules: Callable[[], Rules]) -> None:
        self._catalogue, self._root, self._classifier, self._rules = catalogue, root, classifier, rules

    def operations(self) -> tuple[Operation, ...]:
        """Return all operations, oldest first."""
        return taxonomy.read_operations(self._root)

    def labels(self) -> list[str]:
        """Return the current labels: those of the classifier after all operations, and those that people added."""
        return self._labels(self.operations())

    def labels_of(self, document: Document) -> dict[str, str | None]:
        """Return the labels that a person gave a document, the one it is filed under first, each with its current name.

        The name is None for a label that was split or retired since.
        """
        events = self._catalogue.documents.history(document.id)[1]
        return current_labels(document, events, self.operations())

    def current_name(self, label: str) -> str | None:
        """Return the current name of a label in a list of unknown age, or None if it was split or retired."""
        operations = self.operations()
        splits = [o.id for o in effective_operations(operations) if o.kind == "split" and label in o.into]
        return current_name(label, operations, splits[-1] if splits else "")

    def change(
        self, kind: str, labels: Sequence[str], into: Sequence[str], who: str, reason: str = ""
    ) -> RecordedChange:
        """Record an operation. Raises Refused if it does not fit the current labels, Misconfigured for bad rules."""
        rules = self._rules()  # a mistake in them is raised before anything is recorded
        before = self.operations()
        operation = taxonomy.change(self._root, self._labels, kind, labels, into, who, reason)
        self._record(operation)
        return self._effects(operation, rules, before)

    def undo(self, who: str, reason: str = "") -> RecordedChange:
        """Undo the latest operation that is in effect. Raises Refused("conflict") if there is none."""
        rules, before = self._rules(), self.operations()
        operation = taxonomy.undo(self._root, who, reason)
        self._record(operation)
        return self._effects(operation, rules, before)

    def _record(self, operation: Operation) -> None:
        data = {"by": operation.who, "labels": operation.labels, "into": operation.into, "reason": operation.reason}
        self._catalogue.audit.append([entry(f"taxonomy.{operation.kind}", f"taxonomy:{operation.id}", data)])

    def _labels(self, operations: Sequence[Operation]) -> list[str]:
        added = sorted(self._catalogue.reviews.labels())
        people = labelling(added, [0.0] * len(added), operations).labels
        try:
            manifest = open_version(self._root, self._classifier).manifest
        except MailroomError:
            return sorted(people)  # without a classifier there are no other labels
        limits = [manifest.thresholds[label] for label in manifest.labels]
        return sorted({*labelling(manifest.labels, limits, operations, manifest.taxonomy).labels, *people})

    def _effects(self, operation: Operation, rules: Rules, before: Sequence[Operation]) -> RecordedChange:
        old = [label for label in operation.labels if label not in operation.into]
        old_labels = tuple(name for label in old for name in all_names(label, before))
        count = 0
        if old_labels:
            filters = Filters(labels=old_labels, revisions=ALL)
            count = self._catalogue.documents.find(ADMINISTRATOR, filters, limit=1)[1]
        return RecordedChange(operation, count, old_labels, _rules_to_change(rules, old, operation.into))


def all_names(label: str, operations: Sequence[Operation]) -> tuple[str, ...]:
    """Return the labels that filed documents may have instead of ``label``: itself and its earlier names."""
    earlier = {name for operation in operations for name in operation.labels}
    return (label, *sorted(name for name in earlier - {label} if current_name(name, operations) == label))


def _rules_to_change(rules: Rules, old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the rules whose label conditions match one of ``old`` and not all of ``new``."""
    names = []
    for rule in rules.rules:
        globs = [*rule.when.globs.get("label", ()), *rule.unless.globs.get("label", ())]
        if any(_matches(globs, label) for label in old) and not (new and all(_matches(globs, label) for label in new)):
            names.append(rule.name)
    return tuple(names)


def _matches(globs: Sequence[str], label: str) -> bool:
    return any(fnmatchcase(label.lower(), glob.lower()) for glob in globs)
