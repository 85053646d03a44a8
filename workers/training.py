"""`mailroom train`: the house's labels gathered, and a fine-tune run on them in the environment that has the packages."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.durable import translated
from models.labelled import Labelled, check_list, labelled_rows
from models.registry import check_name
from pipeline.codec import decode_parsed
from pipeline.errors import CODES, MailroomError, Misconfigured, Refused
from pipeline.questions import Caller
from workers.process import OnlyOne, die_with_parent

if TYPE_CHECKING:
    from workers.assemble import House

RECIPE = "models.recipes.finetune"
#: What training needs beside what serving has.
PACKAGES = ("torch", "transformers", "sklearn", "onnx", "onnxscript")
SOURCE = Path(__file__).parents[1]
EVERYTHING = Caller((), admin=True)

#: Shows how far a long reading is: what is read, and how many of them there are.
Follow = Callable[[Iterable[dict[str, Any]], int], Iterable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Order:
    """What to train. ``labels`` is a list of the house, ``reviews`` adds what people approved; ``options`` are flags of the
    recipe, as (name, value)."""

    name: str
    labels: Path | None
    reviews: bool
    base: str
    options: Sequence[tuple[str, str]] = ()
    resume: bool = False


class Trainer:
    """Gathers examples and runs the recipe; the new version lies beside the others and is not in force."""

    def __init__(self, house: House) -> None:
        self._house = house

    def train(self, order: Order, follow: Follow = lambda rows, total: rows) -> dict[str, Any]:
        """The recipe's last word: folder, title, figures, and what to think of them. Its progress goes to standard error.

        Raises Refused: "bad-labels" when nothing good can come of the labels, "conflict" while another training of the name
        runs; Misconfigured where the packages or the base cannot be used. Nothing is changed then.
        """
        check_name(order.name)
        python = self._python()
        work = self._house.settings.home / "training" / order.name
        with translated(work):
            work.mkdir(parents=True, exist_ok=True)
        with OnlyOne(work / "lock", f"A training of {order.name}"):  # two would write over each other's checkpoints
            examples = work / "examples.jsonl"
            self._write(order, examples, follow)
            return self._run([python, "-m", RECIPE, *self._arguments(order, examples, work)])

    def _write(self, order: Order, file: Path, follow: Follow) -> None:
        listed = check_list(order.labels) if order.labels else 0
        approved = list(self._house.catalogue.reviews.approved(EVERYTHING)) if order.reviews else []
        rows = follow(self._examples(order.labels, approved), listed + len(approved))
        with translated(file), file.open("w", encoding="utf-8") as out:
            for row in rows:
                out.write(json.dumps(row, ensure_ascii=False) + "\n")

    def _examples(self, labels: Path | None, approved: Sequence[int]) -> Iterator[dict[str, Any]]:
        if labels is not None:
            yield from (self._listed(row) for row in labelled_rows(labels, self._house.promoter.reading))
        yield from self._reviewed(approved)

    def _listed(self, row: Labelled) -> dict[str, Any]:
        identity = f"document:{row.place}" if row.document else row.place
        return {"text": row.text, "labels": list(row.labels), "identity": identity}

    def _reviewed(self, approved: Sequence[int]) -> Iterator[dict[str, Any]]:
        catalogue = self._house.catalogue
        for document in catalogue.documents.by_number(approved).values():
            key = catalogue.passages.parsed_key(document.id)
            payload = catalogue.passages.result(key) if key else None
            if payload is not None and document.label:
                label = self._house.taxonomy.label_of(document)
                yield {"text": decode_parsed(payload).text, "labels": [label], "identity": f"document:{document.id}"}

    def _arguments(self, order: Order, examples: Path, work: Path) -> list[str]:
        flags = [part for name, value in order.options for part in (f"--{name}", value)]
        places = ["--out", str(self._house.settings.models_root), "--work", str(work)]
        said = ["--command", shlex.join(["mailroom", "train", "--name", order.name, *_source(order), *flags])]
        operations = self._house.taxonomy.operations()
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
            *resume,
        ]

    def _python(self) -> str:
        chosen = self._house.settings.models.trainer or sys.executable
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


def _source(order: Order) -> list[str]:
    """What was learned from and started from, as the card tells it: files by their name, since a card travels."""
    labels = ["--labels", order.labels.name] if order.labels else []
    return [*labels, *(["--reviews"] if order.reviews else []), "--base", Path(order.base).name]


def _error(code: str, detail: str) -> MailroomError:
    """The recipe's error as it was raised there."""
    return (Refused if code in ("bad-labels", "conflict") else Misconfigured)(
        code if code in CODES else "training-failed", detail
    )
