"""Filter options: each command that has filters gets all of them, by the API's names."""

from __future__ import annotations

from typing import Any

import typer
from typer.testing import CliRunner

from workers.api.schemas.filters import FilterFields
from workers.cli.options import FILTERS, with_filters

app = typer.Typer()
calls: list[dict[str, Any]] = []


@app.command()
@with_filters
def look(word: str, filters: dict[str, Any], k: int = 3) -> None:
    """Record the arguments."""
    calls.append({"word": word, "k": k, **filters})


def test_a_command_gets_the_filters_that_are_set() -> None:
    words = "x --type a --type b --since 2026-01-02 --meta team=hr --state review --owner Ana -- ".split()
    assert CliRunner().invoke(app, words).exit_code == 0
    expected = {"label": ["a", "b"], "received_from": "2026-01-02", "metadata": ["team=hr"]}
    assert calls.pop() == {"word": "x", "k": 3, **expected, "state": ["review"], "owner": ["Ana"]}


def test_the_options_are_the_filters_of_the_api() -> None:
    assert set(FILTERS) == set(FilterFields.model_fields)
