"""The house's taxonomy: its labels today, operations on them, and what they mean for rules and filed documents."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from models import taxonomy
from models.durable import translated
from models.registry import open_version
from pipeline.documents import Document, State
from pipeline.errors import MailroomError, Refused
from pipeline.questions import Caller, Filters
from pipeline.reclassify import standing_decision
from pipeline.rules import Rules
from pipeline.taxonomy import Operation, labelling

if TYPE_CHECKING:
    from workers.assemble import House

EVERYTHING = Caller((), admin=True)
PAGE = 500
#: A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Changed:
    """An operation that was recorded: how many documents still bear its old labels, and the rules that name one of those
    but none of the new ones."""

    operation: Operation
    documents: int
    rules: tuple[str, ...]


class HouseTaxonomy:
    """Reads and changes the taxonomy. Verdicts follow with the next document; filed documents by a plan."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._root = house.settings.models_root

    def operations(self) -> tuple[Operation, ...]:
        """All of them, oldest first."""
        return taxonomy.read_operations(self._root)

    def labels(self) -> list[str]:
        """The labels of today: the model's under the operations, and those that people gave besides."""
        return self._labels(self.operations())

    def label_of(self, document: Document) -> str:
        """The label that a person gave a document, as it is called today."""
        events = self._house.catalogue.documents.history(document.id)[1]
        return standing_decision(document, events, self.operations()).label

    def change(self, kind: str, labels: Sequence[str], into: Sequence[str], who: str, reason: str = "") -> Changed:
        """Record an operation. Raises Refused where it does not fit the labels of today."""
        rules = self._house.rules  # a mistake in them is said before anything is recorded
        made = taxonomy.change(self._root, self._labels, kind, labels, into, who, reason)
        return self._told(made, rules)

    def undo(self, who: str, reason: str = "") -> Changed:
        """Take back the latest operation that stands."""
        rules = self._house.rules
        return self._told(taxonomy.undo(self._root, who, reason), rules)

    def write_list(self, label: str, file: Path) -> int:
        """Write the documents that bear a label as a CSV to be filled in: document, label (empty), name. Returns how many.
        Raises Refused("conflict") where the file exists."""
        with translated(file):
            try:
                stream = file.open("x", newline="", encoding="utf-8")
            except FileExistsError:
                raise Refused("conflict", f"{file} is there already; choose another name.") from None
            with stream:
                rows = csv.writer(stream)
                rows.writerow(("document", "label", "name"))
                count = 0
                for document in self._bearing(label):
                    rows.writerow((document.id, "", _cell(document.name)))
                    count += 1
        return count

    def _labels(self, operations: Sequence[Operation]) -> list[str]:
        given = self._house.catalogue.reviews.labels()
        try:
            manifest = open_version(self._root, self._house.settings.models.classifier).manifest
        except MailroomError:
            return sorted(given)  # without a model the people's words are all there is
        limits = [manifest.thresholds[label] for label in manifest.labels]
        return sorted({*labelling(manifest.labels, limits, operations, manifest.taxonomy).labels, *given})

    def _told(self, operation: Operation, rules: Rules) -> Changed:
        gone = [label for label in operation.labels if label not in operation.into]
        count = 0
        if gone:
            count = self._house.catalogue.documents.find(EVERYTHING, Filters(labels=tuple(gone)), limit=1)[1]
        return Changed(operation, count, _naming(rules, gone, operation.into))

    def _bearing(self, label: str) -> Iterator[Document]:
        filters = Filters(labels=(label,), states=(State.INDEXED, State.REVIEW))
        offset = 0
        while page := self._house.catalogue.documents.find(EVERYTHING, filters, PAGE, offset, newest_first=False)[0]:
            yield from page
            offset += len(page)


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


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
