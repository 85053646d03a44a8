"""Options that several commands have, declared once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, as the REST API returns it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
FacetNames = Annotated[str | None, typer.Option("--facets", help="Count by: type,source,language,owner,month,...")]


def _repeatable(flag: str, text: str, metavar: str | None = None) -> Any:
    return Annotated[list[str] | None, typer.Option(flag, help=f"{text} Repeatable.", metavar=metavar)]


def _single(flag: str, text: str) -> Any:
    return Annotated[str | None, typer.Option(flag, help=text)]


#: By the name of the API's filter field.
FILTERS = {
    "label": _repeatable("--type", "Only this document type."),
    "state": _repeatable("--state", "Only in this state."),
    "source": _repeatable("--source", "Only from this source."),
    "folder": _single("--folder", "Only under this folder of the source."),
    "revisions": _single("--revisions", "newest, or all: older contents of the same place as well."),
    "received_from": _single("--since", "Received at or after (2026-11-24 or with a time)."),
    "received_to": _single("--until", "Received before."),
    "language": _repeatable("--language", "Only in this language."),
    "owner": _repeatable("--owner", "Only of this owner or author."),
    "personal_data": _repeatable("--personal-data", "Only with this kind of personal data, such as iban."),
    "media_type": _repeatable("--media-type", "Only of this media type, such as application/pdf."),
    "metadata": _repeatable("--meta", "Only with this metadata.", metavar="FIELD=VALUE"),
}


def with_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with `FILTERS` in the place of its parameter ``filters``, which gets those that are set by the
    API's names."""

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        filters = {name: arguments.pop(name) for name in FILTERS}
        command(**arguments, filters={name: value for name, value in filters.items() if value})

    signature = inspect.signature(command, eval_str=True)
    keyword = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    parameters = []
    for name, parameter in signature.parameters.items():
        if name == "filters":
            parameters += [keyword(field, default=None, annotation=option) for field, option in FILTERS.items()]
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # see inspect
    return run


def facet_names(facets: str | None) -> list[str]:
    """Return the names between the commas of ``--facets``."""
    return [name.strip() for name in (facets or "").split(",") if name.strip()]
