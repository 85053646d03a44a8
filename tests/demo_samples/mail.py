"""E-mails as EML, by the standard library."""

from __future__ import annotations

import datetime
import email.policy
import mimetypes
from collections.abc import Mapping
from email.message import EmailMessage

from tests.demo_samples.source import Source


def write_eml(source: Source, attachments: Mapping[str, bytes]) -> bytes:
    """Return the mail. ``attachments``: file name to content. Front matter: from, to, cc, date, subject, message_id."""
    fields, message = source.fields, EmailMessage(email.policy.SMTP)
    for name in ("from", "to", "cc", "subject"):
        if name in fields:
            message[name.capitalize()] = fields[name]
    message["Date"] = datetime.datetime.fromisoformat(fields["date"])
    message["Message-ID"] = fields["message_id"]
    message.set_content(source.body, cte="quoted-printable")
    for name, content in attachments.items():
        main, _, sub = (mimetypes.guess_type(name)[0] or "application/octet-stream").partition("/")
        message.add_attachment(content, maintype=main, subtype=sub, filename=name)
    if attachments:
        message.set_boundary(f"=_{fields['message_id'].strip('<>').partition('@')[0]}_=")
    return message.as_bytes()
