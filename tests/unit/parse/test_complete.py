"""Every prefix of a file that has an end is incomplete; every whole file is complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.parse import documents as make
from workers.tray.content import is_complete

WITH_AN_END = {
    "a.pdf": make.pdf,
    "a.docx": make.docx,
    "a.xlsx": make.xlsx,
    "a.odt": make.odt,
    "a.epub": make.epub,
    "a.rtf": make.rtf,
    "a.png": lambda: make.picture("PNG"),
    "a.jpg": lambda: make.picture("JPEG"),
    "a.gif": lambda: make.picture("GIF"),
    "a.bmp": lambda: make.picture("BMP"),
    "a.webp": lambda: make.picture("WEBP"),
    "a.tiff": lambda: make.picture("TIFF"),
}


@pytest.mark.parametrize("name", WITH_AN_END)
def test_a_whole_file_is_complete_and_its_prefixes_are_not(name: str, tmp_path: Path) -> None:
    content, path = WITH_AN_END[name](), tmp_path / name
    path.write_bytes(content)
    assert is_complete(path) == (True, "")
    lengths = range(0, len(content), max(1, len(content) // 40)) if name != "a.tiff" else range(0, 8)
    for length in lengths:
        path.write_bytes(content[:length])
        complete, reason = is_complete(path)
        assert not complete and reason, length


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"text " * 2000 + b"\0" * 5000])
def test_a_file_of_reserved_but_unwritten_space_is_incomplete(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert not is_complete(path)[0]


@pytest.mark.parametrize("content", [b"BMW delivered two cars.", b"RIFF is a word.", b"x", "Öl".encode("utf-16")])
def test_plain_text_is_complete(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert is_complete(path) == (True, "")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("text")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    with pytest.raises(OSError):
        is_complete(tmp_path / "link.txt")
