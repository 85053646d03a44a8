"""The shipped samples are what the generator makes of their texts."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
import pytest
from PIL import Image
from pypdf import PdfReader

from tests.demo_samples.generate import DUPLICATES, TEXTS, WRITTEN_ELSEWHERE, generate
from tests.demo_samples.source import Block, Source, runs
from workers.demo.samples_manifest import SAMPLES

NOT_SAMPLES = {"README.md", "manifest.toml"}
ADDRESS = re.compile(r"[\w.+-]+@([\w.-]+\w)|https?://([\w.-]+)")


def shipped() -> list[str]:
    files = (path.relative_to(SAMPLES).as_posix() for path in sorted(SAMPLES.rglob("*")) if path.is_file())
    return [path for path in files if path not in NOT_SAMPLES | WRITTEN_ELSEWHERE]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    generate(folder)
    return folder


def test_the_same_files(fresh):
    assert sorted(p.relative_to(fresh).as_posix() for p in fresh.rglob("*") if p.is_file()) == shipped()


def test_a_second_run_gives_the_same_bytes(fresh, tmp_path):
    generate(tmp_path)
    differing = [path for path in shipped() if (tmp_path / path).read_bytes() != (fresh / path).read_bytes()]
    assert differing == []


@pytest.mark.parametrize("path", shipped())
def test_shipped_is_what_the_text_says(fresh, path):
    """Compared inside the compression, whose bytes another build of zlib may lay differently."""
    old, new = (SAMPLES / path).read_bytes(), (fresh / path).read_bytes()
    assert old == new or content_of(old) == content_of(new) or looks_like(old, new)


def content_of(data: bytes) -> object:
    if data.startswith(b"PK") and zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    if data.startswith(b"%PDF"):
        reader = PdfReader(io.BytesIO(data))
        if not reader.is_encrypted:
            return [(page.get_contents() or b"") and page.get_contents().get_data() for page in reader.pages]
    return data


def looks_like(old: bytes, new: bytes) -> bool:
    """Pictures: another build of the renderer may shade an edge differently."""
    if not old.startswith((b"%PDF", b"\x89PNG")):
        return False
    pairs = list(zip(pictures(old), pictures(new), strict=True))
    return all(a.shape == b.shape and np.abs(a - b).mean() < 4 for a, b in pairs)


def pictures(data: bytes) -> list[np.ndarray]:
    if data.startswith(b"\x89PNG"):
        return [np.asarray(Image.open(io.BytesIO(data)).convert("L"), dtype=float)]
    document = pdfium.PdfDocument(data, password="amberwick")
    try:
        return [np.asarray(page.render(grayscale=True).to_pil().convert("L"), dtype=float) for page in document]
    finally:
        document.close()


def test_a_changed_text_would_be_noticed(fresh):
    path = "finance/incoming/thistlemoor-invoice-20418.pdf"
    other = (fresh / "works/specification-LW-65.pdf").read_bytes()
    assert content_of((SAMPLES / path).read_bytes()) != content_of(other)


def test_small_enough_to_ship():
    assert sum((SAMPLES / path).stat().st_size for path in shipped()) < 2_000_000


def test_duplicates_are_exact():
    for copy, original in DUPLICATES.items():
        assert (SAMPLES / copy).read_bytes() == (SAMPLES / original).read_bytes()


def test_every_address_is_reserved_for_examples():
    for path in TEXTS.rglob("*"):
        if path.is_file():
            hosts = {a or b for a, b in ADDRESS.findall(path.read_text(encoding="utf-8"))}
            assert all(host.endswith(".example") for host in hosts), (path, hosts)


def test_blocks_of_a_text():
    body = "# Head\n\nOne\\\ntwo **bold**\n\n- item\n  goes on\n2. second\n\n"
    body += "| a | b |\n|---|---|\n| 1 |  |\n\n+++page+++\n"
    assert Source("x.pdf", {}, body).blocks == (
        Block("heading", "Head", 1),
        Block("paragraph", "One\ntwo **bold**"),
        Block("item", "item goes on", bullet="•"),
        Block("item", "second", bullet="2."),
        Block("table", rows=(("a", "b"), ("1", ""))),
        Block("page"),
    )
    assert list(runs("two **bold**")) == [("two ", False), ("bold", True)]
