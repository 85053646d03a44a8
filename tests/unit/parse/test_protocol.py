"""The owner checks everything that the child sends."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Rejected
from pipeline.parse import ParseLimits
from pipeline.parse.protocol import Malformed, Receiver, pack, to_parsed

LIMITS = ParseLimits(max_output_bytes=10_000, max_attachment_bytes=1000, max_attachments=3, max_text_chars=1000)
GOOD = {
    "media_type": "text/plain",
    "elements": [["Title", "Hello", 1, 0, None, []]],
    "pages": 1,
    "parser": "p",
    "languages": [],
    "title": None,
    "metadata": {"a": "b"},
    "flags": ["ocr"],
    "attachments": [["../x\ny", "text/plain"]],
}


def receive(frames: list[bytes], step: int) -> Receiver:
    receiver, stream = Receiver(LIMITS), b"".join(frames)
    for at in range(0, len(stream), step):
        receiver.feed(stream[at : at + step])
    return receiver


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_an_answer_arrives_complete_however_it_is_split(step: int) -> None:
    receiver = receive(pack(GOOD, [b"body"]), step)
    assert receiver.complete
    parsed = to_parsed(*receiver.answer(), LIMITS)
    assert parsed.elements[0].text == "Hello" and parsed.attachments[0].content == b"body"
    assert parsed.attachments[0].name == "../x y"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*GOOD, "error"]), inner, max_size=6),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "error"]), json_values))
def test_any_other_answer_is_checked_or_malformed(changes: dict) -> None:
    answer = {**GOOD, **changes}
    try:
        parsed = to_parsed(json.loads(json.dumps(answer)), [b"body"], LIMITS)
    except (Malformed, Rejected):
        return
    assert all(isinstance(e.text, str) for e in parsed.elements) and 0 <= parsed.pages <= 10**7


def test_too_much_is_refused_when_it_is_announced() -> None:
    with pytest.raises(Rejected) as caught:
        Receiver(LIMITS).feed((1 << 40).to_bytes(8, "big"))
    assert caught.value.code == "output-limit"
    with pytest.raises(Rejected):
        receive(pack(GOOD, [b"x" * 2000]), 100_000)


@pytest.mark.parametrize("body", [b"not JSON", b"[1]", b'{"attachments": 5}', b"[" * 5000])
def test_an_answer_that_is_not_an_object_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        Receiver(LIMITS).feed(len(body).to_bytes(8, "big") + body)


def test_an_unknown_code_is_malformed() -> None:
    for code in ("unauthorized", "nonsense", 7, ["damaged"], None):
        with pytest.raises(Malformed):
            to_parsed({"error": {"code": code, "detail": "x"}}, [], LIMITS)
