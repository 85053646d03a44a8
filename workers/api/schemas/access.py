"""Permissions: rules, groups, and why somebody may read a document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import AliasPath, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from indexes.catalogue.access import MAX_PRINCIPAL
from pipeline import access
from pipeline.access import Effect, Origin
from pipeline.printable import PATTERN
from workers.api.schemas.common import (
    DocumentId,
    Moment,
    NoneIfEmpty,
    PathText,
    Request,
    Response,
    ShortText,
    with_message,
)
from workers.services.access import scope_of

Principal = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_PRINCIPAL, pattern=PATTERN),
    with_message(f"use 1 to {MAX_PRINCIPAL} printable characters, such as user:ann"),
    Field(description="user:ann, group:hr; * is everyone", examples=["group:hr"]),
]
Principals = Annotated[list[Principal], Field(min_length=1, max_length=500)]


_TEXT: JsonDict = {"type": "string"}
_NOTHING: JsonDict = {"type": "null"}
#: The two kinds of places, for a body's schema; a schema of query parameters cannot say it.
_DOCUMENT: JsonDict = {
    "properties": {"document_id": _TEXT, "source": _NOTHING, "folder": _NOTHING},
    "required": ["document_id"],
}
_SOURCE: JsonDict = {"properties": {"source": _TEXT, "document_id": _NOTHING}, "required": ["source"]}


class AccessPlace(Request):
    """A document, or a source with or without a folder of it."""

    source: ShortText | None = Field(None, description="all documents of this source, such as a tray")
    folder: PathText | None = Field(None, description="only this folder of the source, with all below")
    document_id: DocumentId | None = Field(None, description="this document, with what was attached to it")

    def scope(self) -> access.Scope:
        """Return the scope. Raises Refused("contradictory") for no place, or two."""
        return scope_of(self.source or "", self.folder or "", self.document_id or "")

    def scope_or_none(self) -> access.Scope | None:
        """Return the scope, None if no place is named. Raises Refused("contradictory") for two places."""
        return self.scope() if self.source or self.folder or self.document_id else None


class AccessRuleBody(AccessPlace):
    """allow: let the principal read it. deny: hide it, whatever else allows it. only: let the principal read it, and
    hide it from everyone whom no `only` of the same place names."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [_DOCUMENT, _SOURCE]})

    effect: Effect
    principal: Principal

    def rule(self, by: str) -> access.AccessRule:
        """Return the rule, made by ``by``."""
        return access.AccessRule(self.scope(), self.principal, self.effect, by=by)


class AccessRuleItem(Response):
    """A rule that holds. ``origin``: "given" by an administrator, by the "settings" of a tray, or with the "arrival" of
    the document. ``by``: who made it."""

    effect: Effect
    principal: str
    source: Annotated[str | None, NoneIfEmpty] = Field(validation_alias=AliasPath("scope", "source"))
    folder: Annotated[str | None, NoneIfEmpty] = Field(validation_alias=AliasPath("scope", "folder"))
    document_id: Annotated[str | None, NoneIfEmpty] = Field(validation_alias=AliasPath("scope", "document_id"))
    origin: Origin
    by: str
    at: Annotated[Moment | None, NoneIfEmpty]


class AccessRules(BaseModel):
    """Rules that hold."""

    items: list[AccessRuleItem]


class RuleReceipt(BaseModel):
    """``created`` is False if the rule held already."""

    created: bool


class AccessQuestion(Request):
    """A document and the principals of somebody."""

    document_id: DocumentId
    principal: Principals


class AccessDecision(Response):
    """Whether the principals together may read the document; ``rule`` is the one that decided, null where nothing
    allows."""

    allowed: bool
    rule: AccessRuleItem | None


class Group(Request):
    """Principals that stand together under a name. Groups may hold groups, but not in a circle."""

    name: Principal
    members: Principals


class Groups(BaseModel):
    """The groups by name."""

    items: list[Group]

    @classmethod
    def of(cls, groups: Mapping[str, Iterable[str]]) -> Groups:
        """Return the groups, which may have more members than a request may name."""
        return cls(items=[Group.model_construct(name=name, members=list(members)) for name, members in groups.items()])


class GroupMembers(Request):
    """Members of a group."""

    name: Principal
    member: Principals


class MemberCount(BaseModel):
    """How many members were added or removed."""

    members: int
