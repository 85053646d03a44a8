"""The reranker, with a network of four operators: its relevance is the largest token id of the pair minus six."""

from __future__ import annotations

import base64
import math
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from models.registry import open_version, write_manifest
from pipeline.rerank import OnnxReranker
from workers.assemble import Mailroom
from workers.settings import load_settings

NETWORK = base64.b64decode(
    "CAk6mAIKJgoJaW5wdXRfaWRzCg5hdHRlbnRpb25fbWFzaxIEa2VwdCIDTXVsCi4KBGtlcHQKBGF4aXMSBG1vc3QiCVJlZHVjZU1heCoPCghrZWVw"
    "ZGltcxgBoAECCh0KBG1vc3QSBHJlYWwiBENhc3QqCQoCdG8YAaABAgobCgRyZWFsCgNzaXgSCXJlbGV2YW5jZSIDU3ViEgFnKg0IARAHOgEBQgRh"
    "eGlzKg8IARABIgQAAMBAQgNzaXhaHQoJaW5wdXRfaWRzEhAKDggHEgoKAxIBYgoDEgFsWiIKDmF0dGVudGlvbl9tYXNrEhAKDggHEgoKAxIBYgoD"
    "EgFsYhwKCXJlbGV2YW5jZRIPCg0IARIJCgMSAWIKAggBQgQKABAS"
)
WORDS = ("[CLS]", "[SEP]", "[UNK]", "what", "pump", "lease", "period", "notice")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "second-look" / "1"
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    pair = {"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] $B [SEP]"}
    tokenizer.post_processor = TemplateProcessing(**pair, special_tokens=[("[CLS]", 0), ("[SEP]", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "model.onnx").write_bytes(NETWORK)
    (folder / "card.md").write_text("Made for a test.")
    write_manifest(folder, {"name": "second-look", "version": "1", "kind": "reranker", "max_length": 100})
    return tmp_path


def probability(token: int) -> float:
    return 1 / (1 + math.exp(6 - token))


def test_each_text_is_read_with_the_question_in_its_own_place(root: Path) -> None:
    reranker = OnnxReranker(open_version(root, "second-look@1"))
    texts = ["lease " * 40, "", "notice", "what " * 500, "pump period"]
    expected = [probability(n) for n in (5, 4, 7, 4, 6)]
    assert np.allclose(reranker.scores("pump", texts), expected, atol=1e-6)
    assert np.allclose(reranker.scores("pump", texts[2:3]), expected[2:3], atol=1e-6)
    assert reranker.scores("pump", []).shape == (0,)


def test_a_long_question_leaves_room_for_the_passage(root: Path) -> None:
    reranker = OnnxReranker(open_version(root, "second-look@1"))
    assert np.allclose(reranker.scores("what " * 3000, ["notice"]), [probability(7)], atol=1e-6)


def test_it_is_off_unless_configured_and_search_goes_on_without_a_broken_one(root: Path, tmp_path: Path) -> None:
    def mailroom(name: str) -> Mailroom:
        chosen = {"data.path": str(tmp_path / "data"), "models.root": str(root), "models.reranker": name}
        return Mailroom(load_settings(chosen, environ={}).settings)

    assert mailroom("").reranker is None
    assert mailroom("second-look@1").reranker.name == "second-look@1"
    assert mailroom("nothing").reranker is None
