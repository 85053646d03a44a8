"""Access rules and groups: the same as `mailroom access` and `mailroom groups`.

An administrator's key reads and changes all. Another one sees and changes the rules of the places that it may write to,
and names the principals that it may name; otherwise it could grant itself what it may not read.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from pipeline.access import Scope
from workers.api.auth import KeyAccess
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


@router.get("/access", responses=responses(404, 409))
def list_rules(app: App, access: KeyAccess, place: Annotated[AccessPlace, Query()]) -> AccessRules:
    """Return the rules, all or those of one place; of a document also the list that it arrived with."""
    service, scope = app.mailroom.access, place.scope_or_none()
    service.check_rights(access, (), scope)
    rules = service.rules(scope, access.caller.tenant)
    return AccessRules(items=[AccessRuleItem.of(rule) for rule in rules if service.may_change(access, rule.scope)])


@router.post(
    "/access",
    status_code=201,
    responses={200: {"model": RuleReceipt, "description": "The rule held already."}, **responses(404, 409)},
)
def add_rule(body: AccessRuleBody, app: App, access: KeyAccess, response: Response) -> RuleReceipt:
    """Add a rule; it holds from the next query on, everywhere. Deny wins, on whatever place it stands."""
    rule = body.rule(access.name)
    app.mailroom.access.check_rights(access, [rule.principal], rule.scope)
    created = app.mailroom.access.add_rule(rule, access.caller.tenant)
    response.status_code = 201 if created else 200
    return RuleReceipt(created=created)


@router.delete("/access", status_code=204, responses=responses(404, 409))
def remove_rule(app: App, access: KeyAccess, rule: Annotated[AccessRuleBody, Query()]) -> None:
    """Remove a rule, or a principal from the list that a document arrived with."""
    app.mailroom.access.check_rights(access, [rule.principal], rule.scope())
    app.mailroom.access.remove_rule(rule.scope(), rule.principal, rule.effect, access.caller.tenant)


@router.get("/access/explain", responses=responses(404))
def explain_access(app: App, access: KeyAccess, question: Annotated[AccessQuestion, Query()]) -> AccessDecision:
    """Return whether someone with these principals may read a document, and the rule that decides."""
    app.mailroom.access.check_rights(access, question.principal, Scope(document_id=question.document_id))
    decision = app.mailroom.access.explain(question.document_id, question.principal, access.caller.tenant)
    return AccessDecision.of(decision)


@router.get("/groups", responses=responses())
def list_groups(app: App, access: KeyAccess) -> Groups:
    """Return the groups and their members."""
    groups = app.mailroom.access.groups(access.caller.tenant)
    return Groups.of({name: members for name, members in groups.items() if access.may_name(name)})


@router.post("/groups", responses=responses(409))
def add_members(body: Group, app: App, access: KeyAccess) -> MemberCount:
    """Add principals, or other groups, to a group; return how many were not in it."""
    app.mailroom.access.check_rights(access, [body.name, *body.members])
    return MemberCount(members=app.mailroom.access.add_members(body.name, body.members, access.caller.tenant))


@router.delete("/groups", responses=responses(404))
def remove_members(app: App, access: KeyAccess, members: Annotated[GroupMembers, Query()]) -> MemberCount:
    """Remove principals from a group; return how many were in it. An empty group no longer exists."""
    app.mailroom.access.check_rights(access, [members.name, *members.member])
    return MemberCount(members=app.mailroom.access.remove_members(members.name, members.member, access.caller.tenant))
