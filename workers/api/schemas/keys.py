"""API keys: what a new one may do, and what is known of each."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AliasPath, BaseModel, BeforeValidator, Field, WithJsonSchema

from pipeline.rights import SCOPES, Access, Key
from workers.api.schemas.access import Principal
from workers.api.schemas.common import Flag, Moment, PathText, Request, Response, ShortText
from workers.services.keys import access_for


def _text(pattern: str, description: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern, "description": description}


# The patterns stand in the description only: the service says in words what is wrong.
Duration = Annotated[ShortText, WithJsonSchema(_text("^(0|[0-9]{1,9}[mhdw])$", "30m, 24h, 90d or 2w; 0 is none"))]
Lifetime = Annotated[ShortText, WithJsonSchema(_text("^[1-9][0-9]{0,8}[mhdw]$", "30m, 24h, 90d or 2w"))]
_PLACE = r"^[^/\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,999}$"
Source = Annotated[PathText, WithJsonSchema(_text(_PLACE, "SOURCE or SOURCE/FOLDER"))]
KeyScope = Annotated[ShortText, WithJsonSchema({"type": "string", "enum": list(SCOPES)})]
Names = Annotated[list[Principal], Field(max_length=100)]
_EACH = "; ".join(f"{scope}: {text}" for scope, text in SCOPES.items())


class KeyBody(Request):
    """A new key. An administrator's key has all scopes, sees every document, and needs none of the lists."""

    name: ShortText = Field(description="what the key is for")
    principals: Names = Field([], description="whom it stands for")
    scopes: list[KeyScope] = Field(["read"], max_length=20, description=_EACH, json_schema_extra={"minItems": 1})
    sources: list[Source] = Field(
        [], max_length=100, description="SOURCE or SOURCE/FOLDER that it may write to, * for any; by default api"
    )
    grants: Names = Field(
        [], description="principals that it may name beside its own; user:* for all that begin so, * for all"
    )
    admin: Flag = False
    expires: Lifetime | None = None

    def access(self) -> Access:
        """Return the access that the key is to give. Raises Refused("bad-request")."""
        lists = (self.principals, self.scopes, self.sources, self.grants)
        return access_for(*lists, admin=self.admin, expires=self.expires or "")


class Rotation(Request):
    """``overlap``: how long the secret before stays valid, 0 to end it at once. ``expires`` replaces the key's end."""

    overlap: Duration = "24h"
    expires: Lifetime | None = None


class KeyItem(Response):
    """A key without its secret. ``last_used_at`` is exact to a minute; the secret before a rotation is valid until
    ``overlap_until``."""

    id: str
    name: str
    principals: list[str] = Field(validation_alias=AliasPath("access", "caller", "principals"))
    scopes: Annotated[list[str], BeforeValidator(sorted)] = Field(validation_alias=AliasPath("access", "scopes"))
    sources: list[str] = Field(validation_alias=AliasPath("access", "sources"))
    grants: list[str] = Field(validation_alias=AliasPath("access", "grants"))
    admin: bool = Field(validation_alias=AliasPath("access", "caller", "admin"))
    expires_at: Moment | None = Field(validation_alias=AliasPath("access", "expires_at"))
    created_at: Moment
    created_by: str
    last_used_at: Moment | None
    rotated_at: Moment | None
    rotated_by: str | None
    overlap_until: Moment | None
    revoked_at: Moment | None
    revoked_by: str | None


class KeyPage(BaseModel):
    """The keys, oldest first."""

    items: list[KeyItem]


class NewKey(KeyItem):
    """A key with its secret ``key``, which is shown this once."""

    key: str = ""

    @classmethod
    def of_pair(cls, key: Key, secret: str) -> Self:
        """Return the model of a key and its secret."""
        return cls.of(key).model_copy(update={"key": secret})
