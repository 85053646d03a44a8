"""A reranker from questions to a served version, on a tiny network of the real class."""

from __future__ import annotations

import json
import lzma
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from models.recipes.network_file import to_onnx
from models.recipes.reranker.fit import CrossEncoder, Settings, fit, scores
from models.recipes.reranker.questions import Asked, Question, headings, squad, with_wrong
from models.registry import SHIPPED, open_version, write_manifest
from pipeline.rerank import OnnxReranker

WORDS = "pump lease invoice harbour engine winter salary letter garden contract".split()
PLAN = Settings(rate=3e-3, epochs=2, group=4, window=64, keep=20)


@pytest.fixture
def tokenizer() -> Tokenizer:
    made = Tokenizer.from_str(open_version(SHIPPED, "all-minilm-l6-v2").read("tokenizer.json").decode())
    made.no_padding()
    made.no_truncation()
    return made


def network() -> CrossEncoder:
    torch.manual_seed(5)
    config = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
    return CrossEncoder(BertModel(config, add_pooling_layer=False), separator=102)


def questions(count: int) -> list[Question]:
    """Right is the passage of the one subject that this tiny archive is about."""
    rng = random.Random(1)
    made = []
    for _ in range(count):
        wrong = tuple(f"the {word} is here" for word in rng.sample(WORDS[1:], 3))
        made.append(Question("what is wanted", "the pump is here", wrong))
    return made


def test_it_learns_which_passage_is_right_and_what_is_served_agrees(tokenizer: Tokenizer, tmp_path: Path) -> None:
    learnt = fit(network(), tokenizer, questions(160), tmp_path, PLAN)
    tokenizer.no_truncation()
    pairs = [("what is wanted", f"the {word} is here") for word in WORDS]
    with torch.no_grad():
        own = scores(learnt, tokenizer, pairs).sigmoid().numpy()
    assert own.argmax() == 0
    to_onnx(learnt, tmp_path / "model.onnx", "relevance")
    folder = tmp_path / "reranker" / "1"
    folder.mkdir(parents=True)
    (tmp_path / "model.onnx").rename(folder / "model.onnx")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "card.md").write_text("Made for a test.")
    manifest = {"name": "reranker", "version": "1", "kind": "reranker", "max_length": 64}
    served = OnnxReranker(write_manifest(folder, manifest))
    assert np.allclose(served.scores(pairs[0][0], [passage for _, passage in pairs]), own, atol=0.01)


def test_a_training_goes_on_where_it_was_cut_and_only_under_the_same_plan(tokenizer: Tokenizer, tmp_path: Path) -> None:
    class Cut(Exception):
        pass

    class Interrupted(list):
        """Questions that end the training at the 30th step."""

        asked = 0

        def __getitem__(self, place):
            self.asked += 1
            if self.asked > 30 * PLAN.group:
                raise Cut
            return super().__getitem__(place)

    with pytest.raises(Cut):
        fit(network(), tokenizer, Interrupted(questions(160)), tmp_path, PLAN)
    resumed = fit(network(), tokenizer, questions(160), tmp_path, PLAN, resume=True)
    pairs = [("what is wanted", f"the {word} is here") for word in WORDS]
    with torch.no_grad():
        assert int(scores(resumed, tokenizer, pairs).argmax()) == 0
    with pytest.raises(SystemExit, match="other settings"):
        fit(network(), tokenizer, questions(80), tmp_path, PLAN, resume=True)


def test_wrong_passages_resemble_the_question_and_never_hold_the_answer(tmp_path: Path) -> None:
    paragraphs = [
        {"context": f"The {word} of town {n} was built in {1900 + n}.", "qas": []} for n, word in enumerate(WORDS * 4)
    ]
    asked = {"question": "When was the pump of town 0 built?", "answers": [{"text": "1900", "answer_start": 0}]}
    paragraphs[0]["qas"] = [asked, {"question": "Is there none?", "answers": []}]
    file = tmp_path / "squad.json"
    file.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    passages, found = squad(file)
    assert found == [Asked("When was the pump of town 0 built?", 0, "1900")]
    (made,) = with_wrong(passages, found, 5, 3, random.Random(2))
    assert made.right == passages[0]
    assert len(set(made.wrong)) == 3
    assert not any("1900" in wrong for wrong in made.wrong)


def test_sections_are_asked_for_by_their_headings(tmp_path: Path) -> None:
    text = "no heading yet\n# Expenses and travel\n" + "Keep every receipt. " * 20 + "\n## Short one here\ntoo short\n"
    with lzma.open(tmp_path / "a.jsonl.xz", "wt") as out:
        out.write(json.dumps({"id": "1", "text": text}) + "\n" + json.dumps({"id": "2", "text": "plain"}) + "\n")
    passages, asked = headings([tmp_path / "a.jsonl.xz"], 10, random.Random(0))
    assert [each.text for each in asked] == ["Expenses and travel"]
    assert passages[0].startswith("Keep every receipt.")
