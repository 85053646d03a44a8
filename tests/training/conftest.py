"""Tiny bases of the real classes, and a few dozen texts that tell their class. Needs the extra "train"."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.offline import go_offline

go_offline(os.environ)

import torch  # noqa: E402  (the switches come before any import of a runtime)
import transformers  # noqa: E402

from models.recipes.finetune.examples import LabelledExample  # noqa: E402
from models.registry import SHIPPED, open_version  # noqa: E402
from pipeline.embed import OnnxEmbedder  # noqa: E402

CLASSES = {
    "invoice": "amount total due tax payable bank account net price".split(),
    "letter": "dear sincerely regards kindly wishes thank writing glad".split(),
    "manual": "press button switch screw cable turn remove install".split(),
}
FILLER = "the of and a to in is for with on that this as by from".split()
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
MORE = {
    "Mistral": {"sliding_window": 64, "is_causal": False},
    "Mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "Ministral": {"head_dim": 8, "sliding_window": 64},
    "Llama": {},
}


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def embedder() -> OnnxEmbedder:
    return OnnxEmbedder(open_version(SHIPPED, "all-minilm-l6-v2"), threads=2)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that makes a directory with a randomly initialised model of the named family, and the shipped
    tokenizer.
    """
    folders: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in folders:
            folders[family] = _save(family, tmp_path_factory.mktemp(family.lower()))
        return folders[family]

    return make


def _save(family: str, folder: Path) -> Path:
    torch.manual_seed(7)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=30522, num_key_value_heads=2, max_position_embeddings=512, pad_token_id=0, **SIZES, **MORE[family]
    )
    getattr(transformers, f"{family}Model")(config).save_pretrained(folder)
    tokenizer = open_version(SHIPPED, "all-minilm-l6-v2").read("tokenizer.json")
    (folder / "tokenizer.json").write_bytes(tokenizer)
    return folder


def texts(per_class: int, seed: int = 3) -> Iterator[LabelledExample]:
    """Yield ``per_class`` texts per class: words of the class among words of all."""
    rng = random.Random(seed)
    for label, words in CLASSES.items():
        for number in range(per_class):
            mix = rng.choices(words, k=rng.randint(3, 12)) + rng.choices(FILLER, k=rng.randint(5, 30))
            rng.shuffle(mix)
            yield LabelledExample(" ".join(mix), (label,), identity=f"{label}-{number}")
