"""The options that narrow what a command looks at: declared once, given to each command that takes filters."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer


def _several(flag: str, text: str, **more: Any) -> Any:
    return Annotated[list[str] | None, typer.Option(flag, help=f"{text} Repeatable.", **more)]


def _one(flag: str, text: str) -> Any:
    return Annotated[str | None, typer.Option(flag, help=text)]


#: By the name of the API's filter field.
OPTIONS = {
    "label": _several("--type", "Only this document type."),
    "state": _several("--state", "Only in this state."),
    "source": _several("--source", "Only from this source."),
    "folder": _one("--folder", "Only under this folder of the source."),
    "received_from": _one("--since", "Received at or after (2026-11-24 or with a time)."),
    "received_to": _one("--until", "Received before."),
    "language": _several("--language", "Only in this language."),
    "owner": _several("--owner", "Only of this owner or author."),
    "media_type": _several("--media-type", "Only of this media type, such as application/pdf."),
    "metadata": _several("--meta", "Only with this metadata.", metavar="FIELD=VALUE"),
}
FacetNames = Annotated[str | None, typer.Option("--facets", help="Count by: type,source,language,owner,month,...")]


def narrowed(command: Callable[..., None]) -> Callable[..., None]:
    """The command with `OPTIONS` where its parameter ``filters`` stands: it gets those that are given, as the API names them."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        filters = {name: given.pop(name) for name in OPTIONS}
        command(**given, filters={name: value for name, value in filters.items() if value})

    signature = inspect.signature(command, eval_str=True)
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in OPTIONS.items()
    ]
    own = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in signature.parameters.values()]
    place = next(place for place, each in enumerate(own) if each.name == "filters")
    run.__signature__ = signature.replace(parameters=[*own[:place], *options, *own[place + 1 :]])  # type: ignore[attr-defined]
    return run


def names_of(facets: str | None) -> list[str]:
    """The names between the commas."""
    return [name.strip() for name in (facets or "").split(",") if name.strip()]
