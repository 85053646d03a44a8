"""What a reclassification plan records of the model that it compares with."""

from __future__ import annotations

from pathlib import Path

from pipeline.questions import Filters
from tests.support.serving import make_mailroom
from tests.support.tiny import make_classifier

WORDS = {"invoice": ["total"], "letter": ["dear"]}


def test_a_plan_for_a_version_records_it_although_the_setting_is_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "data" / "models"
    configured = make_classifier(root, "1", WORDS)
    make_classifier(root, "2", WORDS)
    mailroom = make_mailroom(tmp_path / "data", **{"models.classifier": str(configured.path)})
    plans = mailroom.catalogue.plans
    assert plans.get(mailroom.reclassify.plan(Filters())[0])["selection"]["model"] == str(configured.path)
    assert plans.get(mailroom.reclassify.plan(Filters(), model="tiny@2")[0])["selection"]["model"] == "tiny@2"
    mailroom.close()
