"""Ordinary documents with bytes changed, removed or repeated: always a Parsed or a Rejected, never a lost parser."""

from __future__ import annotations

import io
import random

import pytest

from pipeline.errors import Rejected
from pipeline.parse import SandboxedParser
from tests.unit.parse import documents as make
from tests.unit.parse.test_legacy import powerpoint, word

DOCUMENTS = {
    "docx": make.docx, "pptx": make.pptx, "xlsx": make.xlsx, "odt": make.odt, "epub": make.epub, "rtf": make.rtf,
    "html": make.html, "md": make.markdown, "eml": make.eml, "pdf": make.pdf, "doc": word, "ppt": powerpoint,
}  # fmt: skip
ROUNDS = 6


def mutate(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.randint(1, 30)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.3:
        start = rng.randrange(len(data))
        del data[start : start + rng.randrange(1, 2000)]
    if rng.random() < 0.3:
        start = rng.randrange(len(data) or 1)
        data[start:start] = data[start : start + 500]
    return bytes(data)


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_mutated_document_is_parsed_or_rejected(kind: str, parser: SandboxedParser) -> None:
    document, rng = DOCUMENTS[kind](), random.Random(kind)
    for _ in range(ROUNDS):
        try:
            parsed = parser.parse(io.BytesIO(mutate(document, rng)), f"a.{kind}")
        except Rejected as error:
            assert error.code not in ("timeout", "memory"), error.detail
        else:
            assert parsed.elements or "no-text" in parsed.flags
