"""Fewer word pieces: a third of a small network's bytes are the vectors of pieces that hardly ever occur.

A word whose piece is gone is read as shorter pieces, down to single characters, so that nothing becomes unknown that was not.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer
from tqdm import tqdm


def fewer(tokenizer: Tokenizer, texts: Iterable[str], count: int) -> tuple[Tokenizer, list[int]]:
    """A tokenizer of ``count`` pieces, those that occur most in the texts, and their numbers in the old one. Special tokens and
    single characters stay whatever their frequency."""
    held = json.loads(tokenizer.to_str())
    vocabulary: dict[str, int] = held["model"]["vocab"]
    often: Counter[int] = Counter()
    for text in tqdm(texts, desc="pieces", unit="text"):
        often.update(tokenizer.encode(text, add_special_tokens=False).ids)
    special = {token["content"] for token in held["added_tokens"]}
    always = [n for piece, n in vocabulary.items() if piece in special or len(piece.removeprefix("##")) == 1]
    kept = sorted([*always, *_most(often, set(always), count - len(always))])
    names = {number: piece for piece, number in vocabulary.items()}
    held["model"]["vocab"] = {names[old]: new for new, old in enumerate(kept)}
    for token in held["added_tokens"]:
        token["id"] = held["model"]["vocab"][token["content"]]
    held["post_processor"] = _template({name: held["model"]["vocab"][name] for name in ("[CLS]", "[SEP]")})
    return Tokenizer.from_str(json.dumps(held)), kept


def _most(often: Counter[int], without: set[int], count: int) -> list[int]:
    order = sorted(often, key=lambda piece: (-often[piece], piece))
    return [piece for piece in order if piece not in without][: max(0, count)]


def _template(ids: dict[str, int]) -> dict:
    """Question and passage each as a text by itself: ``[CLS] question [SEP] [CLS] passage [SEP]``."""

    def text(which: str) -> list[dict]:
        around = {name: {"SpecialToken": {"id": name, "type_id": 0}} for name in ids}
        return [around["[CLS]"], {"Sequence": {"id": which, "type_id": 0}}, around["[SEP]"]]

    special = {name: {"id": name, "ids": [number], "tokens": [name]} for name, number in ids.items()}
    return {
        "type": "TemplateProcessing",
        "single": text("A"),
        "pair": [*text("A"), *text("B")],
        "special_tokens": special,
    }


def keep(bert: torch.nn.Module, kept: list[int]) -> None:
    """Leave a BERT-like network the vectors of these pieces only, in this order."""
    table = bert.embeddings.word_embeddings.weight.detach()[torch.tensor(kept)]
    bert.embeddings.word_embeddings = torch.nn.Embedding.from_pretrained(table, freeze=True)
    bert.config.vocab_size = len(kept)
