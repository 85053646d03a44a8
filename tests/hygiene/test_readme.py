"""The README's figures are the measured ones, and its map names every folder."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.tables import README, rendered

ROOT = Path(__file__).parents[2]


def test_the_figures_agree_with_the_result_files() -> None:
    readme = README.read_text()
    assert rendered(readme) == readme, "run `make readme`"


def test_the_top_level_is_the_fixed_one() -> None:
    fixed = {"pipeline", "workers", "indexes", "models", "tests"}
    folders = {
        p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".") and not p.name.endswith(".egg-info")
    }
    assert folders - {"data", "build"} == fixed


def test_every_folder_of_code_has_a_readme() -> None:
    for folder in ("pipeline", "indexes", "workers", "models", "tests"):
        assert (ROOT / folder / "README.md").is_file(), folder
