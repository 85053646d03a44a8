"""Decisions of persons, and the taxonomy. The explanation of a prediction is `pipeline.explanation.Explanation`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from pipeline import taxonomy
from workers.api.schemas.common import Moment, Request, Response

Label = Annotated[str, StringConstraints(min_length=1, max_length=taxonomy.MAX_LABEL, pattern=r"^[^\x00-\x1f\x7f]+$")]
Reason = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")]


class Approval(Request):
    """Without a label the document's own is approved. ``labels`` are for a document that has several: it is filed under
    the first one, and ``label`` comes before them. ``new`` permits labels that the taxonomy does not have yet."""

    label: Label | None = Field(None, examples=["invoice"])
    labels: Annotated[list[Label], Field(max_length=100)] = []
    new: bool = False

    @property
    def all_labels(self) -> list[str]:
        """The labels in their order."""
        return [*([self.label] if self.label is not None else []), *self.labels]


class TaxonomyChange(Request):
    """rename: one label into one; merge: several into one; split: one into several; retire: one into none."""

    kind: Literal["rename", "merge", "split", "retire"]
    labels: Annotated[list[Label], Field(min_length=1, max_length=100)]
    into: Annotated[list[Label], Field(max_length=100)] = []
    reason: Reason = ""


class TaxonomyUndo(Request):
    """Why the latest operation is undone."""

    reason: Reason = ""


class TaxonomyOperation(Response):
    """``undoes`` is the id of the operation that an "undo" takes back."""

    id: str
    at: Moment
    who: str
    kind: str
    labels: list[str]
    into: list[str]
    undoes: str
    reason: str


class Taxonomy(Response):
    """The labels, and every operation that made them so."""

    labels: list[str]
    operations: list[TaxonomyOperation]


class TaxonomyReceipt(Response):
    """``old_labels``: those that no longer exist, with their earlier names. ``documents`` have one (a plan moves them),
    ``rules`` name one."""

    operation: TaxonomyOperation
    documents: int
    old_labels: list[str]
    rules: list[str]
