"""API keys: the same as `mailroom keys`. Nobody makes or takes over a key that may do more than their own."""

from __future__ import annotations

from fastapi import APIRouter

from workers.api.auth import KeyAccess
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.keys import KeyBody, KeyItem, KeyPage, NewKey, Rotation

router = APIRouter(prefix="/v1/keys", tags=["keys"])


@router.get("", responses=responses())
def list_keys(app: App) -> KeyPage:
    """Return every key without its secret, revoked ones too, oldest first."""
    return KeyPage(items=[KeyItem.of(key) for key in app.mailroom.keys.find_all()])


@router.post("", status_code=201, responses=responses())
def create_key(body: KeyBody, app: App, access: KeyAccess) -> NewKey:
    """Make a key. The response has its secret, this once."""
    return NewKey.of_pair(*app.mailroom.keys.create(body.name, body.access(), access, access.name))


@router.post("/{key_id}/rotate", responses=responses(404))
def rotate_key(key_id: str, body: Rotation, app: App, access: KeyAccess) -> NewKey:
    """Give a key another secret. It stays the same key: what it owns stays its own."""
    rotation = (body.overlap, body.expires or "")
    return NewKey.of_pair(*app.mailroom.keys.rotate(key_id, *rotation, access, access.name))


@router.delete("/{key_id}", status_code=204, responses=responses(404))
def revoke_key(key_id: str, app: App, access: KeyAccess) -> None:
    """End a key, at once."""
    app.mailroom.keys.revoke(key_id, access, access.name)
