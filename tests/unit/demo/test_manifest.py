"""The manifest fits the files: each is named once, is of its kind, and parses to what the manifest expects."""

from __future__ import annotations

import shutil

import pytest

from models.registry import SHIPPED, open_version
from pipeline.documents import State
from pipeline.errors import CODES, Misconfigured, Rejected
from pipeline.parse.sandbox import SandboxedParser
from workers.demo.samples_manifest import SAMPLES, Sample, load_manifest

MANIFEST = load_manifest()
LABELS = set(open_version(SHIPPED, "document-type").manifest.labels)
OCR = shutil.which("tesseract") is not None


@pytest.fixture(scope="module")
def parser():
    parser = SandboxedParser()
    yield parser
    parser.close()


def test_every_file_is_named_once():
    files = {p.relative_to(SAMPLES).as_posix() for p in SAMPLES.rglob("*") if p.is_file()}
    named = [sample.path for sample in MANIFEST.samples]
    assert sorted(named) == sorted(files - {"README.md", "manifest.toml"})


def test_its_words_are_ours():
    for sample in MANIFEST.samples:
        assert set(sample.kinds) <= LABELS, sample.path
        assert all(set(attachment.kinds) <= LABELS for attachment in sample.attachments), sample.path
        assert set(sample.states) <= set(State), sample.path
        assert sample.reason in {None, "low-confidence", *CODES}, sample.path


def test_every_format_and_every_trouble_is_there():
    endings = {sample.path.rpartition(".")[2] for sample in MANIFEST.samples}
    assert endings >= set("pdf docx pptx xlsx odt rtf eml msg html md txt csv epub png".split())
    assert {s.reason for s in MANIFEST.samples if "indexed" not in s.states} == {"no-text", "encrypted", "damaged"}
    assert any(s.duplicate_of for s in MANIFEST.samples) and any("mismatch" in s.flags for s in MANIFEST.samples)


def test_searches_and_questions_name_samples():
    paths = {sample.path for sample in MANIFEST.samples}
    assert len(MANIFEST.searches) >= 3
    assert all(search.document in paths for search in MANIFEST.searches)
    answered = [question for question in MANIFEST.questions if question.document]
    assert len(answered) >= 3 and all(question.document in paths and question.quote for question in answered)
    assert any(question.document is None for question in MANIFEST.questions)


@pytest.mark.parametrize("sample", MANIFEST.samples, ids=lambda sample: sample.path)
def test_parsing_yields_what_the_manifest_states(parser, sample: Sample):
    with (SAMPLES / sample.path).open("rb") as content:
        if sample.states == ("failed",):
            with pytest.raises(Rejected) as caught:
                parser.parse(content, sample.path)
            assert caught.value.code == sample.reason
            return
        parsed = parser.parse(content, sample.path)
    assert set(sample.flags) <= set(parsed.flags)
    assert sample.pages in (None, parsed.pages)
    if sample.reason == "no-text" or (sample.needs and not OCR):
        assert parsed.text == ""
    else:
        assert squeezed(sample.phrase) in squeezed(parsed.text)
    assert {a.name for a in parsed.attachments} == {a.name for a in sample.attachments}


def test_answers_of_the_demo_stand_in_their_documents(parser):
    for question in MANIFEST.questions:
        if question.document:
            with (SAMPLES / question.document).open("rb") as content:
                text = parser.parse(content, question.document).text
            assert squeezed(question.quote) in squeezed(text)


@pytest.mark.parametrize(
    "text",
    [
        "not toml [",
        "[default]",
        '[default]\nstates=["indexed"]\n[[sample]]\npath="a"\nkinds=[]\nkind="typo"\n[[search]]\n[[question]]',
    ],
)
def test_a_bad_manifest_is_named(tmp_path, text):
    file = tmp_path / "manifest.toml"
    file.write_text(text)
    with pytest.raises(Misconfigured, match=r"manifest\.toml"):
        load_manifest(file)


def squeezed(text: str | None) -> str:
    return " ".join((text or "").split())
