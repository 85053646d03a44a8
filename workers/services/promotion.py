"""Promotion of a model version and rollback: the gate, and the record of both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.active import VersionChange, move_pointer, read_pointer
from models.compare import ClassifierComparison, compare, measure, worse
from models.labelled import LabelledText, TextReaders, read_labelled
from models.registry import active_version, open_version
from pipeline.audit import entry
from pipeline.documents import Prediction
from pipeline.errors import MailroomError, Misconfigured, Refused
from pipeline.onnx import ModelFolder
from pipeline.ports import Parser
from workers.services.active_classifier import Classifiers
from workers.services.operator import current_user
from workers.services.taxonomy import TaxonomyService
from workers.settings import Settings

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

#: The file of a version with the texts that its training did not learn from.
OWN_GOLDEN = "golden.jsonl"
#: Texts that are tokenised at once, which bounds the memory.
BATCH = 1000
#: A version without a golden set must at least classify this text.
PROBE = "It runs."


@dataclass(frozen=True, slots=True)
class Promotion:
    """The recorded change, and the comparison with the version before, if there was one."""

    change: VersionChange
    comparison: ClassifierComparison | None


class Promoter:
    """Compares, promotes and rolls back classifiers."""

    def __init__(
        self,
        catalogue: Catalogue,
        parser: Parser,
        classifiers: Classifiers,
        taxonomy: TaxonomyService,
        settings: Settings,
    ) -> None:
        self._chunks, self._audit = catalogue.chunks, catalogue.audit
        self._parser, self._classifiers, self._taxonomy = parser, classifiers, taxonomy
        self._models, self._root = settings.models, settings.models_root

    def compare(self, one: str, two: str, labels: Path) -> ClassifierComparison:
        """Compare two versions (NAME, NAME@VERSION or a folder) on the labelled texts of a file."""
        texts, _ = self._labelled(labels, self.readers)
        return compare(texts, self._predictions(one, texts), self._predictions(two, texts))

    def promote(
        self, model: str, golden: Path | None = None, margin: float | None = None, force: bool = False, reason: str = ""
    ) -> Promotion:
        """Make NAME@VERSION the active version. Running workers use it for their next document.

        The gate: on the golden set it is not worse than the active version by more than ``margin``. The golden set is
        ``golden``, or the setting models.golden, or the version's own golden.jsonl. Otherwise raises
        Refused("conflict") with the metrics; ``force`` promotes nevertheless, which is recorded.
        """
        folder = open_version(self._root, model)
        name, version = folder.manifest.name, folder.manifest.version
        if folder.manifest.kind != "classifier" or "/" in model:
            text = "models.embedder and models.reranker choose the others."
            raise Refused("bad-request", f"Only a classifier's NAME@VERSION can be promoted; {text}")
        before = self._active_version(name)
        if read_pointer(self._root, name).version == version:
            raise Refused("conflict", f"{folder.manifest.title} is active already.")
        comparison, metrics = self._examine(folder, before, golden)
        allowed = self._models.golden_margin if margin is None else margin
        refusal = self._refusal(folder, before, comparison, allowed)
        if refusal and not force:
            raise Refused("conflict", f"{refusal} Nothing was changed; --force promotes all the same.")
        change = VersionChange(
            time.time(),
            current_user(),
            "promote",
            before,
            version,
            bool(refusal),
            reason,
            {**metrics, "margin": allowed},
        )
        self._move(name, change)
        return Promotion(change, comparison)

    def rollback(self, name: str, to: str | None = None, reason: str = "") -> VersionChange:
        """Activate the version before, or an earlier one, again. There is no gate: it has served already."""
        pointer = read_pointer(self._root, name)
        if pointer.version is None or not pointer.trail:
            raise Refused("conflict", f"No other version of {name} was active before; there is nothing to go back to.")
        target = to or pointer.trail[-1]
        if target not in pointer.trail:
            text = f"{name}@{target} was not active before; there were: {', '.join(pointer.trail)}."
            raise Refused("conflict", text)
        open_version(self._root, name, target)  # raises if it is damaged; the present one then stays
        change = VersionChange(time.time(), current_user(), "rollback", pointer.version, target, reason=reason)
        self._move(name, change)
        return change

    def _move(self, name: str, change: VersionChange) -> None:
        """Move the pointer, and record that in the audit."""
        move_pointer(self._root, name, change)
        data = {"from": change.before, "to": change.after, "forced": change.forced, "reason": change.reason}
        self._audit.append([entry(f"model.{change.action}", f"model:{name}", data)])

    def _active_version(self, name: str) -> str | None:
        try:
            return active_version(self._root, name)
        except Misconfigured:
            if read_pointer(self._root, name).version:
                raise
            return None

    def _examine(
        self, folder: ModelFolder, before: str | None, golden: Path | None
    ) -> tuple[ClassifierComparison | None, dict[str, Any]]:
        """Return the comparison with the active version, and the metrics for the history."""
        title, path = folder.manifest.title, golden
        if path is None and self._models.golden:
            path = Path(self._models.golden)
        elif path is None and OWN_GOLDEN in folder.manifest.files:
            path = folder.path / OWN_GOLDEN
        erased: list[str] = []

        def read_unless_erased(document_id: str) -> str | None:
            try:
                return self._read_document(document_id)
            except Refused:
                erased.append(document_id)
                return None

        # A document of the version's own list may have been erased since; a list that is passed now must be complete.
        is_own_list = path is not None and path.parent == folder.path
        readers = TextReaders(self._read_file, read_unless_erased) if is_own_list else self.readers
        texts, digest = self._labelled(path, readers) if path else ((), "")
        if not texts:  # there is no list, or its documents are those of another installation
            self._classifiers.open(title).classify([PROBE])
            return None, {"erased": len(erased)} if erased else {}
        after = self._predictions(title, texts)
        metrics = {"golden": digest, "erased": len(erased), "after": measure(texts, after).summary}
        if before is None or before == folder.manifest.version:
            return None, metrics
        try:
            comparison = compare(texts, self._predictions(f"{folder.manifest.name}@{before}", texts), after)
        except MailroomError:
            return None, metrics  # the active version is damaged: the gate refuses
        return comparison, {**metrics, "before": comparison.before.summary}

    def _refusal(
        self, folder: ModelFolder, before: str | None, comparison: ClassifierComparison | None, margin: float
    ) -> str | None:
        title = folder.manifest.title
        if before is None or before == folder.manifest.version:
            return None  # nothing is replaced
        if comparison is None:
            return (
                f"{title} could not be compared with {before}, which is active: give labelled texts with --golden or "
                "models.golden, and see that both versions can be used."
            )
        if not comparison.before.accuracy and not comparison.after.accuracy:
            both = f"Neither {title} nor {before}"
            return f"{both} is right on any text of the golden set: one of other labels proves nothing."
        reasons = worse(comparison.before, comparison.after, margin)
        if not reasons:
            return None
        texts = comparison.after.texts
        return f"{title} is worse than {before} on the golden set of {texts} texts: {', '.join(reasons)}."

    def _labelled(self, path: Path, readers: TextReaders) -> tuple[tuple[LabelledText, ...], str]:
        """Return the texts of a list with their current labels, as predictions have, and the digest of the file.

        A label that was split or retired stays as it is: no prediction has it.
        """
        texts, digest = read_labelled(path, readers)
        name = cache(self._taxonomy.current_name)
        renamed = (replace(text, labels=tuple(name(label) or label for label in text.labels)) for text in texts)
        return tuple(renamed), digest

    def _predictions(self, model: str, texts: Sequence[LabelledText]) -> list[Prediction]:
        classifier = self._classifiers.open(model)
        batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
        return [prediction for batch in batches for prediction in classifier.classify([text.text for text in batch])]

    @property
    def readers(self) -> TextReaders:
        """What reads the paths and documents of a list."""
        return TextReaders(self._read_file, self._read_document)

    def _read_file(self, path: Path) -> str:
        with path.open("rb") as content:
            return self._parser.parse(content, path.name).text

    def _read_document(self, document_id: str) -> str:
        parsed = self._chunks.parsed(document_id)
        if parsed is None:
            raise Refused("not-found", f"Document {document_id} is not there, or has no text.")
        return parsed.text
