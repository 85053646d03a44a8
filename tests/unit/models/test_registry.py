"""A version folder is used whole and unaltered, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.registry import SHIPPED, open_version
from pipeline.errors import Misconfigured

NAME = "document-type"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED / NAME, tmp_path / NAME)
    return tmp_path


def version_of(root: Path) -> Path:
    return next((root / NAME).iterdir())


def test_a_whole_version_opens_by_name_by_version_and_by_path(root: Path) -> None:
    folder = version_of(root)
    folders = [open_version(root, name) for name in (NAME, f"{NAME}@{folder.name}", str(folder))]
    assert len({opened.manifest.title for opened in folders}) == 1


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "card.md"])
def test_one_flipped_bit_is_refused_by_the_file_s_name(root: Path, name: str) -> None:
    file = version_of(root) / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(Misconfigured, match=name):
        open_version(root, NAME)


def test_a_missing_an_additional_and_a_linked_file_are_refused(root: Path) -> None:
    folder = version_of(root)
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").unlink()
    with pytest.raises(Misconfigured):
        open_version(root, NAME)
    (root / "elsewhere.onnx").write_bytes(content)
    (folder / "model.onnx").symlink_to(root / "elsewhere.onnx")
    with pytest.raises(Misconfigured):
        open_version(root, NAME)
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").write_bytes(content)
    open_version(root, NAME)
    (folder / "weights.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(Misconfigured):
        open_version(root, NAME)


@pytest.mark.parametrize("name", ["nothing", "../secret", f"{NAME}@../..", f"{NAME}@1999.01.01", ""])
def test_an_unknown_or_crooked_name_is_refused(root: Path, name: str) -> None:
    with pytest.raises(Misconfigured):
        open_version(root, name)
