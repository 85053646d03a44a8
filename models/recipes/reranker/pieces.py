"""Fewer word pieces: a third of a small network's bytes are the embeddings of pieces that hardly ever occur.

A word whose piece was removed is read as shorter pieces, down to single characters, so that nothing becomes unknown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer
from tqdm import tqdm


def reduce_vocabulary(tokenizer: Tokenizer, texts: Iterable[str], count: int) -> tuple[Tokenizer, list[int]]:
    """Return a tokenizer of the ``count`` most frequent pieces of the texts, and their ids in the old one.

    Special tokens and single characters stay whatever their frequency.
    """
    description = json.loads(tokenizer.to_str())
    vocabulary: dict[str, int] = description["model"]["vocab"]
    frequency: Counter[int] = Counter()
    for text in tqdm(texts, desc="pieces", unit="text"):
        frequency.update(tokenizer.encode(text, add_special_tokens=False).ids)
    special = {token["content"] for token in description["added_tokens"]}
    always = {n for piece, n in vocabulary.items() if piece in special or len(piece.removeprefix("##")) == 1}
    others = sorted(frequency.keys() - always, key=lambda n: (-frequency[n], n))
    pieces = sorted([*always, *others[: max(0, count - len(always))]])
    names = {number: piece for piece, number in vocabulary.items()}
    ids = {names[old]: new for new, old in enumerate(pieces)}
    description["model"]["vocab"] = ids
    for token in description["added_tokens"]:
        token["id"] = ids[token["content"]]
    description["post_processor"] = pair_template({name: ids[name] for name in ("[CLS]", "[SEP]")})
    return Tokenizer.from_str(json.dumps(description)), pieces


def pair_template(ids: dict[str, int]) -> dict:
    """Return the post-processor that frames both texts: ``[CLS] question [SEP] [CLS] passage [SEP]``."""

    def text(which: str) -> list[dict]:
        frame = {name: {"SpecialToken": {"id": name, "type_id": 0}} for name in ids}
        return [frame["[CLS]"], {"Sequence": {"id": which, "type_id": 0}}, frame["[SEP]"]]

    special = {name: {"id": name, "ids": [number], "tokens": [name]} for name, number in ids.items()}
    return {
        "type": "TemplateProcessing",
        "single": text("A"),
        "pair": [*text("A"), *text("B")],
        "special_tokens": special,
    }


def reduce_embeddings(bert: torch.nn.Module, pieces: list[int]) -> None:
    """Reduce the token embeddings of a BERT-like network to these pieces, in this order."""
    table = bert.embeddings.word_embeddings.weight.detach()[torch.tensor(pieces)]
    bert.embeddings.word_embeddings = torch.nn.Embedding.from_pretrained(table, freeze=True)
    bert.config.vocab_size = len(pieces)
