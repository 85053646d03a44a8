"""The figures are the measured ones, and the top level is the fixed one."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.tables import PAGE, render_page

ROOT = Path(__file__).parents[2]


def test_the_figures_agree_with_the_result_files() -> None:
    page = PAGE.read_text()
    assert render_page(page) == page, "run `make figures`"


def test_the_top_level_is_the_fixed_one() -> None:
    fixed = {"pipeline", "workers", "indexes", "models", "tests", "docs"}
    folders = {
        p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".") and not p.name.endswith(".egg-info")
    }
    assert folders - {"data", "build"} == fixed


def test_every_folder_of_code_has_a_readme() -> None:
    for folder in ("pipeline", "indexes", "workers", "models", "tests"):
        assert (ROOT / folder / "README.md").is_file(), folder
