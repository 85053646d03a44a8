"""A fine-tune end to end for each architecture: train, export, serve, agree; several labels; adapters; resume."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer

from models.recipes.finetune import fit as fitting
from models.recipes.finetune import trainer
from models.recipes.finetune.bag_of_words import TokenTable, feature_counts, fit_bag_of_words, thinned, token_table
from models.recipes.finetune.base import open_base
from models.recipes.finetune.examples import LabelledExample, dataset
from models.recipes.finetune.fit import fit, refit
from models.recipes.finetune.network import ClassifierNetwork, head_and_tail
from models.recipes.finetune.outputs import bag_of_words_scores, mean_states
from models.recipes.finetune.projection import fit_projection, variants
from models.recipes.finetune.run import TrainedVersion, TrainingJob, train
from models.recipes.finetune.settings import Hyperparameters
from models.registry import verify
from pipeline.classify import OnnxClassifier
from pipeline.errors import Refused
from tests.training.conftest import CLASSES, MORE, texts

QUICK = Hyperparameters(rate=3e-3, epochs=3, crop=48, max_length=64, reach=24, batch=8, patience=5, seed=5)


def job(folder: Path, name: str = "tried") -> TrainingJob:
    return TrainingJob(name, "1", folder / "models", folder / "work", "a test", "made up", "none", "tiny")


def train_version(
    folder: Path, base: Path, embedder, settings: Hyperparameters = QUICK, examples=None
) -> TrainedVersion:
    data = dataset(list(examples or texts(40)), settings.seed)
    return train(job(folder), open_base(base), data, settings, embedder)


@pytest.mark.parametrize("family", sorted(MORE))
def test_every_architecture_is_trained_exported_and_served(
    family: str, tiny: Callable, embedder, tmp_path: Path
) -> None:
    version = train_version(tmp_path, tiny(family), embedder)

    folder = verify(version.folder.path)
    assert version.report["metrics"]["accuracy"] >= 0.9
    assert version.report["export"]["full"]["difference"] < 1e-4
    served = version.report["export"][version.report["export"]["served"]]
    assert served["same"] >= 0.995
    predictions = OnnxClassifier(folder).classify(["press the switch, remove the cable and turn the screw"])
    assert predictions[0].label == "manual"


def test_a_version_brings_its_report(tiny: Callable, embedder, tmp_path: Path) -> None:
    version = train_version(tmp_path, tiny("Mistral"), embedder)

    report = json.loads((version.folder.path / "report.json").read_text())
    assert set(report["baselines"]) == {"tfidf_svm", "minilm_lr"}
    assert set(report["parts"]) == {"backbone alone", "bag of words alone"}
    assert {row["label"] for row in report["classes"]} == set(CLASSES)
    assert sum(map(sum, report["confusion"])) == report["metrics"]["texts"]
    page = (version.folder.path / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "baseline" in page
    assert version.folder.manifest.fingerprint == report["data"]["fingerprint"]


def test_a_text_may_have_several_labels(tiny: Callable, embedder, tmp_path: Path) -> None:
    single = list(texts(30))
    pairs = [
        LabelledExample(f"{one.text} {two.text}", tuple(sorted({*one.labels, *two.labels})), identity=f"pair-{number}")
        for number, (one, two) in enumerate(zip(single, reversed(single), strict=True))
    ]
    version = train_version(tmp_path, tiny("Mistral"), embedder, examples=single + pairs)

    assert version.report["metrics"]["micro_f1"] > 0.8
    both = OnnxClassifier(version.folder).probabilities(
        ["press the switch and turn the screw; amount total due, net price"]
    )
    named = {label for label, p in zip(version.folder.manifest.labels, both[0], strict=True) if p > 0.5}
    assert {"invoice", "manual"} <= named


def test_adapters_train_a_small_part_and_leave_a_plain_network(tiny: Callable, embedder, tmp_path: Path) -> None:
    settings = replace(QUICK, lora=4)
    base = open_base(tiny("Mistral"))
    free = sum(p.numel() for p in base.backbone(4).parameters() if p.requires_grad)
    assert 0 < free < 0.05 * sum(p.numel() for p in base.backbone().parameters())

    version = train_version(tmp_path, tiny("Mistral"), embedder, settings)
    assert version.report["export"]["full"]["difference"] < 1e-4


def test_an_interrupted_training_resumes(tiny: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, data = open_base(tiny("Mistral")), dataset(list(texts(30)), 1)
    whole = fit(base, data, tmp_path / "whole", QUICK)

    epoch = trainer.Run.train_epoch

    def cut(run, number: int) -> float:
        if number == 2:
            raise KeyboardInterrupt
        return epoch(run, number)

    monkeypatch.setattr(trainer.Run, "train_epoch", cut)
    with pytest.raises(KeyboardInterrupt):
        fit(base, data, tmp_path / "cut", QUICK)
    monkeypatch.undo()
    resumed = fit(base, data, tmp_path / "cut", QUICK, resume=True)

    assert [e.number for e in resumed.curve] == [1, 2, 3]
    assert resumed.curve[1].train_loss == pytest.approx(whole.curve[1].train_loss, rel=0.02)
    assert resumed.curve[2].accuracy == pytest.approx(whole.curve[2].accuracy, abs=0.1)
    other = dataset(list(texts(30, seed=4)), 1)
    with pytest.raises(Refused, match="belongs to other data"):
        fit(base, other, tmp_path / "cut", QUICK, resume=True)


def test_the_bag_of_words_branch_computes_what_the_fitted_machine_computes(tiny: Callable) -> None:
    base, data = open_base(tiny("Mistral")), dataset(list(texts(40)), 1)
    tokens = token_table(base.tokenizer, base.vocabulary)
    ids = [base.inner(text) for text in base.encode([f"unwarrantably, {e.text}!" for e in data.train])]
    branch = fit_bag_of_words(ids, data.targets(data.train), tokens, len(data.labels), 0)

    counts, _ = feature_counts(ids, tokens)
    weighed = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    table = branch.table.numpy()[1:] * branch.peak.numpy()[1:, None]
    expected = weighed @ table + branch.bias.numpy()
    framed = [base.framed(text) for text in ids]
    np.testing.assert_allclose(bag_of_words_scores(branch, framed), expected, atol=1e-4)


def test_long_texts_are_trained_on_once_more_with_a_few_of_their_features() -> None:
    counts = csr_matrix(np.vstack([np.ones(2000), np.arange(2000) < 150, np.arange(2000) < 900]).astype(float))
    thin, source = thinned(counts, 3)
    assert source.tolist() == [0, 2]
    assert np.all(np.abs(np.diff(thin.indptr) - 100) < 40)
    assert thin.multiply(thin).sum(1).ravel().tolist() == [[pytest.approx(1.0)] * 2]
    assert set(thin[1].indices) <= set(range(900))
    empty, source = thinned(counts[1:2], 3)
    assert empty.shape == (0, 2000) and not len(source)


def test_a_class_is_recognised_at_another_length_than_it_was_learned_at() -> None:
    """One class is short and two are long to learn from; elsewhere all are short, or all are long."""
    rng, targets, labels = np.random.default_rng(1), np.arange(150) % 3, np.arange(300) % 3
    tokens = TokenTable(np.ones(900, bool), np.ones(900, bool), rng.integers(1, 1 << 30, 900))
    frequency = [np.where(np.arange(900) % 3 == label, 2.0, 1.0) for label in range(3)]

    def text(label: int, length: int) -> list[int]:
        return rng.choice(900, length, p=frequency[label] / frequency[label].sum()).tolist()

    branch = fit_bag_of_words([text(label, (400, 400, 60)[label]) for label in targets], targets, tokens, 3, 0)
    for length in (60, 400):
        right = bag_of_words_scores(branch, [text(label, length) for label in labels]).argmax(1) == labels
        assert right.mean() > 0.8, length


def test_few_texts_are_all_trained_on_in_the_end(tiny: Callable, tmp_path: Path) -> None:
    base, data = open_base(tiny("Mistral")), dataset(list(texts(12)), 1)
    fitted = fit(base, data, tmp_path, QUICK)
    again = refit(base, data, QUICK, fitted)

    assert again.curve == fitted.curve
    assert (again.epochs, again.share, again.factor) == (fitted.epochs, fitted.share, fitted.factor)
    assert (
        again.network.bag_of_words.table.shape[0] > fitted.network.bag_of_words.table.shape[0]
    )  # words of the calibration texts too


def test_a_training_that_does_harm_is_undone(tiny: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, data = open_base(tiny("Mistral")), dataset(list(texts(12)), 1)

    def wreck(run, number: int) -> float:
        for weights in run.mean.parameters():
            weights.data = torch.randn_like(weights)
        return 9.0

    monkeypatch.setattr(trainer.Run, "train_epoch", wreck)
    fitted = fit(base, data, tmp_path, replace(QUICK, bag_of_words=False))
    assert fitted.share == 0.0
    for name, value in base.backbone().named_parameters():
        assert torch.equal(value, fitted.network.backbone.get_parameter(name)), name


def test_the_kept_share_lies_between_the_start_and_its_training(tiny: Callable, tmp_path: Path) -> None:
    fitted = fit(open_base(tiny("Mistral")), dataset(list(texts(12)), 1), tmp_path, QUICK)
    assert fitted.share in fitting.SHARES
    start, end = {"a": torch.tensor([0.0, 2.0])}, {"a": torch.tensor([4.0, 2.0])}
    assert fitting.between(start, end, 0.25)["a"].tolist() == [1.0, 2.0]


def test_the_network_reads_head_and_tail_of_a_long_text(tiny: Callable) -> None:
    ids = torch.arange(1, 21)[None].repeat(2, 1)
    mask = torch.ones_like(ids)
    mask[1, 11:] = 0  # a shorter one, padded
    cut, cut_mask = head_and_tail(ids, mask, 8)
    assert cut[0].tolist() == [1, 2, 3, 4, 5, 6, 19, 20]
    assert cut[1].tolist() == [1, 2, 3, 4, 5, 6, 10, 11]
    assert cut_mask.all()
    short, short_mask = head_and_tail(ids[:, :5], mask[:, :5], 8)
    assert torch.equal(short, ids[:, :5])
    assert short_mask.all()


def test_words_are_put_together_from_their_pieces(tiny: Callable) -> None:
    base = open_base(tiny("Mistral"))
    tokens = token_table(base.tokenizer, base.vocabulary)
    whole, other, punctuation = (base.inner(ids) for ids in base.encode(["unwarrantably", "warrantably un", "( - )"]))
    assert len(whole) > 1
    assert len(tokens.keys(whole)) == 1 + 0 + len(whole)  # one word, no pair, its pieces
    assert len(tokens.keys(other)) == 2 + 1 + len(other)
    assert len(tokens.keys(punctuation)) == len(punctuation)  # not words
    assert len(tokens.keys([])) == 0


def test_the_calibration_texts_decide_whether_the_head_stands_on_a_projection(
    tiny: Callable, embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, data = open_base(tiny("Mistral")), dataset(list(texts(12)), 1)
    settings = replace(QUICK, epochs=0)
    fitted = {}
    for better in (False, True):
        monkeypatch.setattr(
            trainer.Run,
            "calibration_losses",
            lambda run, network, better=better: np.ones(3) * ((network.projection is None) == better),
        )
        fitted[better] = fit(base, data, tmp_path / str(better), settings, embedder=embedder)
    assert fitted[False].network.projection is None
    again = refit(base, data, settings, fitted[True], embedder)
    assert again.network.head.in_features == embedder.dimension
    assert not torch.equal(again.network.projection.weight, fitted[True].network.projection.weight)


def test_a_projection_is_served_like_the_rest(
    tiny: Callable, embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        trainer.Run, "calibration_losses", lambda run, network: np.ones(3) * (network.projection is None)
    )
    version = train_version(tmp_path, tiny("Mistral"), embedder, replace(QUICK, epochs=0))
    assert version.report["training"]["projection"]
    assert version.report["export"]["full"]["difference"] < 1e-4
    assert version.report["metrics"]["accuracy"] >= 0.8


def test_a_projection_comes_near_to_the_embedder(tiny: Callable, embedder) -> None:
    base = open_base(tiny("Mistral"))
    network = ClassifierNetwork(base.backbone(), 2)
    train_texts, new = ([e.text for e in texts(20, seed)] for seed in (1, 2))
    projection = fit_projection(network, base, train_texts, embedder, 5)
    vectors, expected = projection(torch.from_numpy(mean_states(network, base.encode(new)))), embedder.embed(new)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(len(new)), atol=1e-5)
    middle = expected.mean(0) / np.linalg.norm(expected.mean(0))
    assert (vectors.detach().numpy() * expected).sum(1).mean() > (expected @ middle).mean()


def test_variants_consist_of_the_words_of_the_texts() -> None:
    originals = [f"{n} a b c d e f".split() for n in range(40)] + [["alone"], []]
    changed = variants(originals, random.Random(3))
    assert len(changed) == len(originals)
    assert {word for words in changed for word in words} <= {word for words in originals for word in words}
    assert all(changed[:-1])
    assert sum(words != own for words, own in zip(changed, originals, strict=True)) > 30
