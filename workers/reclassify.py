"""Batch reclassification: compare the stored texts with another model or rule set, save the difference, apply exactly
that, undo it. The work is done by jobs of the lane RECLASSIFY, so a crash loses nothing and any worker may go on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.registry import open_version
from pipeline.classify import OnnxClassifier
from pipeline.codec import decode_parsed
from pipeline.documents import Document, Job, Parsed, State
from pipeline.errors import MailroomError
from pipeline.ingest import backoff
from pipeline.ports import Classifier
from pipeline.questions import Caller, Filters
from pipeline.reclassify import difference
from pipeline.rules import Rules, load_rules

if TYPE_CHECKING:
    from workers.assemble import House

log = logging.getLogger(__name__)

#: Documents in one job: a few seconds of work, so that progress shows and a lease is never long.
BATCH = 50
#: Only documents at rest and with a text can be reclassified.
STATES = (State.INDEXED, State.REVIEW)
ADMIN = Caller((), admin=True)
MAX_ATTEMPTS = 3


class Reclassify:
    """Makes plans (`plan`), starts them (`start`), and runs their jobs (`run`)."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._tools: dict[tuple[str, str | None], tuple[Classifier | None, Rules]] = {}

    def plan(
        self, filters: Filters, ids: Sequence[str] | None = None, model: str | None = None, rules: Path | None = None
    ) -> tuple[str, list[str]]:
        """Create a plan and its "compare" jobs; returns (plan id, job ids). Nothing of any document is touched."""
        plans = self._house.catalogue.plans
        name = model or self._house.settings.models.classifier
        path = str(rules.absolute()) if rules else None
        classifier, chosen = self._tools_for(name, path)
        selection = {"model": name, "rules": path, "filters": _described(filters, ids)}
        plan_id = plans.create(classifier.name if classifier else "none", chosen.digest, selection)
        documents = list(ids) if ids is not None else self._selected(filters)
        return plan_id, plans.start(plan_id, "compare", BATCH, documents)

    def start(self, plan_id: str, action: str) -> list[str]:
        """Enqueue the jobs that apply or undo the plan; a repeat takes up what is still open."""
        return self._house.catalogue.plans.start(plan_id, action, BATCH)

    def run(self, job: Job) -> None:
        """Execute a claimed job."""
        try:
            if job.stage == "compare":
                self._compare(job)
            else:
                self._house.catalogue.plans.execute(job)
        except MailroomError as error:
            self._again(job, error.code, error.detail)
        except Exception as error:
            log.exception("reclassification job %s failed", job.id)
            self._again(job, "internal", type(error).__name__)

    def _again(self, job: Job, code: str, detail: str) -> None:
        ledger = self._house.catalogue.ledger
        if job.attempt >= MAX_ATTEMPTS:
            ledger.park(job, code, detail)
        else:
            ledger.release(job, backoff(job.attempt), code, detail)

    def _compare(self, job: Job) -> None:
        plans = self._house.catalogue.plans
        selection = plans.get(job.subject)["selection"]
        classifier, rules = self._tools_for(selection["model"], selection["rules"])
        found = [pair for each in job.payload["documents"] if (pair := self._text_of(each)) is not None]
        verdicts = classifier.classify([parsed.text for _, parsed in found]) if classifier else [None] * len(found)
        items = [
            {"document_id": document.id, **change}
            for (document, parsed), verdict in zip(found, verdicts, strict=True)
            if (change := difference(document, parsed, verdict, rules)) is not None
        ]
        plans.compared(job, items)

    def _text_of(self, document_id: str) -> tuple[Document, Parsed] | None:
        """The document with its stored parse; None when it is not at rest or has no stored text any more."""
        catalogue = self._house.catalogue
        document = catalogue.documents.get(document_id)
        key = catalogue.passages.parsed_key(document_id)
        payload = catalogue.passages.result(key) if key else None
        if payload is None or document.state not in STATES or document.reason == "no-text":
            return None
        return document, decode_parsed(payload)

    def _selected(self, filters: Filters) -> list[str]:
        ids: list[str] = []
        while True:
            page, total = self._house.catalogue.documents.find(ADMIN, filters, 500, len(ids), newest_first=False)
            ids += [document.id for document in page]
            if not page or len(ids) >= total:
                return ids

    def _tools_for(self, model: str, rules: str | None) -> tuple[Classifier | None, Rules]:
        """The model and the rules of a plan, loaded once per process. The house's own where the plan names no other."""
        if (model, rules) not in self._tools:
            own = model == self._house.settings.models.classifier
            classifier = self._house.classifier if own else self._load(model)
            self._tools[model, rules] = (classifier, load_rules(Path(rules)) if rules else self._house.rules)
        return self._tools[model, rules]

    def _load(self, model: str) -> Classifier:
        settings = self._house.settings
        return OnnxClassifier(open_version(settings.models_root, model), threads=settings.models.threads)


def _described(filters: Filters, ids: Sequence[str] | None) -> Mapping[str, Any]:
    if ids is not None:
        return {"ids": len(ids)}
    described = {name: getattr(filters, name) for name in Filters.__dataclass_fields__}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in described.items() if value}
