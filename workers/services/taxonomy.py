"""The house's taxonomy: its labels today, operations on them, and what they mean for rules and filed documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from models import taxonomy
from models.registry import open_version
from pipeline.documents import Document, State
from pipeline.errors import MailroomError, Refused
from pipeline.questions import ADMINISTRATOR, Filters
from pipeline.reclassify import current_labels
from pipeline.rules import Rules
from pipeline.taxonomy import Operation, current_name, effective_operations, labelling
from workers.services.sheet import writing

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

PAGE = 500


@dataclass(frozen=True, slots=True)
class Changed:
    """An operation that was recorded: how many documents still bear its old labels or earlier names of these (``borne``), and the
    rules that name one of those but none of the new ones."""

    operation: Operation
    documents: int
    borne: tuple[str, ...]
    rules: tuple[str, ...]


class TaxonomyService:
    """Reads and changes the taxonomy. Verdicts follow with the next document; filed documents by a plan."""

    def __init__(self, catalogue: Catalogue, root: Path, classifier: str, rules: Callable[[], Rules]) -> None:
        self._catalogue, self._root, self._classifier, self._rules = catalogue, root, classifier, rules

    def operations(self) -> tuple[Operation, ...]:
        """All of them, oldest first."""
        return taxonomy.read_operations(self._root)

    def labels(self) -> list[str]:
        """The labels of today: the model's under the operations, and those that people gave besides."""
        return self._labels(self.operations())

    def labels_of(self, document: Document) -> dict[str, str | None]:
        """The labels that a person gave a document, first the one it is filed under, each with what it is called today; None where
        it was split or retired since."""
        events = self._catalogue.documents.history(document.id)[1]
        return current_labels(document, events, self.operations())

    def listed(self, label: str) -> str | None:
        """A label of a list, whose age nobody knows, as it is called today; None where it was split or retired."""
        operations = self.operations()
        made = [each.id for each in effective_operations(operations) if each.kind == "split" and label in each.into]
        return current_name(label, operations, made[-1] if made else "")

    def change(self, kind: str, labels: Sequence[str], into: Sequence[str], who: str, reason: str = "") -> Changed:
        """Record an operation. Raises Refused where it does not fit the labels of today."""
        rules = self._rules()  # a mistake in them is said before anything is recorded
        before = self.operations()
        made = taxonomy.change(self._root, self._labels, kind, labels, into, who, reason)
        return self._told(made, rules, before)

    def undo(self, who: str, reason: str = "") -> Changed:
        """Take back the latest operation that stands."""
        rules, before = self._rules(), self.operations()
        return self._told(taxonomy.undo(self._root, who, reason), rules, before)

    def write_list(self, label: str, file: Path) -> int:
        """Write the documents that bear a label as a CSV to be filled in: document, label (empty), name. Returns how many.
        Raises Refused("conflict") where the file exists."""
        if file.exists():
            raise Refused("conflict", f"{file} is there already; choose another name.")
        count = 0
        with writing(file, ("document", "label", "name")) as write:
            for document in self._bearing(label):
                write((document.id, "", document.name))
                count += 1
        return count

    def _labels(self, operations: Sequence[Operation]) -> list[str]:
        own = sorted(self._catalogue.reviews.labels())
        given = labelling(own, [0.0] * len(own), operations).labels
        try:
            manifest = open_version(self._root, self._classifier).manifest
        except MailroomError:
            return sorted(given)  # without a model the people's words are all there is
        limits = [manifest.thresholds[label] for label in manifest.labels]
        return sorted({*labelling(manifest.labels, limits, operations, manifest.taxonomy).labels, *given})

    def _told(self, operation: Operation, rules: Rules, before: Sequence[Operation]) -> Changed:
        gone = [label for label in operation.labels if label not in operation.into]
        borne = tuple(name for label in gone for name in _names(label, before))
        count = 0
        if borne:
            count = self._catalogue.documents.find(ADMINISTRATOR, Filters(labels=borne), limit=1)[1]
        return Changed(operation, count, borne, _naming(rules, gone, operation.into))

    def _bearing(self, label: str) -> Iterator[Document]:
        filters = Filters(labels=_names(label, self.operations()), states=(State.INDEXED, State.REVIEW))
        offset = 0
        while page := self._catalogue.documents.find(ADMINISTRATOR, filters, PAGE, offset, newest_first=False)[0]:
            yield from page
            offset += len(page)


def _names(label: str, operations: Sequence[Operation]) -> tuple[str, ...]:
    """What documents that were filed under a label may bear: it, and what it was called before."""
    earlier = {name for each in operations for name in each.labels}
    return (label, *sorted(name for name in earlier - {label} if current_name(name, operations) == label))


def _naming(rules: Rules, gone: Sequence[str], into: Sequence[str]) -> tuple[str, ...]:
    """The rules whose label conditions hold for one of ``gone`` and not for all of ``into``."""
    found = []
    for rule in rules.rules:
        globs = [*rule.when.globs.get("label", ()), *rule.unless.globs.get("label", ())]
        if _any(globs, gone) and not (into and all(_any(globs, [label]) for label in into)):
            found.append(rule.name)
    return tuple(found)


def _any(globs: Sequence[str], labels: Sequence[str]) -> bool:
    return any(fnmatchcase(label.lower(), glob.lower()) for glob in globs for label in labels)
