"""The description is complete: every route, its answers, its problems and its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import make_mailroom
from workers.api.app import create_app
from workers.api.problems import MEDIA_TYPE

OPEN = {"/healthz", "/readyz", "/problems", "/problems/{code}"}
PAGE = Path(__file__).parents[3] / "docs" / "rest.md"


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return create_app(make_mailroom(tmp_path_factory.mktemp("data")), warm=False).openapi()


def operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, verb, op) for path, verbs in described["paths"].items() for verb, op in verbs.items()]


def test_every_route_says_what_it_answers(described: dict[str, Any]) -> None:
    for path, verb, operation in operations(described):
        assert operation["description"], (verb, path)
        good = [status for status in operation["responses"] if status < "300"]
        assert good, (verb, path)
        for status in set(good) - {"204"}:
            (content,) = operation["responses"][status]["content"].values()
            assert content["schema"], (verb, path)


def test_every_problem_is_problem_json_with_an_example(described: dict[str, Any]) -> None:
    for path, verb, operation in operations(described):
        bad = {s: r for s, r in operation["responses"].items() if s >= "400"}
        for status, response in bad.items():
            assert list(response["content"]) == [MEDIA_TYPE], (verb, path, status)
            assert response["content"][MEDIA_TYPE]["schema"]["$ref"].endswith("/Problem")
            assert response["content"][MEDIA_TYPE]["example"]["code"]
        if path not in OPEN:
            assert {"400", "401", "403", "500", "503"} <= set(bad), (verb, path)
        assert "422" not in bad


def test_every_route_but_the_open_ones_names_the_key(described: dict[str, Any]) -> None:
    assert set(described["components"]["securitySchemes"]) == {"bearer", "header"}
    assert described["security"]
    assert {path for path, _, operation in operations(described) if operation.get("security") == []} == OPEN


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if "$ref" in node else set()
            return own.union(*(references(value) for value in node.values()))
        return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()

    schemas = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    assert references(described) <= schemas


def test_the_page_names_every_route(described: dict[str, Any]) -> None:
    text = PAGE.read_text().replace("{id}", "{document_id}")
    for path in described["paths"]:
        last = "/" + path.rsplit("/", 1)[-1]
        assert path in text or f"`{last}`" in text, path
