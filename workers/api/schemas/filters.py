"""Filters and facets, which lists, searches and questions share."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AliasPath,
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from pipeline.documents import State
from pipeline.facets import CUSTOM, FIELDS, MAX_FACETS
from pipeline.questions import Filters
from workers.api.schemas.common import ISO, NO_FLAG, UNFIT, PathText, Request, Response, ShortText, with_message

#: Alternatives of one filter.
Alternatives = Annotated[list[ShortText], Field(max_length=500)]
#: A metadata field and a value: department=hr.
FieldValue = Annotated[
    str,
    StringConstraints(min_length=3, max_length=401, pattern=r"^[^=\x00-\x1f\x7f]+=[^\x00-\x1f\x7f]+$"),
    with_message("give FIELD=VALUE, such as department=hr, without control characters"),
]


def _split(value: Any) -> Any:
    """Split a text, or the texts of a list, at commas; leave anything else to the validation."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or len(texts) > MAX_FACETS or not all(isinstance(text, str) for text in texts):
        return value
    return [word.strip() for text in texts for word in text.split(",") if word.strip()]


_FACET = f"({'|'.join(FIELDS)}|{re.escape(CUSTOM)}[^,\\x00-\\x1f\\x7f]{{1,180}})"
Instant = Annotated[datetime.datetime, ISO]
FacetNames = Annotated[
    list[Annotated[ShortText, WithJsonSchema({"type": "string", "pattern": f"^{_FACET}?$"})]],
    BeforeValidator(_split),
    Field(
        max_length=MAX_FACETS,
        description=f"fields to count documents by: {', '.join(FIELDS)}, {CUSTOM}FIELD; commas between them",
    ),
]
FacetLimit = Annotated[int, Field(ge=1, le=200, description="values of each facet"), NO_FLAG]


class FilterFields(Request):
    """Empty means no limit; several values of one field are alternatives; the fields together narrow."""

    label: Alternatives = Field(default_factory=list, description="document types, such as invoice")
    media_type: Alternatives = Field(default_factory=list, description="such as application/pdf")
    source: Alternatives = Field(default_factory=list, description="where documents came from, such as tray or api")
    language: Alternatives = Field(
        default_factory=list, description="ISO 639-1 codes as the parser detects them, such as en"
    )
    owner: Alternatives = Field(default_factory=list, description="metadata's owner, otherwise its author")
    personal_data: Alternatives = Field(
        default_factory=list, description="kinds of personal data in the text, such as iban"
    )
    metadata: Annotated[list[FieldValue], Field(max_length=500)] = Field(
        default_factory=list,
        description="FIELD=VALUE of the organisation's own fields; several values of a field are alternatives",
    )
    state: Annotated[list[State], Field(max_length=10)] = Field(default_factory=list)
    folder: PathText | None = Field(None, description="a path prefix inside the source")
    revisions: Literal["newest", "all"] = Field(
        "newest", description="of contents sent to one place by one owner the newest, or older ones as well"
    )
    received_from: Instant | None = Field(None, description="at or after; UTC where no zone is given")
    received_to: Instant | None = Field(None, description="before; UTC where no zone is given")

    @model_validator(mode="wrap")
    @classmethod
    def name_the_fields(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        """Name the existing fields in the error for an unknown one."""
        try:
            return handler(value)
        except ValidationError as error:
            lines = [_readable(line, cls) for line in error.errors()]
            raise ValidationError.from_exception_data(error.title, lines) from None

    def filters(self) -> Filters:
        """Return the filters as a search takes them."""
        metadata: dict[str, list[str]] = {}
        for pair in self.metadata:
            name, _, value = pair.partition("=")
            metadata.setdefault(name, []).append(value)
        return Filters(
            labels=tuple(self.label),
            media_types=tuple(self.media_type),
            sources=tuple(self.source),
            folder=self.folder,
            received_from=_epoch(self.received_from),
            received_to=_epoch(self.received_to),
            states=tuple(self.state),
            languages=tuple(self.language),
            owners=tuple(self.owner),
            personal_data=tuple(self.personal_data),
            revisions=self.revisions,
            metadata=tuple((name, tuple(values)) for name, values in metadata.items()),
        )


def _readable(error: Any, model: type[BaseModel]) -> InitErrorDetails:
    line = InitErrorDetails(type=error["type"], loc=error["loc"], input=error["input"], ctx=error.get("ctx", {}))
    if error["type"] == UNFIT:
        line["type"] = PydanticCustomError(UNFIT, error["msg"])
    if error["type"] == "extra_forbidden":
        sentence = "there is no such field; there are {names}"
        line["type"] = PydanticCustomError("unknown_field", sentence, {"names": ", ".join(model.model_fields)})
    return line


def _epoch(time: datetime.datetime | None) -> float | None:
    if time is None:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp()


class FacetCount(Response):
    """How many documents have a value."""

    value: str
    count: int


class FacetPage(Response):
    """Counts over ``documents`` documents that match and that the key may read. Unless ``exact`` they are lower bounds,
    over the best 50,000 passages or those found by their meaning. ``more``: how many further values a facet has."""

    documents: int
    exact: bool
    fields: Annotated[
        dict[str, list[FacetCount]], BeforeValidator(lambda values: {facet.name: facet.values for facet in values})
    ] = Field(validation_alias=AliasPath("facets"))
    more: Annotated[dict[str, int], BeforeValidator(lambda values: {facet.name: facet.more for facet in values})] = (
        Field(validation_alias=AliasPath("facets"))
    )
