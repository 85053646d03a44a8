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
#: Files that could contain code; a directory that holds one is refused rather than half used.
REFUSED = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".py", ".so"})
#: Tokens of a text that are read at most.
LONGEST = 8192
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Base:
    """A checked directory with its tokenizer.

    Args:
        folder: the Hugging Face directory.
        tokenizer: without truncation and padding.
        start: ids of the special tokens before a text.
        end: ids of those after it.
        unknown: id of the token that stands for a hidden one.
        vocabulary: number of tokens.
    """

    folder: Path
    tokenizer: Tokenizer
    start: tuple[int, ...]
    end: tuple[int, ...]
    unknown: int
    vocabulary: int

    @property
    def frame(self) -> int:
        """The number of special tokens around a text."""
        return len(self.start) + len(self.end)

    def encode(self, texts: Sequence[str], longest: int = LONGEST) -> list[list[int]]:
        """Return token ids of texts with special tokens; of texts longer than ``longest`` tokens, head and tail."""
        return encode(self.tokenizer, texts, longest)

    def inner(self, ids: Sequence[int]) -> list[int]:
        """Return a text's ids without the special tokens around it."""
        return list(ids[len(self.start) : len(ids) - len(self.end)])

    def framed(self, ids: Sequence[int]) -> list[int]:
        """Return ids with the special tokens around them, the reverse of `inner`."""
        return [*self.start, *ids, *self.end]

    def backbone(self, lora: int = 0) -> PreTrainedModel:
        """Return the network with its weights, in single precision.

        With ``lora``, only adapters of that rank are trainable. Raises Misconfigured("bad-model") for weights that are
        incomplete or do not fit the configuration.
        """
        disable_progress_bar()  # of the loading, which takes a moment
        try:
            network, loading = AutoModel.from_pretrained(
                self.folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                dtype=torch.float32,
                # Plain attention is what the exporter understands, and on two cores the fastest for texts of this
                # length.
                attn_implementation="eager",
                # A mixture's experts as one batched product: the exporter cannot follow a loop over the chosen ones.
                experts_implementation="batched_mm",
            )
        except Exception as error:
            text = (
                f"The weights in {self.folder} do not fit its config.json ({type(error).__name__}); fetch both again."
            )
            raise Misconfigured("bad-model", text) from error
        # Transformers initialises what is missing at random and goes on.
        if missing := sorted(loading["missing_keys"]):
            text = f"{self.folder} lacks {len(missing)} of the network's weights, such as {missing[0]}; fetch it again."
            raise Misconfigured("bad-model", text)
        return with_adapters(network, lora) if lora else network


def open_base(folder: Path) -> Base:
    """Check a directory and open its tokenizer; raises Misconfigured("bad-model") with what is wrong with it."""
    config = check_directory(folder)
    tokenizer = open_tokenizer(folder / "tokenizer.json")
    if tokenizer.get_vocab_size() > config.vocab_size:
        text = (
            f"{folder}: tokenizer.json has more tokens than config.json's {config.vocab_size}; they are of two models."
        )
        raise Misconfigured("bad-model", text)
    framed = tokenizer.encode("word").ids
    inner = tokenizer.encode("word", add_special_tokens=False).ids
    before = next((n for n in range(len(framed)) if framed[n : n + len(inner)] == inner), 0)
    unknown = [tokenizer.token_to_id(token) for token in ("[MASK]", "<mask>", "[UNK]", "<unk>")]
    return Base(
        folder,
        tokenizer,
        tuple(framed[:before]),
        tuple(framed[before + len(inner) :]),
        next((number for number in unknown if number is not None), 0),
        tokenizer.get_vocab_size(),
    )


def check_directory(folder: Path) -> PretrainedConfig:
    """Return the configuration of a plain directory of a supported architecture with safetensors weights.

    Raises Misconfigured("bad-model") for anything else, with what is wrong and what to do.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise Misconfigured("bad-model", f"{folder} is not a folder.")
    for entry in sorted(folder.rglob("*")):
        if entry.is_symlink():
            raise Misconfigured("bad-model", f"{entry} is a symbolic link; copy the file itself into the folder.")
        if entry.suffix in REFUSED:
            text = f"{entry} may hold code; only safetensors weights are used. Convert it and remove this file."
            raise Misconfigured("bad-model", text)
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise Misconfigured("bad-model", f"{folder / name} is missing; a base needs it.")
    if not list(folder.glob("*.safetensors")):
        raise Misconfigured("bad-model", f"{folder} holds no *.safetensors file.")
    for file in (*folder.glob("*.json"), *folder.glob("*.safetensors")):
        check_content(file)
    for file in folder.glob("*.safetensors.index.json"):
        _check_index(file)
    config = read_config(folder / "config.json")
    _check_depth(folder, config)
    return config


def _check_depth(folder: Path, config: PretrainedConfig) -> None:
    """Refuse a configuration of more or fewer layers than there are weights for.

    The network is built as the configuration says before any weight is read, whatever memory that takes, and layers
    that it leaves out would be dropped silently.
    """
    layers = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "numpy") as weights:
            layers |= {int(layer[1]) for name in weights.keys() if (layer := _LAYER.search(name))}  # noqa: SIM118
    if len(layers) != config.num_hidden_layers or layers != set(range(len(layers))):
        text = (
            f"{folder}: config.json has {config.num_hidden_layers:,} layers, the weights have {len(layers)}; "
            "they are of two models."
        )
        raise Misconfigured("bad-model", text)


def _check_index(file: Path) -> None:
    """Refuse an index of weights that points out of its folder."""
    index = json.loads(file.read_bytes())
    weights = index.get("weight_map") if isinstance(index, dict) else None
    shards = weights.values() if isinstance(weights, dict) else [None]
    for shard in set(map(str, shards)):
        if Path(shard).name != shard or not (file.parent / shard).is_file():
            text = f"{file} names {shard[:200]!r}, which is not a file next to it; all weights must be in one folder."
            raise Misconfigured("bad-model", text)


def read_config(file: Path) -> PretrainedConfig:
    """Return the configuration of a supported architecture. Raises Misconfigured("bad-model")."""
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


def open_tokenizer(file: Path) -> Tokenizer:
    """Open a tokenizer that neither truncates nor pads. Raises Misconfigured("bad-model")."""
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:
        raise Misconfigured("bad-model", f"{file} is not a tokenizer: {type(error).__name__}.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def with_adapters(network: PreTrainedModel, rank: int) -> PreTrainedModel:
    """Add low-rank adapters (LoRA) to every attention and feed-forward projection; nothing else stays trainable."""
    from peft import LoraConfig, inject_adapter_in_model

    for parameter in network.parameters():
        parameter.requires_grad_(False)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names), network)


def merge_adapters(network: PreTrainedModel) -> None:
    """Add trained adapters to their weights, so that the network is a plain one again."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "lora_A"):
                child.merge()
                setattr(parent, name, child.get_base_layer())
