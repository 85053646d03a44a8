"""What goes over the wire about verdicts: the account of one, a person's decision, the taxonomy."""

from __future__ import annotations

import datetime
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pipeline import explanation, taxonomy
from workers.api.schemas.documents import moment
from workers.services.taxonomy import Changed

Label = Annotated[str, StringConstraints(min_length=1, max_length=taxonomy.MAX_LABEL, pattern=r"^[^\x00-\x1f\x7f]+$")]
Reason = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")]


class Span(BaseModel):
    """A part of the document's text (``start`` to ``end``). ``influence``: how much the log-odds of the label fall without
    it; negative where it speaks against the label. ``without``: the probability that would be left."""

    start: int
    end: int
    page: int | None
    text: str
    influence: float
    without: float


class Example(BaseModel):
    """A document that a person labelled, and its passage nearest to the explained document."""

    document_id: str
    document_name: str
    label: str
    similarity: float
    text: str
    start: int
    end: int
    page: int | None


class Why(BaseModel):
    """The account of a verdict. ``recorded`` and ``recorded_by`` are the document's own label and who gave it: the same
    model, an older one that is no longer here, or "person:" and who it was."""

    document_id: str
    label: str
    probability: float
    runner_up: str
    threshold: float
    confident: bool
    model: str
    recorded: str | None
    recorded_by: str | None
    passes: int = Field(description="texts that the classifier judged for this account")
    spans: list[Span]
    examples: list[Example]

    @classmethod
    def of(cls, found: explanation.Explanation) -> Why:
        return cls.model_validate(asdict(found))


class Approval(BaseModel):
    """Without a label what the document has is approved. ``labels`` are for one that has several: it is filed under the first, and
    ``label`` comes before them. ``new`` allows labels that the house does not have yet."""

    model_config = ConfigDict(extra="forbid")

    label: Label | None = Field(None, examples=["invoice"])
    labels: Annotated[list[Label], Field(max_length=100)] = []
    new: bool = False

    @property
    def asked(self) -> list[str]:
        """The labels in their order."""
        return [*([self.label] if self.label is not None else []), *self.labels]


class Change(BaseModel):
    """rename: one label into one; merge: several into one; split: one into several; retire: one into none."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["rename", "merge", "split", "retire"]
    labels: Annotated[list[Label], Field(min_length=1, max_length=100)]
    into: Annotated[list[Label], Field(max_length=100)] = []
    reason: Reason = ""


class Undo(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Reason = ""


class Operation(BaseModel):
    """``undoes`` is the id of the operation that an "undo" takes back."""

    id: str
    at: datetime.datetime
    who: str
    kind: str
    labels: list[str]
    into: list[str]
    undoes: str
    reason: str

    @classmethod
    def of(cls, operation: taxonomy.Operation) -> Operation:
        return cls.model_validate({**asdict(operation), "at": moment(operation.at)})


class Taxonomy(BaseModel):
    labels: list[str]
    operations: list[Operation]


class Recorded(BaseModel):
    """``documents`` still bear a label that is gone (a reclassification plan moves them); ``rules`` name one."""

    operation: Operation
    documents: int
    rules: list[str]

    @classmethod
    def of(cls, changed: Changed) -> Recorded:
        operation = Operation.of(changed.operation)
        return cls(operation=operation, documents=changed.documents, rules=list(changed.rules))
