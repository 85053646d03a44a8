"""Decisions of persons, and the taxonomy. The explanation of a prediction is `pipeline.explanation.Explanation`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from pipeline import taxonomy
from pipeline.printable import PATTERN
from workers.api.schemas.common import Flag, Moment, Request, Response, with_message

Label = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=taxonomy.MAX_LABEL, pattern=PATTERN),
    with_message(f"a label is 1 to {taxonomy.MAX_LABEL} printable characters"),
]
Reason = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")]


class Approval(Request):
    """Without a label the document's own is approved. ``labels`` are for a document that has several: it is filed under
    the first one, and ``label`` comes before them. ``new`` permits labels that the taxonomy does not have yet."""

    label: Label | None = Field(None, examples=["invoice"])
    labels: Annotated[list[Label], Field(max_length=100)] = []
    new: Flag = False

    @property
    def all_labels(self) -> list[str]:
        """The labels in their order."""
        return [*([self.label] if self.label is not None else []), *self.labels]


#: An operation, and the least and the most labels on both sides.
_KINDS = (("rename", 1, 1, 1, 1), ("merge", 1, 100, 1, 1), ("split", 1, 1, 2, 100), ("retire", 1, 1, 0, 0))


def _sides(kind: str, least: int, most: int, least_into: int, most_into: int) -> JsonDict:
    return {
        "properties": {
            "kind": {"const": kind},
            "labels": {"minItems": least, "maxItems": most},
            "into": {"minItems": least_into, "maxItems": most_into},
        },
        "required": ["into"] if least_into else [],
    }


class TaxonomyChange(Request):
    """rename: one label into one; merge: several into one; split: one into several; retire: one into none."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [_sides(*kind) for kind in _KINDS]})

    kind: Literal["rename", "merge", "split", "retire"]
    labels: Annotated[list[Label], Field(min_length=1, max_length=100, json_schema_extra={"uniqueItems": True})]
    into: Annotated[list[Label], Field(max_length=100, json_schema_extra={"uniqueItems": True})] = []
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
