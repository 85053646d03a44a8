"""`mailroom train`: collects labelled texts and runs the fine-tuning recipe in the environment with its packages."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.labelled import TextReaders, check_list, labelled_rows
from models.registry import check_name
from pipeline.disk import ProcessLock, translated
from pipeline.errors import CODES, Misconfigured, Refused
from pipeline.questions import ADMINISTRATOR
from workers.queue.process import die_with_parent
from workers.services.taxonomy import TaxonomyService
from workers.settings import Settings

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

RECIPE = "models.recipes.finetune"
#: What training needs in addition to what serving has.
PACKAGES = ("torch", "transformers", "sklearn", "onnx", "onnxscript")
SOURCE = Path(__file__).parents[2]

#: Passes rows through and shows the progress; the number is how many there are.
Progress = Callable[[Iterable[dict[str, Any]], int], Iterable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class TrainingOrder:
    """What to train: a model ``name`` from a ``base``.

    ``labels`` are lists of labelled texts, ``reviews`` adds what people approved, ``options`` are flags of the recipe
    as (name, value), ``resume`` continues from the last checkpoint.
    """

    name: str
    labels: Sequence[Path]
    reviews: bool
    base: str
    options: Sequence[tuple[str, str]] = ()
    resume: bool = False


class Trainer:
    """Collects examples and runs the recipe. The new version is stored beside the others and is not active."""

    def __init__(
        self, catalogue: Catalogue, taxonomy: TaxonomyService, readers: TextReaders, settings: Settings
    ) -> None:
        self._catalogue, self._taxonomy, self._readers, self._settings = catalogue, taxonomy, readers, settings

    def train(self, order: TrainingOrder, progress: Progress = lambda rows, total: rows) -> dict[str, Any]:
        """Train a version; return the recipe's report: folder, title, metrics, summary and warnings.

        The recipe's progress goes to standard error. Raises Refused: "bad-labels" if the labels cannot be learned from,
        "conflict" while another training of this name runs; Misconfigured if the packages or the base cannot be used.
        Nothing is changed then.
        """
        check_name(order.name)
        python = self.trainer_python()
        work = self._settings.home / "training" / order.name
        with translated(work):
            work.mkdir(parents=True, exist_ok=True)
        with ProcessLock(work / "lock", f"A training of {order.name}"):  # two would write over each other's checkpoints
            examples = work / "examples.jsonl"
            notes = self._write(order, examples, progress)
            return self.run_recipe([python, "-m", RECIPE, *self._arguments(order, examples, work, notes)])

    def _write(self, order: TrainingOrder, file: Path, progress: Progress) -> list[str]:
        """Write the examples with their current labels; return a note on each label that has changed."""
        count = sum(map(check_list, order.labels))
        approved = list(self._catalogue.reviews.approved(ADMINISTRATOR)) if order.reviews else []
        renamed: Counter[tuple[str, str | None]] = Counter()
        rows = progress(self._examples(order.labels, approved, renamed), count + len(approved))
        with translated(file), file.open("w", encoding="utf-8") as out:
            for row in rows:
                if None not in row["labels"]:
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
        left_out = "which was split or retired: left out. Label them again to learn from them."
        return [
            f"{count:,} of the examples bear {old!r}, "
            + (f"which is {new!r} today: learned as that." if new is not None else left_out)
            for (old, new), count in sorted(renamed.items(), key=str)
        ]

    def _examples(
        self, lists: Sequence[Path], approved: Sequence[int], renamed: Counter[tuple[str, str | None]]
    ) -> Iterator[dict[str, Any]]:
        """Yield texts with their current labels (None: split or retired), and count (old, new) in ``renamed``."""
        current = cache(self._taxonomy.current_name)
        for file in lists:
            for row in labelled_rows(file, self._readers):
                names = {label: current(label) for label in row.labels}
                identity = f"document:{row.place}" if row.document else row.place
                yield _example(row.text, names, identity, renamed)
        for document in self._catalogue.documents.by_number(approved).values():
            parsed = self._catalogue.chunks.parsed(document.id)
            if parsed is not None and document.label:
                yield _example(parsed.text, self._taxonomy.labels_of(document), f"document:{document.id}", renamed)

    def _arguments(self, order: TrainingOrder, examples: Path, work: Path, notes: Sequence[str]) -> list[str]:
        flags = [part for name, value in order.options for part in (f"--{name}", value)]
        places = ["--out", str(self._settings.models_root), "--work", str(work)]
        # The card records the command with the names of the lists only, since a card is passed on.
        lists = [part for file in order.labels for part in ("--labels", file.name)]
        source = [*lists, *(["--reviews"] if order.reviews else []), "--base", Path(order.base).name]
        command = ["--command", shlex.join(["mailroom", "train", "--name", order.name, *source, *flags])]
        operations = self._taxonomy.operations()
        taxonomy = ["--taxonomy", operations[-1].id] if operations else []
        resume = ["--resume"] if order.resume else []
        return [
            "--examples",
            str(examples),
            "--name",
            order.name,
            "--base",
            order.base,
            *places,
            *command,
            *flags,
            *taxonomy,
            *(part for note in notes for part in ("--note", note)),
            *resume,
        ]

    def trainer_python(self) -> str:
        """Return the Python that has the packages to train with. Raises Misconfigured("bad-settings")."""
        python = self._settings.models.trainer or sys.executable
        # The packages are located and not imported: on a busy machine their import takes minutes.
        probe = f"import sys; from importlib.util import find_spec; sys.exit(not all(map(find_spec, {PACKAGES})))"
        try:
            subprocess.run([python, "-c", probe], check=True, capture_output=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as error:
            raise Misconfigured(
                "bad-settings",
                f"{python} does not have the packages to train with. `make trainer` in Mailroom's folder makes an "
                "environment that has; name its Python, .venv-train/bin/python there, in the setting models.trainer.",
            ) from error
        return python

    @staticmethod
    def run_recipe(command: list[str]) -> dict[str, Any]:
        """Run the recipe and return its report. Raises Misconfigured or Refused with the recipe's own error."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])}
        # If this process is killed, the training ends, too: otherwise it would block the next one unseen.
        process = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env=environment, check=False, preexec_fn=die_with_parent
        )
        try:
            report = json.loads(process.stdout.strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise Misconfigured(
                "training-failed",
                f"The training ended with status {process.returncode} before it was done; its last lines are above. "
                "Labels and checkpoints are kept: remove the cause and run the same command with --resume.",
            ) from None
        if "error" in report:
            code = report["error"] if report["error"] in CODES else "training-failed"
            raise (Refused if code in ("bad-labels", "conflict") else Misconfigured)(code, report["detail"])
        return report


def _example(
    text: str, names: Mapping[str, str | None], identity: str, renamed: Counter[tuple[str, str | None]]
) -> dict[str, Any]:
    renamed.update((old, new) for old, new in names.items() if old != new)
    return {"text": text, "labels": list(dict.fromkeys(names.values())), "identity": identity}
