"""A reranker from questions to a served version, on a tiny network of the real class."""

from __future__ import annotations

import json
import lzma
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from models.recipes.network_file import to_onnx
from models.recipes.quantise import quantise, quantise_to_4_bits
from models.recipes.reranker.fit import RerankerHyperparameters, also_answering, fit, padded
from models.recipes.reranker.network import Interaction
from models.recipes.reranker.pieces import reduce_embeddings, reduce_vocabulary
from models.recipes.reranker.questions import AnsweredQuestion, Pool, handbook, joined, neighbourhoods, squad
from models.registry import SHIPPED, open_version, write_manifest
from pipeline.errors import Refused
from pipeline.rerank import OnnxReranker

WORDS = "pump lease invoice harbour engine winter salary letter garden contract".split()
#: The questions ask in words that no passage has.
SYNONYMS = dict(zip(WORDS, "water rent bill ship motor snow pay mail tree deal".split(), strict=True))
PLAN = RerankerHyperparameters(rate=3e-3, fast=1.0, question=16, passage=16, frozen=0, keep=20)
PIECES = 2_600


@pytest.fixture(scope="module")
def whole() -> Tokenizer:
    tokenizer = Tokenizer.from_str(open_version(SHIPPED, "all-minilm-l6-v2").read("tokenizer.json").decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@pytest.fixture
def pieces(whole: Tokenizer) -> tuple[Tokenizer, list[int]]:
    return reduce_vocabulary(whole, [*passages(), *map(asks, WORDS)], PIECES)


def network(ids: list[int]) -> Interaction:
    torch.manual_seed(5)
    config = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
    bert = BertModel(config, add_pooling_layer=False)
    reduce_embeddings(bert, ids)
    return Interaction(bert, separator=ids.index(102), layers=2)


def passages() -> list[str]:
    return [f"the {word} is here" for word in WORDS]


def asks(word: str) -> str:
    return f"where is the {SYNONYMS[word]}"


def groups(count: int) -> list[Pool]:
    questions = tuple(AnsweredQuestion(asks(word), place, word) for place, word in enumerate(WORDS))
    return [Pool(tuple(passages()), questions)] * count


def served(network: Path, tokenizer: Tokenizer, folder: Path) -> OnnxReranker:
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "card.md").write_text("Made for a test.")
    manifest = {"name": "reranker", "version": folder.name, "kind": "reranker", "max_length": 64, "model": network.name}
    return OnnxReranker(write_manifest(folder, manifest))


def test_it_learns_synonyms_and_what_is_served_agrees(pieces: tuple[Tokenizer, list[int]], tmp_path: Path) -> None:
    tokenizer, ids = pieces
    learnt = fit(network(ids), tokenizer, groups(60), tmp_path, PLAN)
    with torch.no_grad():
        questions, answers = (padded(tokenizer, texts, 16) for texts in ([*map(asks, WORDS)], passages()))
        own = learnt.table(questions, answers).sigmoid().numpy()
    assert (own.argmax(1) == np.arange(len(WORDS))).mean() >= 0.9
    to_onnx(learnt, tmp_path / "full.onnx", "relevance", PIECES)
    for version, smaller, tolerance in (
        ("1", shutil.copyfile, 1e-3),
        ("8", quantise, 0.05),
        ("4", quantise_to_4_bits, 0.3),
    ):
        folder = tmp_path / "reranker" / version
        folder.mkdir(parents=True)
        smaller(tmp_path / "full.onnx", folder / "model.onnx")
        reranker = served(folder / "model.onnx", tokenizer, folder)
        scores = np.array([reranker.scores(asks(word), passages()) for word in WORDS])
        assert np.abs(scores - own).max() < tolerance
        assert (scores.argmax(1) == own.argmax(1)).mean() >= 0.9


def test_a_row_is_scored_as_the_texts_by_themselves(pieces: tuple[Tokenizer, list[int]]) -> None:
    """What is trained (texts apart) is what is served (a row of both), whatever the padding."""
    tokenizer, ids = pieces
    scorer = network(ids).eval()
    torch.nn.init.normal_(scorer.weigh.weight)
    question, passage = tokenizer.encode("where is the water"), tokenizer.encode("the pump is here today and tomorrow")
    row = torch.tensor([tokenizer.encode("where is the water", "the pump is here today and tomorrow").ids])
    assert row.tolist() == [question.ids + passage.ids]
    padded = torch.nn.functional.pad(row, (0, 5))
    with torch.no_grad():
        apart = scorer.table(
            *((torch.tensor([e.ids]), torch.ones(1, len(e.ids), dtype=torch.long)) for e in (question, passage))
        )
        together = scorer(padded, (torch.arange(padded.shape[1]) < row.shape[1]).long().unsqueeze(0))
    assert torch.allclose(apart[0], together, atol=1e-4)


