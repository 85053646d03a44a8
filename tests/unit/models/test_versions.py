"""Versions by name, the pointer, promotion and rollback, and a version as one file."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.active import VersionChange, move_pointer, pointer_path, read_pointer
from models.archive import export_version, import_version
from models.registry import active_version, names, open_version, versions, write_manifest
from pipeline.errors import MailroomError, Misconfigured, Refused
from tests.support.tiny import make_classifier
from workers.assemble import Mailroom
from workers.settings import load_settings

WORDS = {"invoice": ("invoice", "total"), "letter": ("dear", "regards")}
SWAPPED = {"invoice": ("dear", "regards"), "letter": ("invoice", "total")}
GOLDEN = "text,label\nInvoice with a total,invoice\nDear Ann with regards,letter\n"
LIMIT = 10_000_000


@pytest.fixture
def mailroom(tmp_path: Path) -> Mailroom:
    (tmp_path / "golden.csv").write_text(GOLDEN)
    overrides = {"data.path": str(tmp_path / "data"), "models.classifier": "tiny"}
    mailroom = Mailroom(
        load_settings({**overrides, "models.golden": str(tmp_path / "golden.csv")}, environ={}).settings
    )
    for version, words in (("1", WORDS), ("2", WORDS), ("3", SWAPPED)):
        make_classifier(mailroom.settings.models_root, version, words)
    yield mailroom
    mailroom.close()


@pytest.fixture
def bare(mailroom: Mailroom) -> Mailroom:
    """Open the same installation without a configured golden set."""
    bare = Mailroom(load_settings({"data.path": str(mailroom.settings.home)}, environ={}).settings)
    yield bare
    bare.close()


def label_of(mailroom: Mailroom, text: str) -> tuple[str, str]:
    (prediction,) = mailroom.classifiers.current().classify([text])
    return prediction.model, prediction.label


def test_a_version_is_active_only_once_it_was_promoted(mailroom: Mailroom) -> None:
    root = mailroom.settings.models_root
    with pytest.raises(Misconfigured, match="mailroom models promote tiny@3"):
        active_version(root, "tiny")
    assert versions(root, "tiny") == ["1", "2", "3"]
    assert {"all-minilm-l6-v2", "document-type", "tiny"} <= set(names(root))
    mailroom.promoter.promote("tiny@1")
    assert open_version(root, "tiny").manifest.title == "tiny@1"
    assert open_version(root, "document-type").path.parts[-3] == "shipped"


def test_a_model_other_than_a_classifier_is_named_with_its_version_in_the_settings(
    mailroom: Mailroom, tmp_path: Path
) -> None:
    root, shipped = mailroom.settings.models_root, open_version(tmp_path, "all-minilm-l6-v2")
    own = root / "own" / "1"
    shutil.copytree(shipped.path, own)
    manifest = (own / "model.toml").read_text()
    manifest = manifest.replace('name = "all-minilm-l6-v2"', 'name = "own"')
    (own / "model.toml").write_text(manifest.replace(f'"{shipped.manifest.version}"', '"1"'))
    with pytest.raises(Misconfigured, match=r'models\.embedder = "own@1"'):
        open_version(root, "own")
    assert open_version(root, "own@1").manifest.kind == "embedder"
    with pytest.raises(Refused, match=r"models\.embedder"):
        mailroom.promoter.promote("own@1")


def test_promotion_and_rollback_are_followed_and_recorded(mailroom: Mailroom) -> None:
    assert mailroom.classifiers.current() is None
    mailroom.promoter.promote("tiny@1")
    assert label_of(mailroom, "Invoice, total 5") == ("tiny@1", "invoice")
    mailroom.promoter.promote("tiny@2", reason="new labels")
    first = mailroom.classifiers.current()
    assert first is mailroom.classifiers.current()
    with pytest.raises(Refused, match=r"worse than 2 .* accuracy 0.0000 instead of 1.0000"):
        mailroom.promoter.promote("tiny@3")
    assert mailroom.classifiers.current() is first
    mailroom.promoter.promote("tiny@3", force=True, reason="a test")
    assert label_of(mailroom, "Invoice, total 5") == ("tiny@3", "letter")
    assert mailroom.promoter.rollback("tiny").after == "2"
    assert label_of(mailroom, "Invoice, total 5") == ("tiny@2", "invoice")
    assert mailroom.promoter.rollback("tiny").after == "1"
    with pytest.raises(Refused, match="nothing to go back to"):
        mailroom.promoter.rollback("tiny")
    history = read_pointer(mailroom.settings.models_root, "tiny").history
    actions = [(c.action, c.before, c.after, c.forced) for c in history]
    assert actions == [
        ("promote", None, "1", False),
        ("promote", "1", "2", False),
        ("promote", "2", "3", True),
        ("rollback", "3", "2", False),
        ("rollback", "2", "1", False),
    ]
    assert history[2].metrics["before"]["accuracy"] == 1.0 and history[2].metrics["after"]["accuracy"] == 0.0
    assert history[2].reason == "a test" and history[2].who


def test_the_margin_lets_a_worse_version_through(mailroom: Mailroom) -> None:
    mailroom.promoter.promote("tiny@1")
    assert not mailroom.promoter.promote("tiny@3", margin=1.0).change.forced


def test_without_a_golden_set_nothing_is_replaced_unforced(mailroom: Mailroom, tmp_path: Path) -> None:
    bare = Mailroom(load_settings({"data.path": str(mailroom.settings.home)}, environ={}).settings)
    bare.promoter.promote("tiny@1")
    with pytest.raises(Refused, match="--golden"):
        bare.promoter.promote("tiny@2")
    assert bare.promoter.promote("tiny@2", tmp_path / "golden.csv").comparison.lost == 0
    with pytest.raises(Refused, match="is active already"):
        bare.promoter.promote("tiny@2", force=True)


def test_a_damaged_version_is_not_promoted_and_the_one_before_serves_on(mailroom: Mailroom) -> None:
    root = mailroom.settings.models_root
    mailroom.promoter.promote("tiny@1")
    before = mailroom.classifiers.current()
    (root / "tiny" / "2" / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(Misconfigured, match="altered"):
        mailroom.promoter.promote("tiny@2", force=True)
    # Another machine's folder may lack what was promoted here.
    pointer = json.loads(pointer_path(root, "tiny").read_text())
    pointer["active"] = pointer["history"][-1]["after"] = "2"
    pointer_path(root, "tiny").write_text(json.dumps(pointer))
    assert mailroom.classifiers.current() is before


@pytest.mark.parametrize("content", ["", "[]", '{"active": "9"}', '{"active": "9", "history": []}', "[" * 100_000])
def test_a_damaged_pointer_is_reported(mailroom: Mailroom, content: str) -> None:
    pointer_path(mailroom.settings.models_root, "tiny").write_text(content)
    with pytest.raises(Misconfigured, match=r"active\.json"):
        active_version(mailroom.settings.models_root, "tiny")


@pytest.mark.parametrize("name", ["v.tar", "v.tar.gz", "v.tgz"])
def test_a_version_travels(mailroom: Mailroom, tmp_path: Path, name: str) -> None:
    root = mailroom.settings.models_root
    folder = open_version(root, "tiny@1")
    export_version(folder, tmp_path / name)
    export_version(folder, tmp_path / f"again-{name}")
    assert (tmp_path / name).read_bytes() == (tmp_path / f"again-{name}").read_bytes()
    with pytest.raises(Refused, match="there already"):
        export_version(folder, tmp_path / name)
    other = tmp_path / "other"
    assert import_version(other, tmp_path / name, LIMIT).manifest == folder.manifest
    assert versions(other, "tiny") == ["1"]
    with pytest.raises(Refused, match="the same to the byte"):
        import_version(other, tmp_path / name, LIMIT)
    with pytest.raises(Misconfigured):
        active_version(other, "tiny")
    with pytest.raises(MailroomError, match="Another tiny@1"):
        make_classifier(tmp_path / "third", "1", SWAPPED)
        import_version(tmp_path / "third", tmp_path / name, LIMIT)


def test_of_many_promotions_at_once_one_is_done(mailroom: Mailroom) -> None:
    root = mailroom.settings.models_root
    mailroom.promoter.promote("tiny@1")

    def promote(number: int) -> str:
        try:
            move_pointer(root, "tiny", VersionChange(0.0, str(number), "promote", "1", "2"))
        except Refused as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(promote, range(8))) == ["conflict"] * 7 + ["done"]
    assert [c.after for c in read_pointer(root, "tiny").history] == ["1", "2"]


def with_golden(root: Path, *rows: dict) -> Path:
    """Give the version tiny@2 a golden set of its own and return its file."""
    golden = root / "tiny" / "2" / "golden.jsonl"
    golden.write_text("\n".join(map(json.dumps, rows)))
    manifest = {"name": "tiny", "version": "2", "kind": "classifier", "labels": list(WORDS)}
    write_manifest(golden.parent, {**manifest, "thresholds": dict.fromkeys(WORDS, 0.5)})
    return golden


def test_a_golden_set_is_read_under_the_labels_of_today(mailroom: Mailroom) -> None:
    mailroom.promoter.promote("tiny@1")
    mailroom.taxonomy.change("rename", ["letter"], ["mail"], "ann")
    done = mailroom.promoter.promote("tiny@2")
    assert (done.comparison.after.accuracy, set(done.comparison.after.classes)) == (1.0, {"invoice", "mail"})


def test_a_golden_set_of_other_labels_proves_nothing(mailroom: Mailroom, tmp_path: Path) -> None:
    mailroom.promoter.promote("tiny@1")
    (tmp_path / "golden.csv").write_text("text,label\nInvoice with a total,bill\n")
    with pytest.raises(Refused, match=r"Neither tiny@2 nor 1 is right on any text"):
        mailroom.promoter.promote("tiny@2")
    assert mailroom.promoter.promote("tiny@2", force=True).change.forced


def test_a_version_s_own_golden_set_may_name_documents_that_were_erased(bare: Mailroom, tmp_path: Path) -> None:
    bare.promoter.promote("tiny@1")
    rows = [{"text": "the invoice", "labels": ["invoice"]}, {"document": "0" * 32, "labels": ["letter"]}]
    copy = tmp_path / "list.jsonl"
    copy.write_bytes(with_golden(bare.settings.models_root, *rows).read_bytes())
    with pytest.raises(Refused, match=r"0{32} is not there"):
        bare.promoter.promote("tiny@2", copy)
    change = bare.promoter.promote("tiny@2").change
    assert (change.metrics["erased"], change.metrics["after"]["texts"], change.forced) == (1, 1, False)


def test_a_golden_set_of_documents_of_another_installation_compares_nothing(bare: Mailroom) -> None:
    bare.promoter.promote("tiny@1")
    with_golden(bare.settings.models_root, {"document": "0" * 32, "labels": ["letter"]})
    with pytest.raises(Refused, match="could not be compared with 1"):
        bare.promoter.promote("tiny@2")
    change = bare.promoter.promote("tiny@2", force=True).change
    assert change.forced and change.metrics == {"erased": 1, "margin": 0.0}


def test_a_damaged_taxonomy_leaves_the_classifier_as_it_was(mailroom: Mailroom) -> None:
    root = mailroom.settings.models_root
    mailroom.promoter.promote("tiny@1")
    before = mailroom.classifiers.current()
    (root / "taxonomy.json").write_text("{")
    assert mailroom.classifiers.current() is before
    with pytest.raises(Misconfigured, match=r"taxonomy\.json"):
        mailroom.taxonomy.labels()
