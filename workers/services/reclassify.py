"""Reclassification of stored documents by plans, whose jobs are those of the queue RECLASSIFY.

    plan      a selection, a model and rules -> jobs "compare" over the stored texts -> saved items; nothing is changed
    apply     jobs "apply": each changes its batch in one transaction, as saved; documents changed meanwhile are left
    alone undo      jobs "undo": back to what each document was when the plan was made

A plan contains the text of its rules and the digest of its model: neither can change while it runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.taxonomy import read_operations
from pipeline.codec import cache_key, decode_prediction
from pipeline.documents import Document, Job, Parsed, Prediction, QueueName, Stage
from pipeline.errors import MailroomError, Misconfigured, Refused, Unavailable
from pipeline.ingest import backoff
from pipeline.ports import Classifier
from pipeline.questions import ADMINISTRATOR, ALL, Filters
from pipeline.reclassify import delivered_to, difference, eligible, has_person_label, person_decision
from pipeline.route import route
from pipeline.rules import BUILT_IN, parse_rules
from workers.queue.lease import heartbeat, owner
from workers.services.active_classifier import Classifiers
from workers.settings import Settings

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

log = logging.getLogger(__name__)

#: Documents of one job: a few seconds of work, one transaction.
BATCH = 50
WAIT_SECONDS = 0.1


class ReclassificationService:
    """Makes plans, and runs claimed jobs of the queue RECLASSIFY."""

    def __init__(self, catalogue: Catalogue, classifiers: Classifiers, settings: Settings) -> None:
        self._catalogue, self._classifiers, self._settings = catalogue, classifiers, settings
        self._loaded: dict[str, Classifier] = {}  # by digest; one plan uses one
        self._parse_rules = lru_cache(maxsize=1)(parse_rules)

    def plan(
        self, filters: Filters, ids: Sequence[str] | None = None, model: str | None = None, rules: Path | None = None
    ) -> tuple[str, list[str]]:
        """Save a plan and enqueue its comparison; return (plan id, job ids). No document is changed.

        Args:
            filters: the documents to compare.
            ids: only these of them.
            model: NAME@VERSION or a folder; None for the active classifier.
            rules: a rules file; None for the configured one.

        Raises Misconfigured for a bad model or bad rules, Refused("not-found") for an unknown document.
        """
        name = model or self._settings.models.classifier
        classifier = self._classifiers.open(model) if model else self._classifiers.current()
        if classifier is None:
            raise Misconfigured("bad-model", "The configured classifier cannot be used; see `mailroom doctor`.")
        text = rules_text(rules or self._settings.rules_path)
        digest = parse_rules(text).digest
        store = self._catalogue.documents
        if ids is None:
            numbers = store.visible(ADMINISTRATOR, filters)
        else:  # a document that is named may be an older revision
            numbers = store.visible(ADMINISTRATOR, replace(filters, revisions=ALL))
            numbers &= {store.get(document_id).number for document_id in ids}
        documents = sorted(document.id for document in store.by_number(numbers).values())
        selection = {
            "filters": {name: getattr(filters, name) for name in Filters.__dataclass_fields__},
            "documents": len(documents),
            # A folder or NAME@VERSION: a promotion does not change a running plan.
            "model": name if "/" in name else classifier.name,
            "model_digest": classifier.digest,
            "rules": text,
        }
        plans = self._catalogue.plans
        plan_id = plans.create(classifier.name, digest, selection)
        return plan_id, plans.start(plan_id, "compare", BATCH, documents)

    def start(self, plan_id: str, action: str) -> list[str]:
        """Enqueue the jobs that "apply" or "undo" a plan; return their ids. A repeat enqueues what is still open."""
        return self._catalogue.plans.start(plan_id, action, BATCH)

    def run(self, job: Job) -> None:
        """Run one batch. A fault of the surroundings releases the job; another parks it, which the plan shows."""
        jobs, attempts = self._catalogue.jobs, self._settings.workers.max_attempts
        if job.attempt > attempts:
            jobs.park(job, "attempts-exhausted", f"A batch of plan {job.subject} failed {attempts} times.")
            return
        try:
            if job.stage == "compare":
                self._compare(job)
            else:
                self._catalogue.plans.execute(job)
        except Unavailable as error:
            jobs.release(job, backoff(job.attempt), error.code, error.detail, counted=False)
        except MailroomError as error:
            jobs.park(job, error.code, error.detail)
        except Exception as error:
            log.exception("%s of plan %s failed", job.stage, job.subject)
            jobs.release(job, backoff(job.attempt), "internal", type(error).__name__)

    def steps(self, plan_id: str) -> Iterator[int]:
        """Run due jobs in this process, for installations without a worker, until the plan has no open batch.

        Yields the number of its open batches before each job. Jobs that other processes hold or that wait for their
        next attempt are waited for.
        """
        seconds = self._settings.workers.lease_seconds
        jobs, plans = self._catalogue.jobs, self._catalogue.plans
        while open_jobs := plans.get(plan_id)["open_jobs"]:
            yield open_jobs
            claimed = jobs.claim(QueueName.RECLASSIFY, owner(), seconds)
            if not claimed:
                time.sleep(WAIT_SECONDS)
                continue
            with heartbeat(jobs, claimed[0], seconds):
                self.run(claimed[0])

    def _compare(self, job: Job) -> None:
        catalogue = self._catalogue
        selection = catalogue.plans.get(job.subject)["selection"]
        classifier = self._classifier(selection["model"], selection["model_digest"])
        rules = self._parse_rules(selection["rules"])
        documents = map(catalogue.documents.get, job.payload["documents"])
        texts = [
            (document, *stored)
            for document in documents
            if eligible(document) and (stored := catalogue.chunks.parsed_with_key(document.id)) is not None
        ]
        predictions = iter(self._predictions(classifier, [row for row in texts if not has_person_label(row[0])]))
        operations = read_operations(self._settings.models_root)
        items = []
        for document, _, parsed in texts:
            events = catalogue.documents.history(document.id)[1]
            by_person = has_person_label(document)
            prediction = person_decision(document, events, operations) if by_person else next(predictions)
            routing = route(rules, prediction, document, parsed.text, document.metadata)
            if by_person:  # a rule that asks for a person must not ask again
                routing = replace(routing, review_reason=None)
            items.append(difference(document, prediction, routing, delivered_to(events)))
        catalogue.plans.finish_comparison(job, [item for item in items if item is not None])

    def _predictions(self, classifier: Classifier, texts: Sequence[tuple[Document, str, Parsed]]) -> list[Prediction]:
        """Return a prediction for each text: the stored one if this model has classified it, or a new one."""
        result = self._catalogue.chunks.result
        payloads = [result(cache_key(key, Stage.CLASSIFY, classifier.digest)) for _, key, _ in texts]
        missing = [parsed.text for (_, _, parsed), payload in zip(texts, payloads, strict=True) if payload is None]
        predictions = iter(classifier.classify(missing) if missing else ())
        return [decode_prediction(payload) if payload is not None else next(predictions) for payload in payloads]

    def _classifier(self, model: str, digest: str) -> Classifier:
        """Return the classifier that a plan was made for. Raises Misconfigured("bad-model") if it is not available."""
        if digest not in self._loaded:
            active = self._classifiers.current()
            if active is None or active.digest != digest:
                active = self._classifiers.open(model)
            self._loaded = {digest: active}
        classifier = self._loaded[digest]
        if classifier.digest != digest:
            self._loaded = {}
            text = (
                f"Model {classifier.name} or the taxonomy is not the one that the plan was made for; make a new plan."
            )
            raise Misconfigured("bad-model", text)
        return classifier


def rules_text(path: Path | None) -> str:
    """Return the text of a rules file, or of the built-in rules. Raises Misconfigured("bad-rules")."""
    if path is None:
        return BUILT_IN
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured("bad-rules", f"The rules file {path} cannot be read: {error}.") from error


def is_finished(plan: Mapping[str, Any]) -> bool:
    """Return True if the current action of a plan is over. Raises Refused("conflict") if batches of it were parked."""
    if plan["open_jobs"]:
        return False
    if plan["dead_jobs"]:
        raise Refused(
            "conflict",
            f"{plan['dead_jobs']} batches of plan {plan['id']} failed: {plan['trouble']} "
            "Remove the cause, then run the command again.",
        )
    return True