def test_a_training_goes_on_where_it_was_cut_and_only_under_the_same_plan(
    pieces: tuple[Tokenizer, list[int]], tmp_path: Path
) -> None:
    class Cut(Exception):
        pass

    class Interrupted(list):
        """Groups that end the training at the 8th step."""

        def __getitem__(self, place):
            if place == 7:
                raise Cut
            return super().__getitem__(place)

    tokenizer, ids = pieces
    plan = replace(PLAN, keep=5)
    with pytest.raises(Cut):
        fit(network(ids), tokenizer, Interrupted(groups(12)), tmp_path, plan)
    resumed = fit(network(ids), tokenizer, groups(12), tmp_path, plan, resume=True)
    at_once = fit(network(ids), tokenizer, groups(12), tmp_path, plan)
    for one, two in zip(resumed.parameters(), at_once.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-5)
    with pytest.raises(Refused, match="other settings"):
        fit(network(ids), tokenizer, groups(10), tmp_path, plan, resume=True)


def test_a_word_whose_piece_is_gone_is_read_as_shorter_ones(whole: Tokenizer) -> None:
    tokenizer, ids = reduce_vocabulary(whole, ["the pump is here"], PIECES)
    assert len(ids) == tokenizer.get_vocab_size()
    assert tokenizer.encode("the pump", add_special_tokens=False).tokens == ["the", "pump"]
    (word,) = {whole.encode("harbour", add_special_tokens=False).tokens[0]}
    assert word == "harbour"
    assert "".join(t.removeprefix("##") for t in tokenizer.encode(word, add_special_tokens=False).tokens) == word
    assert [whole.id_to_token(n) for n in ids] == [tokenizer.id_to_token(n) for n in range(len(ids))]


def test_questions_stay_with_their_paragraphs_and_another_with_the_answer_is_not_wrong(tmp_path: Path) -> None:
    paragraphs = [
        {"context": f"The {word} of town {n} was built in {1900 + n}.", "qas": []} for n, word in enumerate(WORDS * 4)
    ]
    question = {"question": "When was the pump of town 0 built?", "answers": [{"text": "1900", "answer_start": 0}]}
    paragraphs[0]["qas"] = [question, {"question": "Is there none?", "answers": []}]
    file = tmp_path / "squad.json"
    file.write_text(json.dumps({"data": [{"paragraphs": paragraphs}] * 2}))
    first, second = squad(file)
    assert first.questions == (AnsweredQuestion("When was the pump of town 0 built?", 0, "1900"),)
    both = joined([first, second])
    assert both.questions[1].place == len(first.passages)
    (near,) = neighbourhoods(both, 4, 1000, random.Random(2))[:1]
    assert len(near.passages) == 4
    assert len({passage.split()[1] for passage in near.passages}) == 1, "the passages of one word resemble one another"
    assert near.passages[near.questions[0].place] == first.passages[0]
    right = torch.nn.functional.one_hot(torch.tensor([0]), 3).float()
    assert also_answering(Pool(("in 1900", "In 1900, too", "never"), ()), ["1900"], right).tolist() == [[0.0, 1.0, 0.0]]


def test_sections_are_asked_for_by_their_headings_and_by_what_was_taken_out_of_them(tmp_path: Path) -> None:
    sentences = [f"Receipt number {n} has to be kept for a good while by everybody. " for n in range(8)]
    text = "no heading yet\n# Expenses and travel\n" + "".join(sentences) + "\n## Short one here\ntoo short\n"
    with lzma.open(tmp_path / "a.jsonl.xz", "wt") as out:
        out.write(json.dumps({"id": "1", "text": text}) + "\n" + json.dumps({"id": "2", "text": "plain"}) + "\n")
    pool = handbook(tmp_path / "a.jsonl.xz", 10, random.Random(0))
    heading, sentence = pool.questions
    assert heading.text == "Expenses and travel"
    assert f"{sentence.text} " in sentences
    assert sentence.text not in pool.passages[0]
    assert len(pool.passages) == 1
