"""Groups and rules of access, for administrators' keys: what `mailroom access` and `mailroom groups` do."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from workers.api.auth import GrantingAdministrator
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.access import AccessDecision, Asked, Count, Given, Group, Groups, Leaving, Line, Place, Rules

router = APIRouter(prefix="/v1", tags=["access"])


@router.get("/access", responses=responses(404))
def list_rules(app: App, access: GrantingAdministrator, place: Annotated[Place, Query()]) -> Rules:
    """The rules, all or of one place; of a document also the list that it arrived with."""
    return Rules.of(app.mailroom.access.rules(place.named(), access.caller.tenant))


@router.post(
    "/access",
    status_code=201,
    responses={200: {"model": Given, "description": "The rule held already."}, **responses(404)},
)
def give_rule(body: Line, app: App, access: GrantingAdministrator, response: Response) -> Given:
    """Let a rule hold, from the next query on, everywhere. Deny wins, wherever it stands."""
    created = app.mailroom.access.add_rule(body.rule(f"key:{access.caller.key_id}"), access.caller.tenant)
    response.status_code = 201 if created else 200
    return Given(created=created)


@router.delete("/access", status_code=204, responses=responses(404, 409))
def take_rule(app: App, access: GrantingAdministrator, line: Annotated[Line, Query()]) -> None:
    """Take a rule away, or a principal off the list that a document arrived with."""
    app.mailroom.access.remove_rule(line.scope(), line.principal, line.effect, access.caller.tenant)


@router.get("/access/explain", responses=responses(404))
def explain(app: App, access: GrantingAdministrator, asked: Annotated[Asked, Query()]) -> AccessDecision:
    """Whether someone of these principals may read a document, and the rule that decides."""
    return AccessDecision.of(app.mailroom.access.explain(asked.document_id, asked.principal, access.caller.tenant))


@router.get("/groups", responses=responses())
def list_groups(app: App, access: GrantingAdministrator) -> Groups:
    """The groups and who is in them."""
    return Groups.of(app.mailroom.access.groups(access.caller.tenant))


@router.post("/groups", responses=responses(409))
def join_group(body: Group, app: App, access: GrantingAdministrator) -> Count:
    """Put principals, or other groups, into a group; how many were not in it."""
    return Count(members=app.mailroom.access.add_members(body.name, body.members, access.caller.tenant))


@router.delete("/groups", responses=responses(404))
def leave_group(app: App, access: GrantingAdministrator, leaving: Annotated[Leaving, Query()]) -> Count:
    """Take principals out of a group; one that is empty is gone."""
    gone = app.mailroom.access.remove_members(leaving.name, leaving.member, access.caller.tenant)
    return Count(members=gone)
