"""The writer of Outlook messages, read back by programs that are not ours."""

from __future__ import annotations

import datetime
import io

import olefile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oxmsg import Message as OxMessage

from workers.demo.compound import write_compound
from workers.demo.msg import Attachment, Message, Person, write_message

SENT = datetime.datetime(2026, 3, 5, 14, 30, tzinfo=datetime.UTC)
MESSAGE = Message(
    subject="Rotor housing § 4 – Größe",
    body="Dear Sefa,\n\nthe price is £286.00.\n",
    sender=Person("Rosalind Okonjo-Birch", "r@hollinvale.example"),
    recipients=(Person("Jonas Wickett", "j@larkspindle.example"), Person("Sefa", "s@larkspindle.example")),
    copies=(Person("Odalys Fenwright", "o@larkspindle.example"),),
    sent_at=SENT,
    message_id="<1@hollinvale.example>",
    attachments=(Attachment("small.txt", b"three"), Attachment("large drawing.pdf", bytes(range(256)) * 4000)),
)


def test_oxmsg_reads_what_was_written():
    read = OxMessage.load(io.BytesIO(write_message(MESSAGE)))
    assert read.subject == MESSAGE.subject
    assert read.body == MESSAGE.body.replace("\n", "\r\n")
    assert read.sender == "Rosalind Okonjo-Birch <r@hollinvale.example>"
    assert [(r.name, r.email_address) for r in read.recipients] == [
        (p.name, p.address) for p in (*MESSAGE.recipients, *MESSAGE.copies)
    ]
    assert read.sent_date == SENT
    assert [(a.file_name, a.file_bytes) for a in read.attachments] == [(a.name, a.content) for a in MESSAGE.attachments]
    assert read.attachments[1].mime_type == "application/pdf"


def test_unstructured_reads_it_too():
    from pipeline.parse import shim

    shim.install()
    from unstructured.partition.msg import partition_msg

    elements = partition_msg(file=io.BytesIO(write_message(MESSAGE)))
    assert any("the price is £286.00." in element.text for element in elements)
    assert elements[0].metadata.subject == MESSAGE.subject
    assert elements[0].metadata.sent_to == [p.address for p in (*MESSAGE.recipients, *MESSAGE.copies)]


def test_same_message_same_bytes():
    assert write_message(MESSAGE) == write_message(MESSAGE)


NAMES = st.text(st.characters(min_codepoint=48, max_codepoint=122), min_size=1, max_size=20).filter(
    lambda name: not set(name) & set("/\\:!")
)
SIZES = st.sampled_from([0, 1, 63, 64, 65, 511, 512, 4095, 4096, 4097, 70_000])


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(NAMES, SIZES, max_size=25))
def test_streams_of_every_size_come_back(sizes):
    # Names that differ in case only are one name in this format.
    streams = {name.upper(): bytes([number % 251]) * size for number, (name, size) in enumerate(sizes.items())}
    with olefile.OleFileIO(io.BytesIO(write_compound({**streams, "a storage": {"inner": b"x"}}))) as container:
        assert not container.parsing_issues
        listed = {"/".join(entry) for entry in container.listdir()}
        assert listed == {*streams, "a storage/inner"}
        for name, content in streams.items():
            # olefile looks names up in lower case, as the format asks
            assert container.openstream([name]).read() == content


def test_table_of_several_sectors():
    content = bytes(2_000_000)
    with olefile.OleFileIO(io.BytesIO(write_compound({"big": content}))) as container:
        assert container.openstream("big").read() == content


def test_refuses_what_the_format_cannot_hold():
    with pytest.raises(ValueError, match="31 characters"):
        write_compound({"n" * 32: b""})
    with pytest.raises(ValueError, match="too large"):
        write_compound({"huge": bytes(8_000_000)})
