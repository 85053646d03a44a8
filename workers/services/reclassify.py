"""Batch reclassification: jobs of the lane RECLASSIFY, and the making of plans.

    plan      a selection, a model and rules -> jobs "compare" over the stored texts -> saved items; nothing is touched
    apply     jobs "apply": each changes its batch in one transaction, as saved; what changed meanwhile is left alone
    undo      jobs "undo": back to what the plan found

A plan carries the text of its rules and the digest of its model: neither can change under a running plan.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.taxonomy import read_operations
from pipeline.codec import cache_key, decode_prediction
from pipeline.documents import Document, Job, Parsed, Prediction, QueueName, Routing, Stage
from pipeline.errors import MailroomError, Misconfigured, Refused, Unavailable
from pipeline.ingest import backoff
from pipeline.ports import Classifier
from pipeline.questions import ADMINISTRATOR, Filters
from pipeline.reclassify import delivered_to, difference, eligible, has_person_label, person_decision
from pipeline.route import route
from pipeline.rules import BUILT_IN, Rules, parse_rules
from workers.queue.lease import heartbeat, owner
from workers.services.active_classifier import Classifiers
from workers.settings import Settings

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

log = logging.getLogger(__name__)

#: Documents of one job: a few seconds of work, one transaction.
BATCH = 50
WAIT_SECONDS = 0.1


class Reclassify:
    """Makes plans, and runs claimed jobs of the lane RECLASSIFY."""

    def __init__(self, catalogue: Catalogue, classifiers: Classifiers, settings: Settings) -> None:
        self._catalogue, self._classifiers, self._settings = catalogue, classifiers, settings
        self._loaded: dict[str, Classifier] = {}  # by digest; a plan keeps to one
        self._rules: dict[str, Rules] = {}

    def plan(
        self, filters: Filters, ids: Sequence[str] | None = None, model: str | None = None, rules: Path | None = None
    ) -> tuple[str, list[str]]:
        """Save a plan and enqueue its comparison; returns (plan id, job ids). Nothing of any document is touched.

        ``model`` is NAME@VERSION or a folder, ``rules`` a file; None means the configured ones. Raises Misconfigured for
        a bad model or bad rules, Refused("not-found") for an unknown document.
        """
        classifier = self._open(model or "")
        text = rules_text(rules or self._settings.rules_path)
        digest = parse_rules(text).digest
        documents = self._chosen(filters, ids)
        selection = {
            "filters": {name: getattr(filters, name) for name in Filters.__dataclass_fields__},
            "documents": len(documents),
            # Pinned: a promotion does not change a plan that is under way.
            "model": model if model and "/" in model else self._pinned(classifier),
            "model_digest": classifier.digest,
            "rules": text,
        }
        plans = self._catalogue.plans
        plan_id = plans.create(classifier.name, digest, selection)
        return plan_id, plans.start(plan_id, "compare", BATCH, documents)

    def start(self, plan_id: str, action: str) -> list[str]:
        """Enqueue the jobs that "apply" or "undo" the plan; a repeat takes up what is still open."""
        return self._catalogue.plans.start(plan_id, action, BATCH)

    def run(self, job: Job) -> None:
        """One batch. A fault of the surroundings gives the job back; one that stays parks it, which the plan shows."""
        job_store, attempts = self._catalogue.jobs, self._settings.workers.max_attempts
        if job.attempt > attempts:
            job_store.park(job, "attempts-exhausted", f"A batch of plan {job.subject} failed {attempts} times.")
            return
        try:
            if job.stage == "compare":
                self._compare(job)
            else:
                self._catalogue.plans.execute(job)
        except Unavailable as error:
            job_store.release(job, backoff(job.attempt), error.code, error.detail, counted=False)
        except MailroomError as error:
            job_store.park(job, error.code, error.detail)
        except Exception as error:
            log.exception("%s of plan %s failed", job.stage, job.subject)
            job_store.release(job, backoff(job.attempt), "internal", type(error).__name__)

    def steps(self, plan_id: str) -> Iterator[int]:
        """Run due jobs in this process, for installations without a worker; yields the plan's open batches after each.
        What others hold or what waits for its next attempt is waited for."""
        seconds = self._settings.workers.lease_seconds
        job_store, plans = self._catalogue.jobs, self._catalogue.plans
        while open_jobs := plans.get(plan_id)["open_jobs"]:
            yield open_jobs
            claimed = job_store.claim(QueueName.RECLASSIFY, owner(), seconds)
            if not claimed:
                time.sleep(WAIT_SECONDS)
                continue
            with heartbeat(job_store, claimed[0], seconds):
                self.run(claimed[0])

    def _compare(self, job: Job) -> None:
        catalogue = self._catalogue
        selection = catalogue.plans.get(job.subject)["selection"]
        classifier = self._classifier(selection["model"], selection["model_digest"])
        rules = self._parsed_rules(selection["rules"])
        texts = self._texts(job.payload["documents"])
        judged = iter(self._verdicts(classifier, [each for each in texts if not has_person_label(each[0])]))
        operations = read_operations(self._settings.models_root)
        items = []
        for document, _, parsed in texts:
            events = catalogue.documents.history(document.id)[1]
            prediction = person_decision(document, events, operations) if has_person_label(document) else next(judged)
            routing = route(rules, prediction, document, parsed.text, document.metadata)
            items.append(difference(document, prediction, _heard(document, routing), delivered_to(events)))
        catalogue.plans.finish_comparison(job, [item for item in items if item is not None])

    def _texts(self, ids: Sequence[str]) -> list[tuple[Document, str, Parsed]]:
        """The documents with the key and the content of their stored texts; what has none is left out."""
        catalogue = self._catalogue
        found = []
        for document_id in ids:
            document = catalogue.documents.get(document_id)
            parsed = catalogue.chunks.parsed_with_key(document_id) if eligible(document) else None
            if parsed is not None:
                found.append((document, *parsed))
        return found

    def _verdicts(self, classifier: Classifier, texts: Sequence[tuple[Document, str, Parsed]]) -> list[Prediction]:
        """The stored verdict where this model has judged this text before, a new one else."""
        results = self._catalogue.chunks.result
        stored = [results(cache_key(key, Stage.CLASSIFY, classifier.digest)) for _, key, _ in texts]
        new = [parsed.text for (_, _, parsed), payload in zip(texts, stored, strict=True) if payload is None]
        fresh = iter(classifier.classify(new) if new else ())
        return [decode_prediction(payload) if payload is not None else next(fresh) for payload in stored]

    def _classifier(self, model: str, digest: str) -> Classifier:
        """The classifier that the plan was made for. Raises Misconfigured("bad-model") where it is no longer to be had."""
        if digest not in self._loaded:
            current = self._classifiers.current()
            same = current is not None and current.digest == digest
            self._loaded = {digest: current if same else self._classifiers.open(model)}
        classifier = self._loaded[digest]
        if classifier.digest != digest:
            self._loaded = {}
            text = (
                f"Model {classifier.name} or the taxonomy is not the one that the plan was made for; make a new plan."
            )
            raise Misconfigured("bad-model", text)
        return classifier

    def _open(self, model: str) -> Classifier:
        found = self._classifiers.open(model) if model else self._classifiers.current()
        if found is None:
            raise Misconfigured("bad-model", "The configured classifier cannot be used; see `mailroom doctor`.")
        return found

    def _pinned(self, classifier: Classifier) -> str:
        configured = self._settings.models.classifier
        return configured if "/" in configured else classifier.name

    def _parsed_rules(self, text: str) -> Rules:
        if text not in self._rules:
            self._rules = {text: parse_rules(text)}
        return self._rules[text]

    def _chosen(self, filters: Filters, ids: Sequence[str] | None) -> list[str]:
        documents = self._catalogue.documents
        numbers = documents.visible(ADMINISTRATOR, filters)
        if ids is not None:
            numbers &= {documents.get(each).number for each in ids}
        return sorted(document.id for document in documents.by_number(numbers).values())


def _heard(document: Document, routing: Routing) -> Routing:
    """A person has decided: a rule that asks for one is not asked again."""
    return replace(routing, review_reason=None) if has_person_label(document) else routing


def rules_text(path: Path | None) -> str:
    """The text of a rules file, or of the built-in rules."""
    if path is None:
        return BUILT_IN
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured("bad-rules", f"The rules file {path} cannot be read: {error}.") from error


def settled(plan: Mapping[str, Any]) -> bool:
    """Whether the plan's present action is over. Raises Refused("conflict") when batches of it were parked."""
    if plan["open_jobs"]:
        return False
    if plan["dead_jobs"]:
        raise Refused(
            "conflict",
            f"{plan['dead_jobs']} batches of plan {plan['id']} failed: {plan['trouble']} "
            "Mend the cause, then run the command again.",
        )
    return True
