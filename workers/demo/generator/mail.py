"""E-mails: EML by the standard library, MSG by `workers.demo.msg`."""

from __future__ import annotations

import datetime
import email.policy
import email.utils
import mimetypes
from collections.abc import Mapping
from email.message import EmailMessage

from workers.demo.generator.source import Source
from workers.demo.msg import Attachment, Message, Person, write_message


def write_eml(source: Source, attachments: Mapping[str, bytes]) -> bytes:
    """Front matter: from, to, cc, date, subject, message_id. ``attachments``: file name -> content."""
    facts, message = source.facts, EmailMessage(email.policy.SMTP)
    for name in ("from", "to", "cc", "subject"):
        if name in facts:
            message[name.capitalize()] = facts[name]
    message["Date"] = _date(source)
    message["Message-ID"] = facts["message_id"]
    message.set_content(source.body, cte="quoted-printable")
    for name, content in attachments.items():
        main, _, sub = (mimetypes.guess_type(name)[0] or "application/octet-stream").partition("/")
        message.add_attachment(content, maintype=main, subtype=sub, filename=name)
    if attachments:
        message.set_boundary(f"=_{source.facts['message_id'].strip('<>').partition('@')[0]}_=")
    return message.as_bytes()


def write_msg(source: Source, attachments: Mapping[str, bytes]) -> bytes:
    """The same as Outlook saves it."""
    facts = source.facts
    return write_message(
        Message(
            subject=facts["subject"],
            body=source.body,
            sender=_people(facts["from"])[0],
            recipients=tuple(_people(facts["to"])),
            copies=tuple(_people(facts.get("cc", ""))),
            sent_at=_date(source),
            message_id=facts["message_id"],
            attachments=tuple(Attachment(name, content) for name, content in attachments.items()),
        )
    )


def _date(source: Source) -> datetime.datetime:
    return datetime.datetime.fromisoformat(source.facts["date"])


def _people(line: str) -> list[Person]:
    return [Person(name, address) for name, address in email.utils.getaddresses([line]) if address]
