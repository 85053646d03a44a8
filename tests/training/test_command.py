"""`mailroom train` as a records officer uses it: labels in, a version out, promoted; and labels that no good can come
of.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.recipes.finetune.examples import LabelledExample
from models.registry import open_version
from pipeline.disk import ProcessLock
from tests.scenarios.running import wait_for
from tests.support.filed import file_away
from tests.support.serving import make_mailroom
from tests.training.conftest import CLASSES, texts
from workers.assemble import Mailroom
from workers.cli import exits
from workers.cli.main import main


@pytest.fixture
def mailroom(tmp_path: Path) -> Iterator[Mailroom]:
    mailroom = make_mailroom(tmp_path / "data")
    yield mailroom
    mailroom.close()


def run(mailroom: Mailroom, *words: str) -> int:
    return main(["--data", str(mailroom.settings.home), *words])


def write_list(file: Path, per_class: int, header: tuple[str, str] = ("text", "label")) -> Path:
    with file.open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(header)
        rows.writerows((example.text, example.labels[0]) for example in texts(per_class))
    return file


def test_from_labels_to_an_active_model(
    mailroom: Mailroom, tiny: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = write_list(tmp_path / "labels.csv", 30)
    arguments = ("train", "--labels", str(listed), "--name", "letters", "--base", str(tiny("Mistral")), "--epochs", "2")
    assert run(mailroom, *arguments, "--json") == exits.OK
    output = capsys.readouterr()
    version = json.loads(output.out)
    assert "classifies" in version["summary"]
    assert not [line for line in output.err.splitlines() if "INFO" in line or "Warning" in line]
    folder = Path(version["folder"])
    assert "mailroom train --name letters --labels labels.csv --base" in (folder / "card.md").read_text()
    assert folder.parent == mailroom.settings.models_root / "letters"
    assert {"report.html", "report.json", "card.md", "golden.jsonl"} <= {file.name for file in folder.iterdir()}

    assert run(mailroom, "models", "promote", version["title"]) == exits.OK
    prediction = mailroom.classifiers.open("letters").classify(["press the switch, turn the screw, remove the cable"])[
        0
    ]
    assert prediction.label in CLASSES


def test_from_approvals_to_a_version_under_the_labels_of_today(mailroom: Mailroom, tiny: Callable, capsys) -> None:
    for example in (*texts(12), LabelledExample("A text of a class that nobody wants.", ("spare",), "spare")):
        filed = file_away(mailroom.catalogue, mailroom.blobs, f"{example.identity}.txt", example.text, "unsorted")
        mailroom.review.approve(filed, example.labels, "ann", new=True)
    mailroom.taxonomy.change("rename", ["manual"], ["handbook"], "ann")
    mailroom.taxonomy.change("retire", ["spare"], [], "ann")
    arguments = ("train", "--reviews", "--name", "letters", "--base", str(tiny("Mistral")), "--epochs", "1", "--json")
    assert run(mailroom, *arguments) == exits.OK
    version = json.loads(capsys.readouterr().out)
    notes = [note for note in version["warnings"] if "bear" in note]
    assert [note.partition(":")[0] for note in notes] == [
        "12 of the examples bear 'manual', which is 'handbook' today",
        "1 of the examples bear 'spare', which was split or retired",
    ]
    golden = [json.loads(line) for line in (Path(version["folder"]) / "golden.jsonl").read_text("utf-8").splitlines()]
    assert {row["labels"][0] for row in golden} == {"handbook", "invoice", "letter"}
    filed = [mailroom.catalogue.documents.get(row["document"]) for row in golden]
    assert [list(mailroom.taxonomy.labels_of(document).values()) for document in filed] == [
        row["labels"] for row in golden
    ]


def test_several_labels_in_a_cell_make_a_model_that_gives_several(
    mailroom: Mailroom, tiny: Callable, tmp_path: Path, capsys
) -> None:
    listed = tmp_path / "labels.csv"
    with listed.open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(("text", "label"))
        rows.writerows((e.text, f"{e.labels[0]}; urgent" if n % 2 else e.labels[0]) for n, e in enumerate(texts(12)))
    arguments = (
        "--labels",
        str(listed),
        "--name",
        "letters",
        "--base",
        str(tiny("Mistral")),
        "--epochs",
        "1",
        "--json",
    )
    assert run(mailroom, "train", *arguments) == exits.OK
    version = json.loads(capsys.readouterr().out)
    version = open_version(mailroom.settings.models_root, "letters", version["title"].partition("@")[2])
    assert version.manifest.multi
    assert set(version.manifest.labels) == {*CLASSES, "urgent"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (b"text,label\na text,;\n", "line 2: a label is"),
        (b"document,label\nno-such-document,invoice\n", "no-such-document"),
        (b"text,label\nb,a\nstra\xdfe,a\n", "line 3: not UTF-8"),
        (b"text,label\nx," + b"l" * 10_000 + b"\n", "line 2: a label is"),
    ],
)
def test_an_unusable_list_is_reported_with_its_row(
    mailroom: Mailroom, tmp_path: Path, capsys, rows: bytes, message: str
) -> None:
    listed = tmp_path / "labels.csv"
    listed.write_bytes(rows)
    assert run(mailroom, "train", "--labels", str(listed), "--name", "letters") != exits.OK
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (mailroom.settings.models_root / "letters").exists()


@pytest.mark.parametrize(
    ("per_class", "header", "code", "message"),
    [
        (5, ("text", "label"), "bad-labels", "Fewer than 8 different examples"),
        (30, ("words", "label"), "bad-request", "the header must name"),
    ],
)
def test_labels_that_cannot_be_used_change_nothing(
    mailroom: Mailroom,
    tiny: Callable,
    tmp_path: Path,
    capsys,
    per_class: int,
    header: tuple[str, str],
    code: str,
    message: str,
) -> None:
    listed = write_list(tmp_path / "labels.csv", per_class, header)
    status = run(mailroom, "train", "--labels", str(listed), "--name", "letters", "--base", str(tiny("Mistral")))
    assert status != exits.OK
    error = capsys.readouterr().err
    assert f"error: {code}" in error
    assert message in error
    assert not (mailroom.settings.models_root / "letters").exists()


def test_a_base_that_could_run_code_is_refused(mailroom: Mailroom, tmp_path: Path, capsys) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    listed = write_list(tmp_path / "labels.csv", 12)
    run(mailroom, "train", "--labels", str(listed), "--name", "letters", "--base", str(base))
    assert "may hold code" in capsys.readouterr().err
    assert not (mailroom.settings.models_root / "letters").exists()


def test_a_name_that_no_model_can_have_is_refused_before_anything_is_done(
    mailroom: Mailroom, tmp_path: Path, capsys
) -> None:
    listed = write_list(tmp_path / "labels.csv", 12)
    assert run(mailroom, "train", "--labels", str(listed), "--name", "a/b") != exits.OK
    assert "'a/b' is not a model's name" in capsys.readouterr().err
    assert not (mailroom.settings.home / "training").exists()


def test_a_second_training_of_the_same_name_is_refused(mailroom: Mailroom, tmp_path: Path, capsys) -> None:
    listed = write_list(tmp_path / "labels.csv", 12)
    with ProcessLock(mailroom.settings.home / "training" / "letters" / "lock", "The first"):
        assert run(mailroom, "train", "--labels", str(listed), "--name", "letters") != exits.OK
    assert "A training of letters is running already" in " ".join(capsys.readouterr().err.split())


def test_a_training_ends_with_the_command_that_started_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"echo $$ > {pid_file}; exec sleep 600"
    code = f"from workers.services.training import Trainer; Trainer.run_recipe(['sh', '-c', {script!r}])"
    command = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), 120, "the training to begin")
    running = Path(f"/proc/{pid_file.read_text().strip()}/cmdline")
    assert running.read_bytes()
    command.kill()
    command.wait()
    wait_for(lambda: not running.exists() or not running.read_bytes(), 120, "the training to end")


def test_without_any_labels_the_command_names_the_options(mailroom: Mailroom, capsys) -> None:
    assert run(mailroom, "train", "--name", "letters") != exits.OK
    assert "--reviews" in capsys.readouterr().err
