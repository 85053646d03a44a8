"""What goes over the wire about permissions: rules, groups, and why somebody may read a document."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pipeline import access
from pipeline.access import Effect, Origin
from workers.api.schemas.documents import PathText, ShortText, moment
from workers.services.access import scope_of

Principal = Annotated[ShortText, Field(description="user:ann, group:hr; * is everyone", examples=["group:hr"])]
Principals = Annotated[list[Principal], Field(min_length=1, max_length=500)]
DocumentId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class Place(BaseModel):
    """A document, or a source with or without a folder of it."""

    model_config = ConfigDict(extra="forbid")

    source: ShortText | None = Field(None, description="all documents of this source, such as a tray")
    folder: PathText | None = Field(None, description="only this folder of the source, with all below")
    document_id: DocumentId | None = Field(None, description="this document, with what was attached to it")

    def scope(self) -> access.Scope:
        """Raises Refused("bad-request") for no place, or two."""
        return scope_of(self.source or "", self.folder or "", self.document_id or "")

    def named(self) -> access.Scope | None:
        """The same; None where nothing is named."""
        return self.scope() if self.source or self.folder or self.document_id else None


class Line(Place):
    """allow: let the principal read it. deny: hide it, whatever else allows it. only: let the principal read it, and hide it
    from everyone whom no `only` of the same place names."""

    effect: Effect
    principal: Principal

    def rule(self, by: str) -> access.Rule:
        return access.Rule(self.scope(), self.principal, self.effect, by=by)


class Rule(BaseModel):
    """A rule that holds. ``origin``: "given" by an administrator, by the "settings" of a tray, or with the "arrival" of the
    document. ``by``: who gave it."""

    effect: Effect
    principal: str
    source: str | None
    folder: str | None
    document_id: str | None
    origin: Origin
    by: str
    at: datetime.datetime | None

    @classmethod
    def of(cls, rule: access.Rule) -> Rule:
        scope = rule.scope
        return cls(
            effect=rule.effect,
            principal=rule.principal,
            source=scope.source or None,
            folder=scope.folder or None,
            document_id=scope.document_id or None,
            origin=rule.origin,
            by=rule.by,
            at=moment(rule.at) if rule.at else None,
        )


class Rules(BaseModel):
    items: list[Rule]

    @classmethod
    def of(cls, rules: Iterable[access.Rule]) -> Rules:
        return cls(items=[Rule.of(rule) for rule in rules])


class Given(BaseModel):
    """``created`` is False where the rule held already."""

    created: bool


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    document_id: DocumentId
    principal: Principals


class AccessDecision(BaseModel):
    """Whether the principals together may read the document; ``rule`` is the one that decided, null where nothing allows."""

    allowed: bool
    rule: Rule | None

    @classmethod
    def of(cls, decision: access.Decision) -> AccessDecision:
        return cls(allowed=decision.allowed, rule=Rule.of(decision.rule) if decision.rule else None)


class Group(BaseModel):
    """Principals that stand together under a name. Groups may hold groups, but not in a circle."""

    model_config = ConfigDict(extra="forbid")

    name: Principal
    members: Principals


class Groups(BaseModel):
    items: list[Group]

    @classmethod
    def of(cls, groups: Mapping[str, Iterable[str]]) -> Groups:
        return cls(items=[Group.model_construct(name=name, members=list(held)) for name, held in groups.items()])


class Leaving(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Principal
    member: Principals


class Count(BaseModel):
    """How many members came or went."""

    members: int
