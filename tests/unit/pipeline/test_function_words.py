"""Function words show a text's language and are left out of a question's content."""

from __future__ import annotations

import pytest

from pipeline.function_words import content_words, function_words, language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Der Vertrag ist nicht mit der Firma", "german"),
        ("The contract is not with the company", "english"),
        ("Le contrat n'est pas avec la société", "french"),
        ("El contrato no es con la empresa", "spanish"),
        ("Het contract is niet met de firma", "dutch"),
        ("E. A. Poe, Y. O.", "english"),
        ("", "english"),
    ],
)
def test_the_language_is_that_of_most_function_words(text: str, language: str) -> None:
    assert language_of(text) == language


def test_only_some_languages_are_considered() -> None:
    assert language_of("Der Vertrag ist nicht mit der Firma", ("english", "dutch")) != "german"


def test_content_words() -> None:
    assert content_words("What is the period of notice?".split(), "english") == ["period", "notice?"]
    assert function_words("(the) period".split(), "english") == ["(the)"]
    assert content_words(["the", "are"], "english") == ["the", "are"]
