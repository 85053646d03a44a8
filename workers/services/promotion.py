"""Putting a model version into force, and taking it back: the gate, and what is recorded of both."""

from __future__ import annotations

import getpass
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from models.active import VersionChange, move_pointer, read_pointer
from models.compare import ClassifierComparison, compare, measure, worse
from models.labelled import LabelledText, TextReaders, read_labelled
from models.registry import active_version, open_version
from pipeline.classify import OnnxClassifier
from pipeline.documents import Prediction
from pipeline.errors import MailroomError, Misconfigured, Refused
from pipeline.onnx import ModelFolder
from pipeline.ports import Parser
from workers.services.active_classifier import Classifiers
from workers.services.taxonomy import TaxonomyService
from workers.settings import Settings

if TYPE_CHECKING:
    from indexes.catalogue.chunks import ChunkStore

#: A version may bring the texts that its training held back.
OWN_GOLDEN = "golden.jsonl"
#: Texts that are tokenised at once, which bounds the memory.
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Promotion:
    """What a promotion did: the recorded change, and the comparison where there was something to compare with."""

    change: VersionChange
    comparison: ClassifierComparison | None


class Promoter:
    """Compares, promotes and rolls back the house's classifiers."""

    def __init__(
        self,
        chunks: ChunkStore,
        parser: Parser,
        classifiers: Classifiers,
        taxonomy: TaxonomyService,
        settings: Settings,
    ) -> None:
        self._chunks, self._parser, self._classifiers, self._taxonomy = chunks, parser, classifiers, taxonomy
        self._models, self._root = settings.models, settings.models_root

    def compare(self, one: str, two: str, labels: Path) -> ClassifierComparison:
        """Two versions (NAME, NAME@VERSION or a folder) on the labelled texts of a file."""
        texts, _ = self._labelled(labels, self.reading)
        return compare(texts, self._verdicts(self._open(one), texts), self._verdicts(self._open(two), texts))

    def promote(
        self, model: str, golden: Path | None = None, margin: float | None = None, force: bool = False, reason: str = ""
    ) -> Promotion:
        """Put NAME@VERSION into force. Running workers take it up with their next document.

        The gate: on the golden set (``golden``, else the setting models.golden, else the version's own golden.jsonl) it is
        not worse than the version in force by more than ``margin``. Raises Refused("conflict") with the metrics
        otherwise; ``force`` promotes all the same, which is recorded.
        """
        folder = open_version(self._root, model)
        name, version = folder.manifest.name, folder.manifest.version
        if folder.manifest.kind != "classifier" or "/" in model:
            text = "Only a classifier's NAME@VERSION can be promoted; models.embedder and models.reranker choose the others."
            raise Refused("bad-request", text)
        before = self._before(name)
        if read_pointer(self._root, name).version == version:
            raise Refused("conflict", f"{folder.manifest.title} is in force already.")
        comparison, told = self._examined(folder, before, golden)
        allowed = self._models.golden_margin if margin is None else margin
        refusal = self._refusal(folder, before, comparison, allowed)
        if refusal and not force:
            raise Refused("conflict", f"{refusal} Nothing was changed; --force promotes all the same.")
        change = VersionChange(
            time.time(), who(), "promote", before, version, bool(refusal), reason, {**told, "margin": allowed}
        )
        move_pointer(self._root, name, change)
        return Promotion(change, comparison)

    def rollback(self, name: str, to: str | None = None, reason: str = "") -> VersionChange:
        """Back to the version that was in force before, or to one before that. No gate: it served already."""
        pointer = read_pointer(self._root, name)
        if pointer.version is None or not pointer.trail:
            raise Refused(
                "conflict", f"No other version of {name} was in force before; there is nothing to go back to."
            )
        target = to or pointer.trail[-1]
        if target not in pointer.trail:
            text = f"{name}@{target} was not in force before; there were: {', '.join(pointer.trail)}."
            raise Refused("conflict", text)
        open_version(self._root, name, target)  # whole, or the present one stays
        change = VersionChange(time.time(), who(), "rollback", pointer.version, target, reason=reason)
        move_pointer(self._root, name, change)
        return change

    def _before(self, name: str) -> str | None:
        try:
            return active_version(self._root, name)
        except Misconfigured:
            if read_pointer(self._root, name).version:
                raise
            return None

    def _examined(
        self, folder: ModelFolder, before: str | None, golden: Path | None
    ) -> tuple[ClassifierComparison | None, dict]:
        """The comparison with the version in force, and what the history keeps of it."""
        title, path = folder.manifest.title, self._golden(folder, golden)
        erased: list[str] = []
        own = TextReaders(self._read_file, lambda document_id: self._unless_erased(document_id, erased))
        # What the version brought along may have been erased since; a list that someone gives now has to be whole.
        reading = own if path and path.parent == folder.path else self.reading
        texts, digest = self._labelled(path, reading) if path else ((), "")
        if not texts:  # none were given, or they are documents of another house
            self._open(title).classify(["It runs."])  # at least
            return None, {"erased": len(erased)} if erased else {}
        two = self._verdicts(self._open(title), texts)
        told = {"golden": digest, "erased": len(erased), "after": measure(texts, two).summary}
        if before is None or before == folder.manifest.version:
            return None, told
        try:
            one = self._verdicts(self._open(f"{folder.manifest.name}@{before}"), texts)
        except MailroomError:
            return None, told  # the version in force is damaged: the gate says so
        comparison = compare(texts, one, two)
        return comparison, {**told, "before": comparison.before.summary}

    def _refusal(
        self, folder: ModelFolder, before: str | None, comparison: ClassifierComparison | None, margin: float
    ) -> str | None:
        title = folder.manifest.title
        if before is None or before == folder.manifest.version:
            return None  # nothing is replaced
        if comparison is None:
            return (
                f"{title} could not be compared with {before}, which is in force: give labelled texts with --golden or "
                "models.golden, and see that both versions can be used."
            )
        if not comparison.before.accuracy and not comparison.after.accuracy:
            return f"Neither {title} nor {before} is right on any text of the golden set: one of other labels proves nothing."
        reasons = worse(comparison.before, comparison.after, margin)
        if not reasons:
            return None
        texts = comparison.after.texts
        return f"{title} is worse than {before} on the golden set of {texts} texts: {', '.join(reasons)}."

    def _golden(self, folder: ModelFolder, given: Path | None) -> Path | None:
        own = folder.path / OWN_GOLDEN
        configured = self._models.golden
        return given or (Path(configured) if configured else own if own.name in folder.manifest.files else None)

    def _labelled(self, path: Path, reading: TextReaders) -> tuple[tuple[LabelledText, ...], str]:
        """The texts of a list under the labels of today, since the verdicts are; and the digest of the file. A label that was split
        or retired stays as it is: no verdict names it."""
        texts, digest = read_labelled(path, reading)
        today = cache(self._taxonomy.listed)
        return tuple(
            replace(each, labels=tuple(today(label) or label for label in each.labels)) for each in texts
        ), digest

    def _open(self, model: str) -> OnnxClassifier:
        return self._classifiers.open(model)

    def _verdicts(self, classifier: OnnxClassifier, texts: Sequence[LabelledText]) -> list[Prediction]:
        parts = [texts[at : at + BATCH] for at in range(0, len(texts), BATCH)]
        return [prediction for part in parts for prediction in classifier.classify([each.text for each in part])]

    @property
    def reading(self) -> TextReaders:
        """How a list's paths and documents become text."""
        return TextReaders(self._read_file, self._read_document)

    def _read_file(self, path: Path) -> str:
        with path.open("rb") as content:
            return self._parser.parse(content, path.name).text

    def _unless_erased(self, document_id: str, erased: list[str]) -> str | None:
        try:
            return self._read_document(document_id)
        except Refused:
            erased.append(document_id)
            return None

    def _read_document(self, document_id: str) -> str:
        parsed = self._chunks.parsed(document_id)
        if parsed is None:
            raise Refused("not-found", f"Document {document_id} is not there, or has no text.")
        return parsed.text


def who() -> str:
    """The person at this machine, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return "unknown"
