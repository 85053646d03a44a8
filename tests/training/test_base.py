"""The base: a teacher's layers carried over, distilled, shipped, and taken out of the shipped file again."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel, MistralModel

from models.recipes.base.distil import Plan, distil, initialise, losses
from models.recipes.base.ship import SentenceEmbedder, check_complete, ship, unpack
from models.recipes.base.short import LONGEST, SHORTEST, Buckets, short_texts
from models.recipes.base.student import SHAPES, Shape, configuration
from models.recipes.base.text import Passages, documents
from models.recipes.finetune.base import open_base
from models.registry import SHIPPED, open_version
from pipeline.embed import OnnxEmbedder
from pipeline.errors import Misconfigured, Refused

SHAPE = Shape(width=64, layers=2, heads=4, key_value_heads=2, head_width=24, inner=96, window=128)


@pytest.fixture(scope="module")
def teacher() -> BertModel:
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=2000, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
        initializer_range=0.15,
    )  # fmt: skip
    return BertModel(config, add_pooling_layer=False).eval()


@pytest.fixture
def passages() -> Passages:
    rng = random.Random(4)
    texts = [
        np.array([rng.randint(200, 1999) for _ in range(rng.randint(5, 200))], dtype=np.uint16) for _ in range(300)
    ]
    return Passages(texts, frozenset({200, 201}), 5)


def test_the_transplant_is_already_close_and_distillation_brings_it_closer(
    teacher: BertModel, passages: Passages, tmp_path: Path
) -> None:
    plan = Plan(tokens=24_000, batch=600, rate=1e-3, warmup=5, start_tokens=8000, seed=1, shape=SHAPE)
    ids, mask = (torch.from_numpy(array) for array in Passages(passages.long, frozenset({200}), 99).batch(4000))
    start = initialise(teacher, passages, plan).eval()
    with torch.no_grad():
        before = losses(start, teacher, ids, mask).numbers()
    student, _ = distil(teacher, passages, tmp_path, plan)
    with torch.no_grad():
        after = losses(student, teacher, ids, mask).numbers()
    assert before[1] < 0.3  # a random student would be near 1
    assert after[0] < before[0]
    assert after[1] < before[1]


def test_the_larger_size_takes_a_teacher_of_twelve_layers_and_says_why_another_does_not_fit(
    teacher: BertModel, passages: Passages
) -> None:
    plan = Plan(start_tokens=2000, seed=1, shape=SHAPES["base"])
    with pytest.raises(SystemExit, match=r"layers: 2; .*all-MiniLM-L12-v2"):
        initialise(teacher, passages, plan)
    torch.manual_seed(3)
    deep = BertConfig(
        vocab_size=2000, hidden_size=384, num_hidden_layers=12, num_attention_heads=12, intermediate_size=1536
    )  # fmt: skip
    network = initialise(BertModel(deep, add_pooling_layer=False).eval(), passages, plan)
    table = network.student.embed_tokens.weight.numel()
    assert 30e6 < sum(p.numel() for p in network.student.parameters()) - table < 60e6


def test_a_distillation_resumes_from_its_checkpoint_and_only_under_the_same_plan(
    teacher: BertModel, passages: Passages, tmp_path: Path
) -> None:
    plan = Plan(tokens=4000, batch=500, start_tokens=4000, warmup=2, seed=1, shape=SHAPE)
    distil(teacher, passages, tmp_path, plan)
    warm = torch.load(tmp_path / "warm.pt", weights_only=True)
    assert warm["step"] == 6
    (tmp_path / "warm.pt").rename(tmp_path / "checkpoint.pt")
    longer = Plan(tokens=6000, batch=500, start_tokens=4000, warmup=2, seed=1, shape=SHAPE)
    distil(teacher, passages, tmp_path, longer, resume=True)
    steps = [line for line in (tmp_path / "history.jsonl").read_text().splitlines() if '"step"' in line]
    assert steps  # the curve is kept
    (tmp_path / "checkpoint.pt").write_bytes((tmp_path / "warm.pt").read_bytes())
    with pytest.raises(Refused, match="other settings"):
        distil(teacher, passages, tmp_path, Plan(tokens=6000, batch=400, shape=SHAPE), resume=True)


def test_an_existing_base_continues_with_short_texts(teacher: BertModel, passages: Passages, tmp_path: Path) -> None:
    short = [text for text in passages.lines + passages.long if len(text) <= LONGEST]
    mixed = Passages(passages.long, frozenset({200}), 5, short, 0.75)
    plan = Plan(tokens=12_000, batch=600, rate=1e-3, warmup=2, start_tokens=4000, relation_weight=0.01, shape=SHAPE)
    first = initialise(teacher, passages, plan).student
    with torch.no_grad():  # a base that still has something to learn
        for own in first.layers.parameters():
            own += 0.3 * own.std() * torch.randn_like(own) if own.ndim > 1 else 0.0
    ids, mask = (torch.from_numpy(array) for array in Buckets(short, 101, 102).batch(3000, random.Random(9)))
    with torch.no_grad():
        before = losses(initialise(teacher, passages, plan, first).eval(), teacher, ids, mask)
    student, loop = distil(teacher, mixed, tmp_path, plan, start=first)
    with torch.no_grad():
        after = losses(student, teacher, ids, mask)
    assert before.sentences < 0.3  # the projections to the teacher's states were fitted again
    assert loop.step == 20
    assert after.total(plan) < before.total(plan)


def test_a_distillation_ends_with_its_time(teacher: BertModel, passages: Passages, tmp_path: Path) -> None:
    plan = Plan(tokens=10**9, minutes=0.02, batch=500, start_tokens=4000, shape=SHAPE)
    _, loop = distil(teacher, passages, tmp_path, plan)
    assert loop.seconds >= 1.2
    assert loop.step < plan.steps


def test_short_texts_are_sentences_questions_and_requests() -> None:
    tokenizer = Tokenizer.from_str(open_version(SHIPPED, "all-minilm-l6-v2").read("tokenizer.json").decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    prose, questions = (
        [np.array(tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.uint16) for text in texts]
        for texts in (
            ["The pump was broken again. We have called the people who repair pumps! Yes.", "word " * 60],
            ["Who repairs the pump on a Sunday?"],
        )
    )
    short = short_texts(tokenizer, prose, questions, random.Random(2))
    texts = [tokenizer.decode(text.tolist()) for text in short]
    assert 3 <= len(texts) <= 5  # two sentences, one question, and a request of each sentence that is long enough
    assert any(text.startswith("the pump was broken again") for text in texts)
    assert any(text.startswith("who repairs the pump on a sunday") for text in texts)
    assert any("?" not in text and "." not in text for text in texts)
    assert all(SHORTEST <= len(text) <= LONGEST for text in short)

    ids, mask = Buckets(short, 101, 102).batch(30, random.Random(1))
    assert mask.all()
    assert set(ids[:, 0]) == {101}
    assert set(ids[:, -1]) == {102}


def test_what_is_shipped_embeds_and_can_be_trained_on(tmp_path: Path) -> None:
    torch.manual_seed(5)
    shipped = open_version(SHIPPED, "all-minilm-l6-v2")
    student = saved_student(tmp_path / "student", shipped.read("tokenizer.json"))
    network = SentenceEmbedder(student, torch.randn(32, SHAPE.width) * 0.1).eval()
    manifest = {"name": "tiny", "version": "1", "kind": "embedder", "dimension": 32, "max_length": 64}
    version = ship(network, tmp_path / "student", tmp_path, tmp_path / "tiny" / "1", manifest, "# tiny\n")

    vectors = OnnxEmbedder(version).embed(["the pump is broken", "choirs sing"])
    assert vectors.shape == (2, 32)
    base = open_base(unpack(version, tmp_path / "unpacked"))
    own, back = dict(student.named_parameters()), dict(base.backbone().named_parameters())
    assert set(own) == set(back)
    for name, value in own.items():
        assert (value - back[name]).abs().max() <= 0.02 * value.abs().max() + 1e-6, name
    with torch.no_grad():
        ids = torch.tensor(base.encode(["the pump is broken"]))
        expected = network(ids, torch.ones_like(ids))[0].numpy()
    assert float(expected @ vectors[0]) > 0.99


def test_weights_that_the_export_lost_are_not_shipped() -> None:
    names = ["student.layers.0.norm.weight", "student.layers.1.norm.weight", "projection"]
    check_complete(set(names[:2]), names)
    with pytest.raises(
        Misconfigured, match=r"1 of the student's weights equal others to the bit, such as student\.layers\.1"
    ):
        check_complete(set(names[:1]), names)


def saved_student(folder: Path, tokenizer: bytes) -> MistralModel:
    """Save a random student as the recipe does, and return it."""
    student = MistralModel(configuration(SHAPE, 30522, attention="eager")).eval()
    for own in student.parameters():
        if own.ndim == 1:  # as in trained networks: the exporter writes equal weights once
            torch.nn.init.uniform_(own, 0.5, 1.5)
    student.save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes(tokenizer)
    return student


def test_any_folder_of_text_is_read_up_to_its_share(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("plain text " * 30, encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n', encoding="utf-8")
    (tmp_path / "c.bin").write_bytes(b"\0\1")
    assert sorted(map(len, documents([tmp_path], 1000, 1))) == [3, 3, 330]
    assert len(list(documents([tmp_path], 2, 1))) == 2  # one of each file, then its share is full
