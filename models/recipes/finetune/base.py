"""The base that is fine-tuned: a shipped version, or any local Hugging Face directory of a Mistral-like architecture.

From a directory only ``config.json``, ``*.safetensors`` and ``tokenizer.json`` are read: no pickle, no code, no link.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from models.contents import check_content
from pipeline.classify import encode
from pipeline.errors import Misconfigured

ARCHITECTURES = ("mistral", "mixtral", "ministral", "ministral3", "llama")
#: Files that could run code or hide some; a directory that holds one is refused rather than half used.
REFUSED = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".py", ".so"})
#: More of a text than this is never tokenised.
LONGEST = 8192
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Base:
    """A checked directory with its tokenizer."""

    folder: Path
    tokenizer: Tokenizer
    start: tuple[int, ...]
    end: tuple[int, ...]
    unknown: int
    vocabulary: int

    @property
    def frame(self) -> int:
        """How many special tokens stand around a text."""
        return len(self.start) + len(self.end)

    def encode(self, texts: Sequence[str], longest: int = LONGEST) -> list[list[int]]:
        """Token ids of texts, special tokens included; of a text longer than ``longest`` tokens its head and its tail."""
        return encode(self.tokenizer, texts, longest)

    def inner(self, ids: Sequence[int]) -> list[int]:
        """A text's ids without the special tokens around it."""
        return list(ids[len(self.start) : len(ids) - len(self.end)])

    def framed(self, ids: Sequence[int]) -> list[int]:
        """The reverse of `inner`."""
        return [*self.start, *ids, *self.end]

    def backbone(self, lora: int = 0) -> PreTrainedModel:
        """The network with its weights, in single precision; with adapters of rank ``lora`` instead of free weights if asked.
        Raises Misconfigured("bad-model") for weights that are not whole or not those of the configuration."""
        disable_progress_bar()  # of the loading, which takes a moment
        try:
            network, told = AutoModel.from_pretrained(
                self.folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                dtype=torch.float32,
                # Plain attention is what the exporter understands, and on two cores the fastest for texts of this length.
                attn_implementation="eager",
                # A mixture's experts as one batched product: the exporter cannot follow a loop over those that were chosen.
                experts_implementation="batched_mm",
            )
        except Exception as error:
            text = (
                f"The weights in {self.folder} do not fit its config.json ({type(error).__name__}); fetch both again."
            )
            raise Misconfigured("bad-model", text) from error
        # Transformers draws what is missing at random and goes on.
        if lacking := sorted(told["missing_keys"]):
            text = f"{self.folder} lacks {len(lacking)} of the network's weights, such as {lacking[0]}; fetch it again."
            raise Misconfigured("bad-model", text)
        return with_adapters(network, lora) if lora else network


def open_base(folder: Path) -> Base:
    """Check a directory and open its tokenizer; Misconfigured("bad-model") says what is wrong with it."""
    config = check_directory(folder)
    tokenizer = _tokenizer(folder / "tokenizer.json")
    if tokenizer.get_vocab_size() > config.vocab_size:
        text = f"{folder}: tokenizer.json knows more tokens than config.json's {config.vocab_size}; they are not of one model."
        raise Misconfigured("bad-model", text)
    framed = tokenizer.encode("word").ids
    bare = tokenizer.encode("word", add_special_tokens=False).ids
    before = next((n for n in range(len(framed)) if framed[n : n + len(bare)] == bare), 0)
    unknown = next(
        (i for t in ("[MASK]", "<mask>", "[UNK]", "<unk>") if (i := tokenizer.token_to_id(t)) is not None), 0
    )
    return Base(
        folder,
        tokenizer,
        tuple(framed[:before]),
        tuple(framed[before + len(bare) :]),
        unknown,
        tokenizer.get_vocab_size(),
    )


def check_directory(folder: Path) -> PretrainedConfig:
    """Refuse what is no plain directory of a known architecture with safetensors weights; returns its configuration."""
    if folder.is_symlink() or not folder.is_dir():
        raise Misconfigured("bad-model", f"{folder} is not a folder.")
    for entry in sorted(folder.rglob("*")):
        if entry.is_symlink():
            raise Misconfigured("bad-model", f"{entry} is a symbolic link; copy the file itself into the folder.")
        if entry.suffix in REFUSED:
            raise Misconfigured(
                "bad-model",
                f"{entry} may hold code; only safetensors weights are used. Convert it and remove this file.",
            )
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise Misconfigured("bad-model", f"{folder / name} is missing; a base needs it.")
    if not list(folder.glob("*.safetensors")):
        raise Misconfigured("bad-model", f"{folder} holds no *.safetensors file.")
    for file in (*folder.glob("*.json"), *folder.glob("*.safetensors")):
        check_content(file)
    for file in folder.glob("*.safetensors.index.json"):
        _check_index(file)
    config = _checked_config(folder / "config.json")
    _check_depth(folder, config)
    return config


def _check_depth(folder: Path, config: PretrainedConfig) -> None:
    """Refuse a configuration of more or fewer layers than there are weights for: the network is built as the configuration says before
    any weight is read, whatever memory that takes, and layers that it leaves out would be dropped in silence."""
    found = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "numpy") as weights:
            found |= {int(layer[1]) for name in weights.keys() if (layer := _LAYER.search(name))}  # noqa: SIM118
    if len(found) != config.num_hidden_layers or found != set(range(len(found))):
        text = f"{folder}: config.json says {config.num_hidden_layers:,} layers, the weights have {len(found)}; they are not of one model."
        raise Misconfigured("bad-model", text)


def _check_index(file: Path) -> None:
    """Refuse an index of weights that points out of its folder."""
    named = json.loads(file.read_bytes())
    weights = named.get("weight_map") if isinstance(named, dict) else None
    shards = weights.values() if isinstance(weights, dict) else [None]
    for shard in set(map(str, shards)):
        if Path(shard).name != shard or not (file.parent / shard).is_file():
            raise Misconfigured(
                "bad-model", f"{file} names {shard[:200]!r}, which is no file beside it; weights lie in one folder."
            )


def _checked_config(file: Path) -> PretrainedConfig:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        kind = config["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Misconfigured("bad-model", f"{file} cannot be read as a configuration: {error}.") from error
    if kind not in ARCHITECTURES:
        raise Misconfigured("bad-model", f"{file}: architecture {kind!r} is not one of {', '.join(ARCHITECTURES)}.")
    try:
        return AutoConfig.from_pretrained(file.parent, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise Misconfigured("bad-model", f"{file} is not a valid configuration: {type(error).__name__}.") from error


def _tokenizer(file: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:
        raise Misconfigured("bad-model", f"{file} is not a tokenizer: {type(error).__name__}.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def with_adapters(network: PreTrainedModel, rank: int) -> PreTrainedModel:
    """Low-rank adapters (LoRA) on every attention and feed-forward projection; nothing else is trained."""
    from peft import LoraConfig, inject_adapter_in_model

    for parameter in network.parameters():
        parameter.requires_grad_(False)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names), network)


def merge_adapters(network: PreTrainedModel) -> None:
    """Add trained adapters to the weights that they adapt, so that the network is a plain one again."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "lora_A"):
                child.merge()
                setattr(parent, name, child.get_base_layer())
