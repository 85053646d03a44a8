"""Every bad file ends as a typed failure or a flagged success, within its limits, without harm to other documents."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from pipeline.documents import Parsed
from pipeline.errors import Rejected
from pipeline.parse import SandboxedParser
from tests.hostile import generators as make
from tests.hostile.cases import CASES, Canary, Case
from tests.hostile.conftest import LIMITS, SECRET, Listener

OUTSIDE = Path("/tmp/mailroom-escaped.txt")


def outcome_of(parser: SandboxedParser, content: bytes, name: str) -> tuple[str, Parsed | None]:
    try:
        return "ok", parser.parse(io.BytesIO(content), name)
    except Rejected as error:
        assert error.detail and SECRET not in error.detail
        return error.code, None


@pytest.mark.parametrize("bad", CASES, ids=lambda c: c.name)
def test_a_bad_file_ends_as_it_should(
    bad: Case, parser: SandboxedParser, canary: Canary, listener: Listener, scratch: Path
) -> None:
    begin = time.monotonic()
    outcome, parsed = outcome_of(parser, bad.content(canary), bad.arrives_as)
    assert outcome in bad.outcomes
    assert time.monotonic() - begin < 60
    if parsed is not None:
        assert set(bad.flags) <= set(parsed.flags)
        assert bad.has in parsed.text
        assert not bad.lacks or bad.lacks not in parsed.text
        assert parsed.elements or "no-text" in parsed.flags
        everything = repr((parsed.elements, parsed.metadata, parsed.title, parsed.attachments))
        assert SECRET not in everything
        assert all("/" not in a.name and "\\" not in a.name for a in parsed.attachments)
    assert listener.calls == 0
    assert not OUTSIDE.exists()
    assert list(scratch.iterdir()) == []
    good = parser.parse(io.BytesIO(make.GOOD_TEXT.encode()), "good.txt")
    assert good.text == make.GOOD_TEXT


def test_a_sparse_file_of_four_gibibytes_is_refused_by_its_size(parser: SandboxedParser, tmp_path: Path) -> None:
    path = tmp_path / "sparse.txt"
    with path.open("wb") as file:
        file.truncate(4 << 30)
    with path.open("rb") as content, pytest.raises(Rejected) as caught:
        parser.parse(content, path.name)
    assert caught.value.code == "too-large"


def test_an_endless_stream_is_refused(parser: SandboxedParser) -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:
            return len(buffer)

    with pytest.raises(Rejected) as caught:
        parser.parse(Endless(), "endless.txt")
    assert caught.value.code == "too-large"


def test_memory_stayed_within_the_limit(parser: SandboxedParser) -> None:
    """Check the largest child of all the cases above, with the memory that it shares with the warm process."""
    assert 0 < parser.peak_rss_kb < (LIMITS.memory_mb + 200) * 1024
