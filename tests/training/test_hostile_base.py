"""A base that is hostile or broken: refused by the file and what is wrong with it; nothing of it is run or read past
its folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from models.recipes.finetune.base import open_base
from pipeline.errors import Misconfigured

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def outside(folder: Path) -> None:
    """Make the index name a file of the neighbour's."""
    (folder / WEIGHTS).rename(folder.parent / "theirs.safetensors")
    save_file({}, folder / "none.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"norm.weight": "../theirs.safetensors"}}))


def configured(**changed: object) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text()) | changed
        (folder / "config.json").write_text(json.dumps(values))

    return make


def without(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        del weights[name]
        save_file(weights, folder / WEIGHTS)

    return make


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])


def linked(folder: Path) -> None:
    (folder / "config.json").rename(folder.parent / "config.json")
    (folder / "config.json").symlink_to(folder.parent / "config.json")


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "an index that points outside": (outside, r"theirs\.safetensors.*not a file next to it"),
    "an index of nothing": (lambda folder: (folder / INDEX).write_text('["x"]'), "not a file next to it"),
    "code of its own": (configured(auto_map={"AutoModel": "evil.Evil"}), "auto_map"),
    "another architecture": (configured(model_type="bert"), "'bert' is not one of"),
    "weights of other sizes": (configured(intermediate_size=48), "do not fit"),
    "weights that lack one": (without("norm.weight"), "lacks 1 of the network's weights, such as norm.weight"),
    "a thousand million layers": (configured(num_hidden_layers=10**9), "has 1,000,000,000 layers, the weights have 2"),
    "fewer layers than its weights": (configured(num_hidden_layers=1), "has 1 layers, the weights have 2"),
    "layers less than none": (configured(num_hidden_layers=-1), "has -1 layers"),
    "weights cut off": (cut, "not a safetensors file"),
    "a pickle": (lambda folder: (folder / "training_args.bin").write_bytes(b"cos\nsystem\n."), "may hold code"),
    "a link": (linked, "symbolic link"),
    "more tokens than the network has": (configured(vocab_size=100), "of two models"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").write_text("{}"), "not a tokenizer"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_base_that_cannot_be_used_is_refused_by_name(case: str, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    change, message = CASES[case]
    folder = shutil.copytree(tiny("Mistral"), tmp_path / "base")
    change(folder)
    with pytest.raises(Misconfigured, match=message):
        open_base(folder).backbone()


def test_weights_in_several_files_are_read(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("Mistral"), tmp_path / "base")
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    for part, names in enumerate((sorted(weights)[::2], sorted(weights)[1::2])):
        save_file({name: weights[name] for name in names}, folder / f"part-{part}.safetensors", {"format": "pt"})
    places = {name: f"part-{number % 2}.safetensors" for number, name in enumerate(sorted(weights))}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert (open_base(folder).backbone().norm.weight == weights["norm.weight"]).all()
