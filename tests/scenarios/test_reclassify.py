"""A reclassification that is interrupted, run twice at once, overtaken or undone: every document gets one decision."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.documents import Destination, Document, Prediction, QueueName, State
from pipeline.errors import Misconfigured, Refused
from pipeline.questions import Filters
from pipeline.reclassify import transition_counts
from tests.scenarios.running import Running, wait_for
from tests.support.filed import file_away
from workers.assemble import Mailroom
from workers.services.active_classifier import Classifiers
from workers.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
FOLDER = Destination("folder", "{label}/{name}")
RULES = '[default]\ndestinations = ["folder:{label}/{name}"]\n'

#: Applies a plan batch by batch, as a worker does, until it is killed or done.
APPLIER = """
import sys
from indexes.open import open_catalogue
from pipeline.documents import QueueName
catalogue = open_catalogue(sys.argv[1])
catalogue.plans.start(sys.argv[2], "apply", 1)
print("started", flush=True)
while jobs := catalogue.jobs.claim(QueueName.RECLASSIFY, "applier", 5):
    catalogue.plans.execute(jobs[0])
    print("batch", flush=True)
"""


class Words:
    """Classifies by the first word of the text; an unknown word gives a low probability."""

    def __init__(self, labels: tuple[str, ...], version: int = 2) -> None:
        self.labels = labels
        self.name, self.digest = f"words@{version}", f"{version:064d}"

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        return [self._predict(text.split()[0].lower()) for text in texts]

    def _predict(self, word: str) -> Prediction:
        is_label = word in self.labels
        return Prediction(
            word if is_label else "letter", 0.95 if is_label else 0.3, "letter", 0.1, 0.5, self.name, self.digest
        )


class Fixed(Classifiers):
    """Always returns one classifier as the active one."""

    def __init__(self, classifier: Words, settings: Settings | None = None) -> None:
        super().__init__(settings or load_settings({}, environ={}).settings)
        self._fixed = classifier

    def current(self) -> Words:
        return self._fixed

    def open(self, model: str) -> Words:
        return self._fixed if model.startswith("words@") else super().open(model)


@pytest.fixture
def mailroom(tmp_path: Path) -> Mailroom:
    settings = load_settings({"data.path": str(tmp_path / "data")}, environ={}).settings
    settings.home.mkdir()
    (settings.home / "rules.toml").write_text(RULES)
    mailroom = Mailroom(settings)
    mailroom.__dict__["classifiers"] = Fixed(Words(("invoice", "letter")))
    yield mailroom
    mailroom.close()


def fill(mailroom: Mailroom, count: int = 20) -> list[Document]:
    """File ``count`` letters, every other one of which is an invoice to the classifier."""
    words = ("Invoice", "Letter")
    return [
        file_away(mailroom.catalogue, mailroom.blobs, f"{n}.txt", f"{words[n % 2]} number {n}", "letter", (FOLDER,))
        for n in range(count)
    ]


def compare(mailroom: Mailroom, **options: object) -> str:
    plan_id, _ = mailroom.reclassify.plan(options.pop("filters", Filters()), **options)
    list(mailroom.reclassify.steps(plan_id))
    return plan_id


def decisions(mailroom: Mailroom, document_id: str) -> list[str]:
    return [e.event for e in mailroom.catalogue.documents.history(document_id)[1] if e.stage == "reclassify"]


def deliver_all(mailroom: Mailroom) -> None:
    while jobs := mailroom.catalogue.jobs.claim(QueueName.DELIVER, "test", 60):
        mailroom.deliver.run(jobs[0])


def test_a_plan_changes_nothing_and_lists_what_would_change(mailroom: Mailroom) -> None:
    documents = fill(mailroom, 6)
    plan_id = compare(mailroom)
    plan = mailroom.catalogue.plans.get(plan_id)
    assert (plan["state"], plan["counts"], plan["model"]) == ("ready", {"pending": 3}, "words@2")
    assert [mailroom.catalogue.documents.get(d.id) for d in documents] == documents
    items = mailroom.catalogue.plans.items(plan_id)
    assert transition_counts(items) == {("letter", "invoice"): 3}
    assert {i["document_id"] for i in items} == {d.id for d in documents[::2]}
    assert items[0]["new"]["destinations"] == ["folder:{label}/{name}"]


def test_apply_delivers_under_the_new_label_and_undo_restores(mailroom: Mailroom) -> None:
    documents = fill(mailroom, 4)
    deliver_all(mailroom)
    plan_id = compare(mailroom)
    mailroom.reclassify.start(plan_id, "apply")
    list(mailroom.reclassify.steps(plan_id))
    deliver_all(mailroom)
    after = mailroom.catalogue.documents.get(documents[0].id)
    assert (after.label, after.model, after.state) == ("invoice", "words@2", State.INDEXED)
    filed = mailroom.settings.folders_root
    assert sorted(str(p.relative_to(filed)) for p in filed.rglob("*.txt")) == [
        "invoice/0.txt", "invoice/2.txt", "letter/0.txt", "letter/1.txt", "letter/2.txt", "letter/3.txt",
    ]  # fmt: skip
    mailroom.reclassify.start(plan_id, "undo")
    list(mailroom.reclassify.steps(plan_id))
    assert [mailroom.catalogue.documents.get(d.id) for d in documents] == documents
    assert decisions(mailroom, documents[0].id) == ["applied", "undone"]
    assert decisions(mailroom, documents[1].id) == []


def test_an_uncertain_prediction_sends_to_review_and_delivers_nothing(mailroom: Mailroom) -> None:
    document = file_away(mailroom.catalogue, mailroom.blobs, "x.txt", "Riddle of the sphinx", "letter", (FOLDER,))
    plan_id = compare(mailroom)
    mailroom.reclassify.start(plan_id, "apply")
    list(mailroom.reclassify.steps(plan_id))
    after = mailroom.catalogue.documents.get(document.id)
    assert (after.state, after.reason) == (State.REVIEW, "low-confidence")
    assert mailroom.catalogue.plans.items(plan_id)[0]["new"]["destinations"] == []


def test_new_rules_deliver_only_to_the_new_destination(mailroom: Mailroom, tmp_path: Path) -> None:
    file_away(mailroom.catalogue, mailroom.blobs, "x.txt", "Letter to the mayor", "letter", (FOLDER,))
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES.replace('"]', '", "folder:copies/{name}"]'))
    (item,) = mailroom.catalogue.plans.items(compare(mailroom, rules=rules))
    assert item["new"]["destinations"] == ["folder:copies/{name}"]


def test_rules_that_change_during_a_comparison_do_not_affect_it(mailroom: Mailroom, tmp_path: Path) -> None:
    fill(mailroom, 4)
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    plan_id, _ = mailroom.reclassify.plan(Filters(), rules=rules)
    rules.write_text('[default]\nreview = "everything"\n')
    list(mailroom.reclassify.steps(plan_id))
    assert transition_counts(mailroom.catalogue.plans.items(plan_id)) == {("letter", "invoice"): 2}


def test_a_model_that_changes_during_a_comparison_stops_it(mailroom: Mailroom) -> None:
    fill(mailroom, 2)
    plan_id, _ = mailroom.reclassify.plan(Filters())
    fresh = Mailroom(mailroom.settings)
    fresh.__dict__["classifiers"] = Fixed(Words(("letter",), version=3))
    list(fresh.reclassify.steps(plan_id))
    plan = mailroom.catalogue.plans.get(plan_id)
    assert (plan["state"], plan["dead_jobs"]) == ("comparing", 1)
    assert "make a new plan" in plan["trouble"]
    with pytest.raises(Refused, match="comparing"):
        mailroom.reclassify.start(plan_id, "apply")


def test_a_document_that_changed_since_is_skipped(mailroom: Mailroom) -> None:
    documents = fill(mailroom, 4)
    plan_id = compare(mailroom)
    assert mailroom.catalogue.jobs.retry(documents[0].id)
    mailroom.catalogue.documents.delete(documents[2].id)
    mailroom.reclassify.start(plan_id, "apply")
    list(mailroom.reclassify.steps(plan_id))
    assert mailroom.catalogue.plans.get(plan_id)["counts"] == {"stale": 2}
    assert mailroom.catalogue.documents.get(documents[0].id).label == "letter"


def test_the_selection_by_ids_and_filters(mailroom: Mailroom) -> None:
    documents = fill(mailroom, 6)
    assert mailroom.catalogue.plans.get(compare(mailroom, ids=[documents[0].id, documents[1].id]))["counts"] == {
        "pending": 1
    }
    assert mailroom.catalogue.plans.get(compare(mailroom, filters=Filters(labels=("memo",))))["counts"] == {}
    with pytest.raises(Refused):
        mailroom.reclassify.plan(Filters(), ids=["nobody"])
    with pytest.raises(Misconfigured):
        mailroom.reclassify.plan(Filters(), model="no-such-model")


def test_ten_kills_in_the_middle_of_an_apply(mailroom: Mailroom) -> None:
    documents = fill(mailroom, 60)
    plan_id = compare(mailroom)
    url, chance = mailroom.settings.catalogue_url, random.Random(25)
    for _ in range(10):
        child = subprocess.Popen(
            [sys.executable, "-c", APPLIER, url, plan_id], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(chance.randint(1, 3)):
            assert child.stdout.readline()
        time.sleep(chance.uniform(0, 0.01))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    assert 0 < mailroom.catalogue.plans.get(plan_id)["counts"]["applied"] < 30, "the kills were not in the middle"
    subprocess.run([sys.executable, "-c", APPLIER, url, plan_id], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert mailroom.catalogue.plans.get(plan_id)["state"] == "applied"
    assert mailroom.catalogue.plans.get(plan_id)["counts"] == {"applied": 30}
    assert [decisions(mailroom, d.id) for d in documents] == [["applied"], []] * 30


def test_two_applies_at_once_decide_once(mailroom: Mailroom) -> None:
    documents = fill(mailroom, 40)
    plan_id = compare(mailroom)
    again = Mailroom(mailroom.settings)

    def run(installation: Mailroom) -> None:
        installation.catalogue.plans.start(plan_id, "apply", 1)
        list(installation.reclassify.steps(plan_id))

    threads = [threading.Thread(target=run, args=(installation,)) for installation in (mailroom, again)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again.close()
    assert mailroom.catalogue.plans.get(plan_id)["state"] == "applied"
    assert [decisions(mailroom, d.id) for d in documents] == [["applied"], []] * 20


def command(mailroom: Mailroom, *arguments: str) -> str:
    """Run `mailroom reclassify ...`, which must succeed, and return what it prints."""
    from typer.testing import CliRunner

    from workers.cli.commands.reclassify import app
    from workers.cli.context import Context

    context = Context(data=str(mailroom.settings.home))
    context.__dict__["mailroom"] = mailroom
    result = CliRunner().invoke(app, list(arguments), obj=context, env={"COLUMNS": "200"}, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_commands_from_plan_to_undo(mailroom: Mailroom, tmp_path: Path) -> None:
    documents = fill(mailroom, 4)
    (tmp_path / "ids").write_text("\n".join(d.id for d in documents[:3]) + "\n")
    output = command(mailroom, "plan", "--inline", "--ids", str(tmp_path / "ids"))
    assert "3 documents, 2 would differ" in output
    plan_id = mailroom.catalogue.plans.all()[0]["id"]
    assert f"reclassify apply {plan_id}" in output
    details = command(mailroom, "show", plan_id)
    assert documents[0].id in details and "invoice" in details and "0.90 -> 0.95" in details
    assert "2 applied" in command(mailroom, "apply", "--inline", plan_id)
    assert mailroom.catalogue.documents.get(documents[0].id).label == "invoice"
    assert "2 undone" in command(mailroom, "undo", "--inline", plan_id)
    assert mailroom.catalogue.documents.get(documents[0].id) == documents[0]
    assert "undone" in command(mailroom, "list")


def test_real_workers_apply_and_undo(mailroom: Mailroom) -> None:
    """Let Celery do it: the command only enqueues and watches; the workers decide and deliver."""
    documents = fill(mailroom, 30)
    deliver_all(mailroom)
    plan_id = compare(mailroom)
    with Running(mailroom.settings.home):
        assert "15 applied" in command(mailroom, "apply", plan_id)
        copies = mailroom.settings.folders_root / "invoice"
        wait_for(lambda: copies.is_dir() and len(list(copies.glob("*.txt"))) == 15, 180, "the copies")
        assert "15 undone" in command(mailroom, "undo", plan_id)
    assert [mailroom.catalogue.documents.get(d.id) for d in documents] == documents
    assert [decisions(mailroom, d.id) for d in documents] == [["applied", "undone"], []] * 15
