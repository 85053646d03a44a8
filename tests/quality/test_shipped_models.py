"""The shipped models do what their cards say, through the same parts that serve them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.registry import SHIPPED
from workers.assemble import Mailroom
from workers.settings import load_settings

LIMIT_BYTES = 100 * 2**20
TEXTS = {
    "invoice": "INVOICE\n\nInvoice number: INV-2041\n\nBill to: Alder Works Ltd\n\n1 | pump seal | 4 pcs | 120.00\n\n"
    "Subtotal 480.00\n\nVAT 20 % 96.00\n\nTotal due: 576.00\n\nPayment within 30 days. IBAN DE12 3456",
    "contract": "Services Agreement\n\n"
    "This Agreement is made between Pine Ltd (the Client) and Slate GmbH (the Contractor).\n\n"
    "1. Term. This Agreement continues for two years.\n\n2. Liability. Neither party is liable for indirect loss.\n\n"
    "3. Governing law. This Agreement is governed by the law of England and Wales.",
    "resume": "Curriculum Vitae\n\nMina Rao\n\n"
    "Work experience\n\n2015 - 2021 Site supervisor, Quarry Works\n\nEducation\n\n"
    "BSc Mechanical Engineering\n\nSkills\n\nwelding, AutoCAD, German",
    "email": "From: Ada Hale <ada@pine.example>\nTo: Ben Sato <ben@slate.example>\nSubject: Re: visit on Tuesday\n\n"
    "Hi Ben,\n\nthanks for the quick reply. Can we move the call to Monday?\n\nBest regards,\nAda",
}


@pytest.fixture(scope="module")
def mailroom() -> Mailroom:
    return Mailroom(load_settings({"models.threads": "2"}, environ={}).settings)


@pytest.mark.parametrize("label", TEXTS)
def test_plain_documents_are_recognised(mailroom: Mailroom, label: str) -> None:
    prediction = mailroom.classifiers.current().classify([TEXTS[label]])[0]
    print(label, prediction)
    assert prediction.label == label


def test_a_prediction_does_not_depend_on_its_neighbours(mailroom: Mailroom) -> None:
    texts = [*TEXTS.values(), "x " * 5000, ""]
    together = mailroom.classifiers.current().probabilities(texts)
    alone = np.concatenate([mailroom.classifiers.current().probabilities([text]) for text in texts])
    assert np.abs(together - alone).max() < 0.01
    assert np.allclose(together.sum(1), 1.0)


def test_an_empty_text_is_never_above_threshold(mailroom: Mailroom) -> None:
    assert not any(prediction.confident for prediction in mailroom.classifiers.current().classify(["", "   \n"]))


def test_vectors_are_normalised_ordered_and_independent_of_their_batch(mailroom: Mailroom) -> None:
    texts = ["the pump is broken", "a defective pump", "the choir sings on Saturday", "word " * 3000]
    together = mailroom.embedder.embed(texts)
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-3)
    assert together[0] @ together[1] > 0.5 > together[0] @ together[2]
    alone = np.concatenate([mailroom.embedder.embed([text]) for text in texts])
    assert (together * alone).sum(1).min() > 0.99


def test_every_version_has_its_card_and_all_fit_the_limit() -> None:
    versions = [path.parent for path in SHIPPED.rglob("model.toml")]
    assert {v.parent.name for v in versions} == {"document-type", "all-minilm-l6-v2", "mistral-small"}
    assert all((version / "card.md").is_file() for version in versions)
    assert sum(f.stat().st_size for f in SHIPPED.rglob("*") if f.is_file()) < LIMIT_BYTES


def test_the_execution_providers_of_the_settings_reach_the_session(tmp_path: Path) -> None:
    overrides = {"data.path": str(tmp_path), "models.providers": '["CUDAExecutionProvider", "CPUExecutionProvider"]'}
    mailroom = Mailroom(load_settings(overrides, environ={}).settings)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):  # there is none here: a warning, and the CPU serves
        assert mailroom.classifiers.current().classify([TEXTS["invoice"]])[0].label == "invoice"
