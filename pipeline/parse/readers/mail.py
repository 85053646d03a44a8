"""E-mail: headers, body and attachments of EML and MSG.

Attachments become documents of their own; they are never read here.
"""

from __future__ import annotations

import contextlib
import email
import email.errors
import email.header
import email.message
import email.utils
import mimetypes
import re
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import BinaryIO

from pipeline.errors import Rejected
from pipeline.parse.findings import AttachmentRow, Findings
from pipeline.parse.readers.markup import add_html
from pipeline.parse.readers.text import add_text, decode

_MAX_PARTS = 2000
_MAX_HEADER = 20_000
_NESTED_PART = re.compile(rb"(?im)^content-type:\s*(?:multipart|message)/")
_SIGNATURES = ("application/pkcs7-signature", "application/pgp-signature", "application/x-pkcs7-signature")
_HEADERS = ("subject", "from", "to", "cc", "date", "message-id")
_TEXT_HEADERS = ("From", "To", "Cc", "Date", "Subject")


def read_eml(file: BinaryIO, findings: Findings) -> None:
    """Read an EML message: headers, body and attachments. Raises Rejected."""
    findings.parser = "mailroom mail 1"
    findings.pages = 1
    data = file.read()
    if b"\0" in data[:1000]:
        data = decode(data).encode("utf-8")  # a mail stored as UTF-16
    # Python's parser recurses once per nested multipart and rescans the rest at every level.
    nested, limit = len(_NESTED_PART.findall(data)), 10 * findings.limits.max_depth
    if nested > limit:
        raise Rejected("too-deep", f"The mail has {nested} nested parts; the limit is {limit}.")
    message = email.message_from_bytes(data.lstrip(b"\r\n\t "))
    if not message.keys():
        # Part of a mailbox, or not a mail at all: its text should still be searchable.
        findings.flags.add("malformed")
        return add_text(findings, decode(data), 1)
    _add_headers(findings, {name: _header(message, name) for name in _HEADERS})
    bodies: list[tuple[str, str]] = []
    _collect(message, findings, bodies, 0)
    _add_body(findings, bodies)


def _header(message: email.message.Message, name: str) -> str:
    """Return a header decoded for display; text that cannot be decoded is returned unchanged."""
    raw = message.get(name)
    if raw is None:
        return ""
    text = str(raw)[:_MAX_HEADER]
    if any("\udc80" <= c <= "\udcff" for c in text):  # raw bytes, against the standard
        text = decode(text.encode("utf-8", "surrogateescape"))
    with contextlib.suppress(LookupError, UnicodeError, ValueError, email.errors.HeaderParseError):
        text = str(email.header.make_header(email.header.decode_header(text)))
    return " ".join(text.split())


def _add_headers(findings: Findings, headers: dict[str, str]) -> None:
    findings.title = headers["subject"] or None
    findings.add_metadata(**headers)
    if headers["from"]:
        findings.add_metadata(author=headers["from"])
    with contextlib.suppress(TypeError, ValueError, IndexError):
        findings.add_metadata(created=email.utils.parsedate_to_datetime(headers["date"]).isoformat())
    lines = [f"{name}: {headers[name.lower()]}" for name in _TEXT_HEADERS if headers.get(name.lower())]
    if lines:
        findings.add("EmailHeader", "\n".join(lines), 1)


def _collect(part: email.message.Message, findings: Findings, bodies: list[tuple[str, str]], depth: int) -> None:
    """Walk the parts: append bodies as (media type, text), add attachments to the findings."""
    if depth > findings.limits.max_depth:
        raise Rejected("too-deep", f"The mail is nested more than {findings.limits.max_depth} levels deep.")
    kind = part.get_content_type()
    name = decoded_name(part)
    if part.get_content_maintype() == "multipart" and part.is_multipart():
        for child in _children(part):
            _collect(child, findings, bodies, depth + 1)
    elif kind == "message/rfc822" or _children(part):
        _attach_messages(part, findings, name)
    elif kind in ("text/plain", "text/html") and not name and part.get_content_disposition() != "attachment":
        bodies.append((kind, decode(_payload(part), part.get_content_charset())))
    elif not is_decoration(part, name):
        attach(findings, name or f"part{mimetypes.guess_extension(kind) or '.bin'}", kind, _payload(part))


