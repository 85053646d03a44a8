"""A writer of Outlook messages (.msg, [MS-OXMSG]): subject, plain body, people, date, attachments.

The smallest set of properties that Outlook's format asks for, in Unicode, without rich text and named properties.
"""

from __future__ import annotations

import datetime
import email.utils
import mimetypes
import struct
from dataclasses import dataclass
from pathlib import PurePath

from workers.demo.compound import Storage, write_compound

_UNICODE, _BINARY, _LONG, _TIME = 0x001F, 0x0102, 0x0003, 0x0040
_READ_WRITE = 0x6
_EPOCH = datetime.datetime(1601, 1, 1, tzinfo=datetime.UTC)
_TO, _CC = 1, 2
_MAIL_USER, _ATTACHMENT_OBJECT, _STORE_UNICODE, _BY_VALUE = 6, 7, 0x00040000, 1

Value = str | bytes | int | datetime.datetime


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """``sent_at`` is aware of its zone; ``message_id`` stands in angle brackets."""

    subject: str
    body: str
    sender: Person
    recipients: tuple[Person, ...]
    sent_at: datetime.datetime
    message_id: str
    copies: tuple[Person, ...] = ()
    attachments: tuple[Attachment, ...] = ()


def write_message(message: Message) -> bytes:
    """The bytes of the .msg file."""
    people = [(person, _TO) for person in message.recipients] + [(person, _CC) for person in message.copies]
    root: dict[str, Storage | bytes] = {
        "__nameid_version1.0": {f"__substg1.0_{number:04X}0102": b"" for number in (2, 3, 4)}
    }
    for number, (person, kind) in enumerate(people):
        root[f"__recip_version1.0_#{number:08X}"] = _storage(_recipient(person, kind, number), b"\0" * 8)
    for number, attachment in enumerate(message.attachments):
        root[f"__attach_version1.0_#{number:08X}"] = _storage(_attachment(attachment, number), b"\0" * 8)
    counts = struct.pack("<8xLLLL8x", len(people), len(message.attachments), len(people), len(message.attachments))
    return write_compound({**root, **_storage(_properties(message), counts)})


def _properties(message: Message) -> dict[int, Value]:
    return {
        0x001A: "IPM.Note",
        0x0037: message.subject,
        0x0039: message.sent_at,
        0x007D: _headers(message),
        0x0042: message.sender.name,
        0x0065: message.sender.address,
        0x0070: message.subject,
        0x0C1A: message.sender.name,
        0x0C1E: "SMTP",
        0x0C1F: message.sender.address,
        0x0E03: "; ".join(person.name for person in message.copies),
        0x0E04: "; ".join(person.name for person in message.recipients),
        0x0E06: message.sent_at,
        0x0E07: 1,  # read
        0x0E1D: message.subject,
        0x1000: message.body,
        0x1035: message.message_id,
        0x340D: _STORE_UNICODE,
        0x5D01: message.sender.address,
    }


def _headers(message: Message) -> str:
    lines = [
        ("From", _address(message.sender)),
        ("To", ", ".join(map(_address, message.recipients))),
        ("Cc", ", ".join(map(_address, message.copies))),
        ("Subject", message.subject),
        ("Date", email.utils.format_datetime(message.sent_at)),
        ("Message-ID", message.message_id),
    ]
    return "".join(f"{name}: {value}\r\n" for name, value in lines if value) + "\r\n"


def _address(person: Person) -> str:
    return email.utils.formataddr((person.name, person.address))


def _recipient(person: Person, kind: int, number: int) -> dict[int, Value]:
    return {
        0x0C15: kind,
        0x0FFE: _MAIL_USER,
        0x3000: number,
        0x3001: person.name,
        0x3002: "SMTP",
        0x3003: person.address,
        0x39FE: person.address,
    }


def _attachment(attachment: Attachment, number: int) -> dict[int, Value]:
    path = PurePath(attachment.name)
    return {
        0x0E20: len(attachment.content),
        0x0E21: number,
        0x0FFE: _ATTACHMENT_OBJECT,
        0x3001: attachment.name,
        0x3701: attachment.content,
        0x3703: path.suffix,
        0x3704: f"{path.stem[:6].upper()}~1{path.suffix[:4].upper()}",
        0x3705: _BY_VALUE,
        0x3707: attachment.name,
        0x370B: 0xFFFFFFFF,  # not shown in the text
        0x370E: mimetypes.guess_type(attachment.name)[0] or "application/octet-stream",
    }


def _storage(properties: dict[int, Value], header: bytes) -> dict[str, bytes]:
    """The values that do not fit into the table of properties as streams, and the table."""
    streams, table = {}, header
    for number, value in properties.items():
        kind, fixed, stream = _encoded(value)
        table += struct.pack("<LL8s", number << 16 | kind, _READ_WRITE, fixed)
        if stream is not None:
            streams[f"__substg1.0_{number:04X}{kind:04X}"] = stream
    return {**streams, "__properties_version1.0": table}


def _encoded(value: Value) -> tuple[int, bytes, bytes | None]:
    """(type, eight bytes of the table, stream). A text's length in the table counts its closing zero."""
    if isinstance(value, str):
        text = value.replace("\r\n", "\n").replace("\n", "\r\n").encode("utf-16-le")
        return _UNICODE, struct.pack("<L4x", len(text) + 2), text
    if isinstance(value, bytes):
        return _BINARY, struct.pack("<L4x", len(value)), value
    if isinstance(value, datetime.datetime):
        ticks = (value - _EPOCH) // datetime.timedelta(microseconds=1) * 10
        return _TIME, struct.pack("<Q", ticks), None
    return _LONG, struct.pack("<L4x", value), None
