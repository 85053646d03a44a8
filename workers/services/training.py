"""`mailroom train`: the house's labels gathered, and a fine-tune run on them in the environment that has the packages."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.labelled import TextReaders, check_list, labelled_rows
from models.registry import check_name
from pipeline.disk import ProcessLock, translated
from pipeline.documents import Document
from pipeline.errors import CODES, MailroomError, Misconfigured, Refused
from pipeline.questions import ADMINISTRATOR
from workers.queue.process import die_with_parent
from workers.services.taxonomy import TaxonomyService
from workers.settings import Settings

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

RECIPE = "models.recipes.finetune"
#: What training needs beside what serving has.
PACKAGES = ("torch", "transformers", "sklearn", "onnx", "onnxscript")
SOURCE = Path(__file__).parents[2]

#: Shows how far a long reading is: what is read, and how many of them there are.
Follow = Callable[[Iterable[dict[str, Any]], int], Iterable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Order:
    """What to train. ``labels`` are lists of the house, ``reviews`` adds what people approved; ``options`` are flags of the
    recipe, as (name, value)."""

    name: str
    labels: Sequence[Path]
    reviews: bool
    base: str
    options: Sequence[tuple[str, str]] = ()
    resume: bool = False


class Trainer:
    """Gathers examples and runs the recipe; the new version lies beside the others and is not in force."""

    def __init__(
        self, catalogue: Catalogue, taxonomy: TaxonomyService, reading: TextReaders, settings: Settings
    ) -> None:
        self._catalogue, self._taxonomy, self._reading, self._settings = catalogue, taxonomy, reading, settings

    def train(self, order: Order, follow: Follow = lambda rows, total: rows) -> dict[str, Any]:
        """The recipe's last word: folder, title, metrics, and what to think of them. Its progress goes to standard error.

        Raises Refused: "bad-labels" when nothing good can come of the labels, "conflict" while another training of the name
        runs; Misconfigured where the packages or the base cannot be used. Nothing is changed then.
        """
        check_name(order.name)
        python = self._python()
        work = self._settings.home / "training" / order.name
        with translated(work):
            work.mkdir(parents=True, exist_ok=True)
        with ProcessLock(work / "lock", f"A training of {order.name}"):  # two would write over each other's checkpoints
            examples = work / "examples.jsonl"
            notes = self._write(order, examples, follow)
            return self._run([python, "-m", RECIPE, *self._arguments(order, examples, work, notes)])

    def _write(self, order: Order, file: Path, follow: Follow) -> list[str]:
        """Write the examples under the labels of today; returns what has to be said of those that had others."""
        listed = sum(map(check_list, order.labels))
        approved = list(self._catalogue.reviews.approved(ADMINISTRATOR)) if order.reviews else []
        called: Counter[tuple[str, str | None]] = Counter()
        rows = follow(self._examples(order.labels, approved, called), listed + len(approved))
        with translated(file), file.open("w", encoding="utf-8") as out:
            for row in rows:
                if None not in row["labels"]:
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
        return [_renamed(old, new, count) for (old, new), count in sorted(called.items(), key=str)]

    def _examples(
        self, labels: Sequence[Path], approved: Sequence[int], called: Counter[tuple[str, str | None]]
    ) -> Iterator[dict[str, Any]]:
        """Texts with their labels of today; None is one that was split or retired. ``called`` counts (old, new) on the way."""
        today = cache(self._taxonomy.listed)
        for file in labels:
            for row in labelled_rows(file, self._reading):
                called.update((label, today(label)) for label in row.labels if today(label) != label)
                identity = f"document:{row.place}" if row.document else row.place
                yield {"text": row.text, "labels": list(dict.fromkeys(map(today, row.labels))), "identity": identity}
        for document, text in self._reviewed(approved):
            labels = self._taxonomy.labels_of(document)
            called.update((old, new) for old, new in labels.items() if old != new)
            yield {"text": text, "labels": list(dict.fromkeys(labels.values())), "identity": f"document:{document.id}"}

    def _reviewed(self, approved: Sequence[int]) -> Iterator[tuple[Document, str]]:
        catalogue = self._catalogue
        for document in catalogue.documents.by_number(approved).values():
            parsed = catalogue.chunks.parsed(document.id)
            if parsed is not None and document.label:
                yield document, parsed.text

    def _arguments(self, order: Order, examples: Path, work: Path, notes: Sequence[str]) -> list[str]:
        flags = [part for name, value in order.options for part in (f"--{name}", value)]
        places = ["--out", str(self._settings.models_root), "--work", str(work)]
        said = ["--command", shlex.join(["mailroom", "train", "--name", order.name, *_source(order), *flags])]
        operations = self._taxonomy.operations()
        follows = ["--taxonomy", operations[-1].id] if operations else []
        resume = ["--resume"] if order.resume else []
        return [
            "--examples",
            str(examples),
            "--name",
            order.name,
            "--base",
            order.base,
            *places,
            *said,
            *flags,
            *follows,
            *(part for note in notes for part in ("--note", note)),
            *resume,
        ]

    def _python(self) -> str:
        chosen = self._settings.models.trainer or sys.executable
        # Looked for and not imported: an import of them takes minutes on a machine that is busy.
        probe = f"import sys; from importlib.util import find_spec; sys.exit(not all(map(find_spec, {PACKAGES})))"
        try:
            subprocess.run([chosen, "-c", probe], check=True, capture_output=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as error:
            raise Misconfigured(
                "bad-settings",
                f"{chosen} has not the packages to train with. `make trainer` in Mailroom's folder makes an environment that "
                "has; name its Python, .venv-train/bin/python there, in the setting models.trainer.",
            ) from error
        return chosen

    def _run(self, command: list[str]) -> dict[str, Any]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])}
        # Where this process is killed, the training ends too: what goes on unseen would be in the way of the next one.
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env=environment, check=False, preexec_fn=die_with_parent
        )
        try:
            told = json.loads(done.stdout.strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise Misconfigured(
                "training-failed",
                f"The training ended with status {done.returncode} before it was done; its last lines are above. Labels and "
                "checkpoints are kept: mend the cause and run the same command with --resume.",
            ) from None
        if "error" in told:
            raise _error(told["error"], told["detail"])
        return told


def _renamed(old: str, new: str | None, count: int) -> str:
    if new is not None:
        return f"{count:,} of the examples bear {old!r}, which is {new!r} today: learned as that."
    return f"{count:,} of the examples bear {old!r}, which was split or retired: left out. Label them anew to learn from them."


def _source(order: Order) -> list[str]:
    """What was learned from and started from, as the card tells it: files by their name, since a card travels."""
    labels = [part for file in order.labels for part in ("--labels", file.name)]
    return [*labels, *(["--reviews"] if order.reviews else []), "--base", Path(order.base).name]


def _error(code: str, detail: str) -> MailroomError:
    """The recipe's error as it was raised there."""
    return (Refused if code in ("bad-labels", "conflict") else Misconfigured)(
        code if code in CODES else "training-failed", detail
    )
