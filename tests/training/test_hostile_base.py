"""A base that is hostile or broken: refused by the file and what is wrong with it; nothing of it is run or read past its folder."""

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
    """Its index names a file of the neighbour's."""
    (folder / WEIGHTS).rename(folder.parent / "theirs.safetensors")
    save_file({}, folder / "none.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"norm.weight": "../theirs.safetensors"}}))


def said(**changed: object) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text()) | changed
        (folder / "config.json").write_text(json.dumps(values))

    return make


def without(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        del held[name]
        save_file(held, folder / WEIGHTS)

    return make


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])


def linked(folder: Path) -> None:
    (folder / "config.json").rename(folder.parent / "config.json")
    (folder / "config.json").symlink_to(folder.parent / "config.json")


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "an index that points outside": (outside, r"theirs\.safetensors.*no file beside it"),
    "an index of nothing": (lambda folder: (folder / INDEX).write_text('["x"]'), "no file beside it"),
    "code of its own": (said(auto_map={"AutoModel": "evil.Evil"}), "auto_map"),
    "another architecture": (said(model_type="bert"), "'bert' is not one of"),
    "weights of other sizes": (said(intermediate_size=48), "do not fit"),
    "weights that lack one": (without("norm.weight"), "lacks 1 of the network's weights, such as norm.weight"),
    "a thousand million layers": (said(num_hidden_layers=10**9), "says 1,000,000,000 layers, the weights have 2"),
    "fewer layers than its weights": (said(num_hidden_layers=1), "says 1 layers, the weights have 2"),
    "layers less than none": (said(num_hidden_layers=-1), "says -1 layers"),
    "weights cut off": (cut, "no safetensors file"),
    "a pickle": (lambda folder: (folder / "training_args.bin").write_bytes(b"cos\nsystem\n."), "may hold code"),
    "a link": (linked, "symbolic link"),
    "more tokens than the network has": (said(vocab_size=100), "not of one model"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").write_text("{}"), "not a tokenizer"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_base_that_cannot_be_used_is_refused_by_name(case: str, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    change, told = CASES[case]
    folder = shutil.copytree(tiny("Mistral"), tmp_path / "base")
    change(folder)
    with pytest.raises(Misconfigured, match=told):
        open_base(folder).backbone()


def test_weights_in_several_files_are_read(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("Mistral"), tmp_path / "base")
    held = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    for part, names in enumerate((sorted(held)[::2], sorted(held)[1::2])):
        save_file({name: held[name] for name in names}, folder / f"part-{part}.safetensors", {"format": "pt"})
    places = {name: f"part-{number % 2}.safetensors" for number, name in enumerate(sorted(held))}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert (open_base(folder).backbone().norm.weight == held["norm.weight"]).all()
