"""Access rules and groups, for administrators' keys: the same as `mailroom access` and `mailroom groups`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from workers.api.auth import GrantingAdministrator
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.access import (
    AccessDecision,
    AccessPlace,
    AccessQuestion,
    AccessRuleBody,
    AccessRuleItem,
    AccessRules,
    Group,
    GroupMembers,
    Groups,
    MemberCount,
    RuleReceipt,
)

router = APIRouter(prefix="/v1", tags=["access"])


@router.get("/access", responses=responses(404))
def list_rules(app: App, access: GrantingAdministrator, place: Annotated[AccessPlace, Query()]) -> AccessRules:
    """Return the rules, all or those of one place; of a document also the list that it arrived with."""
    rules = app.mailroom.access.rules(place.scope_or_none(), access.caller.tenant)
    return AccessRules(items=[AccessRuleItem.of(rule) for rule in rules])


@router.post(
    "/access",
    status_code=201,
    responses={200: {"model": RuleReceipt, "description": "The rule held already."}, **responses(404)},
)
def add_rule(body: AccessRuleBody, app: App, access: GrantingAdministrator, response: Response) -> RuleReceipt:
    """Add a rule; it holds from the next query on, everywhere. Deny wins, on whatever place it stands."""
    created = app.mailroom.access.add_rule(body.rule(f"key:{access.caller.key_id}"), access.caller.tenant)
    response.status_code = 201 if created else 200
    return RuleReceipt(created=created)


@router.delete("/access", status_code=204, responses=responses(404, 409))
def remove_rule(app: App, access: GrantingAdministrator, rule: Annotated[AccessRuleBody, Query()]) -> None:
    """Remove a rule, or a principal from the list that a document arrived with."""
    app.mailroom.access.remove_rule(rule.scope(), rule.principal, rule.effect, access.caller.tenant)


@router.get("/access/explain", responses=responses(404))
def explain_access(
    app: App, access: GrantingAdministrator, question: Annotated[AccessQuestion, Query()]
) -> AccessDecision:
    """Return whether someone with these principals may read a document, and the rule that decides."""
    decision = app.mailroom.access.explain(question.document_id, question.principal, access.caller.tenant)
    return AccessDecision.of(decision)


@router.get("/groups", responses=responses())
def list_groups(app: App, access: GrantingAdministrator) -> Groups:
    """Return the groups and their members."""
    return Groups.of(app.mailroom.access.groups(access.caller.tenant))


@router.post("/groups", responses=responses(409))
def add_members(body: Group, app: App, access: GrantingAdministrator) -> MemberCount:
    """Add principals, or other groups, to a group; return how many were not in it."""
    return MemberCount(members=app.mailroom.access.add_members(body.name, body.members, access.caller.tenant))


@router.delete("/groups", responses=responses(404))
def remove_members(app: App, access: GrantingAdministrator, members: Annotated[GroupMembers, Query()]) -> MemberCount:
    """Remove principals from a group; return how many were in it. An empty group no longer exists."""
    return MemberCount(members=app.mailroom.access.remove_members(members.name, members.member, access.caller.tenant))