def _children(part: email.message.Message) -> list[email.message.Message]:
    """Return the first parts of a multipart or of an attached message; nothing for any other part."""
    payload = part.get_payload()
    return [child for child in payload[:_MAX_PARTS] if not isinstance(child, str)] if isinstance(payload, list) else []


def _payload(part: email.message.Message) -> bytes:
    try:
        payload = part.get_payload(decode=True)
    except (ValueError, LookupError, AssertionError):
        payload = str(part.get_payload()).encode("utf-8", "surrogateescape")
    return payload if isinstance(payload, bytes) else b""


def decoded_name(part: email.message.Message) -> str:
    """Return a part's file name on one line; empty if it has none or an unreadable one."""
    try:
        raw = part.get_filename() or ""
        raw = str(email.header.make_header(email.header.decode_header(raw)))
    except (LookupError, UnicodeError, ValueError, TypeError, email.errors.HeaderParseError):
        raw = ""
    return " ".join(raw.split())


def is_decoration(part: email.message.Message, name: str) -> bool:
    """Return True for a picture in the HTML body (mostly a logo) or a signature: not documents of their own."""
    if part.get_content_type() in _SIGNATURES:
        return True
    inline = part.get_content_disposition() != "attachment"
    return inline and part.get_content_maintype() == "image" and (part.get("content-id") is not None or not name)


def _attach_messages(part: email.message.Message, findings: Findings, name: str) -> None:
    children = _children(part)
    if not children:
        findings.flags.add("attachment-unreadable")
    for inner in children:
        try:
            content = inner.as_bytes()
        except Exception:  # the generator fails in many ways on a message that the parser accepted
            findings.flags.add("attachment-unreadable")
            continue
        title = name or f"{_header(inner, 'subject')[:80] or 'message'}.eml"
        attach(findings, title, "message/rfc822", content)


def attach(findings: Findings, name: str, media_type: str, content: bytes) -> None:
    """Store an attachment under its file name without folders; over the limits, set a flag instead."""
    if not content:
        return
    room = findings.limits.max_attachment_bytes - sum(len(stored.content) for stored in findings.attachments)
    if len(findings.attachments) >= findings.limits.max_attachments or len(content) > room:
        findings.flags.add("attachments-dropped")
        return
    base = PurePosixPath(name.replace("\\", "/")).name.replace("\0", "")
    findings.attachments.append(AttachmentRow(base.lstrip(".")[-200:] or "attachment", media_type[:100], content))


def _add_body(findings: Findings, bodies: list[tuple[str, str]]) -> None:
    """Add the plain text, or the HTML if there is none."""
    plain = [text for kind, text in bodies if kind == "text/plain" and text.strip()]
    for text in plain:
        add_text(findings, text, 1)
    if not plain:
        for kind, text in bodies:
            if kind == "text/html":
                title = findings.title
                add_html(findings, text, 1)
                findings.title = title


def read_msg(file: BinaryIO, findings: Findings) -> None:
    """Read an Outlook MSG file with oxmsg. Raises Rejected."""
    from oxmsg import Message

    findings.pages = 1
    try:
        message = Message.load(file)
        headers = {key.lower(): value for key, value in (message.message_headers or {}).items()}
        people = ", ".join(f"{r.name} <{r.email_address}>" for r in message.recipients[:100])
        date = headers.get("date") or (message.sent_date.isoformat() if message.sent_date else "")
        own = {"subject": message.subject, "from": message.sender, "to": people, "date": date}
        texts = {name: str(own.get(name) or headers.get(name) or "") for name in _HEADERS}
        _add_headers(findings, {name: " ".join(text.split()) for name, text in texts.items()})
        bodies = [("text/plain", message.body or ""), ("text/html", message.html_body or "")]
        _add_body(findings, bodies)
        for item in message.attachments:
            attach(
                findings,
                item.file_name or "attachment",
                item.mime_type or "application/octet-stream",
                item.file_bytes or b"",
            )
    except (OSError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise Rejected("damaged", "The Outlook message cannot be read; save it again, or forward it as EML.") from error
    findings.parser = f"oxmsg {version('python-oxmsg')}"
