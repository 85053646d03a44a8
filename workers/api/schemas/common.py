"""What the models share: constrained texts with readable error messages, times, and responses read from records."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

#: The type of an error raised for a text that does not match its pattern.
UNFIT = "unfit_text"


def with_message(sentence: str) -> WrapValidator:
    """Replace pydantic's regular-expression message with a readable one."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            if error.errors()[0]["type"] in ("string_pattern_mismatch", "string_too_short"):
                raise PydanticCustomError(UNFIT, sentence) from None
            raise

    return WrapValidator(validate)


_PRINTABLE = with_message("give at least one character, and no control characters")
#: A short text without control characters, safe for databases and logs.
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$"), _PRINTABLE]
ShortTexts = Annotated[list[ShortText], Field(max_length=50)]
PathText = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]+$"), _PRINTABLE]
#: What people type: up to 4,000 characters, not blank.
QueryText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=4000, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$"),
    with_message("there is nothing to look for in a blank text, or in one with a NUL character"),
]


def _no_number(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise PydanticCustomError(UNFIT, "give true or false")
    return value


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError(UNFIT, "give a number")
    return value


def _iso(value: Any) -> Any:
    if isinstance(value, datetime.datetime) or (isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d", value)):
        return value
    raise PydanticCustomError(UNFIT, "give a date or time of ISO 8601, such as 2026-03-31T12:00:00Z")


#: Refuses numbers as a time, which would be read as seconds of an era.
ISO = BeforeValidator(_iso)
#: true or false, also as the text of a query parameter; not 0 and 1.
Flag = Annotated[bool, BeforeValidator(_no_number)]
#: Refuses true and false as a number. It stands behind the bounds: before them it would hide them from the schema.
NO_FLAG = BeforeValidator(_no_flag)
DocumentId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


def moment(seconds: float) -> datetime.datetime:
    """Return epoch seconds as a time in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


#: A time, from the epoch seconds of a record.
Moment = Annotated[datetime.datetime, BeforeValidator(moment)]
#: None where a record has an empty value.
NoneIfEmpty = BeforeValidator(lambda value: value or None)


class Request(BaseModel):
    """A request model: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Response(BaseModel):
    """A response model, read from the attributes of a record."""

    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def of(cls, record: object) -> Self:
        """Return the model of a record. Fields without an attribute keep their default."""
        return cls.model_validate(record)
