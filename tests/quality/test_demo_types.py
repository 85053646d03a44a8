"""The shipped classifier on the demo's samples, which took part neither in training nor in the choice of a model.

The real parser reads them; their labels are in the samples' manifest.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from pipeline.documents import Prediction
from pipeline.parse.sandbox import SandboxedParser
from workers.assemble import Mailroom
from workers.demo.samples_manifest import SAMPLES, Sample, load_manifest
from workers.settings import load_settings

#: The share that has to be right.
RIGHT = 0.9


class ClassifiedSample(NamedTuple):
    """A sample or an attachment, the labels that a reader would accept, and the prediction."""

    name: str
    kinds: tuple[str, ...]
    prediction: Prediction

    @property
    def right(self) -> bool:
        return self.prediction.label in self.kinds


@pytest.fixture(scope="module")
def classified() -> list[ClassifiedSample]:
    """Classify every sample that has a type; scans only if the program that reads them is installed."""
    parser = SandboxedParser()
    try:
        texts = [text for sample in load_manifest().samples for text in _texts(parser, sample)]
    finally:
        parser.close()
    mailroom = Mailroom(load_settings({"models.threads": "2"}, environ={}).settings)
    predictions = mailroom.classifiers.current().classify([text for _, _, text in texts])
    mailroom.close()
    return [
        ClassifiedSample(name, kinds, prediction)
        for (name, kinds, _), prediction in zip(texts, predictions, strict=True)
    ]


def _texts(parser: SandboxedParser, sample: Sample) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield (name, accepted labels, text) of a sample and of each of its attachments."""
    unreadable = sample.needs is not None and shutil.which(sample.needs) is None
    if not sample.kinds or sample.duplicate_of or unreadable:
        return
    with (SAMPLES / sample.path).open("rb") as content:
        parsed = parser.parse(content, sample.path)
    yield sample.path, sample.kinds, parsed.text
    kinds = {attachment.name: attachment.kinds for attachment in sample.attachments}
    for attachment in parsed.attachments:
        text = parser.parse(io.BytesIO(attachment.content), attachment.name).text
        yield f"{sample.path}/{attachment.name}", kinds[attachment.name], text


def test_nine_of_ten_are_right(classified: list[ClassifiedSample]) -> None:
    wrong = [
        f"{j.name}: {j.prediction.label} {j.prediction.probability:.2f}, not {' or '.join(j.kinds)}"
        for j in classified
        if not j.right
    ]
    assert len(classified) >= 35
    assert len(wrong) <= (1 - RIGHT) * len(classified), "\n".join(wrong)


def test_none_is_above_threshold_and_wrong(classified: list[ClassifiedSample]) -> None:
    wrong = [
        f"{j.name}: {j.prediction.label} {j.prediction.probability:.2f}"
        for j in classified
        if j.prediction.confident and not j.right
    ]
    assert not wrong, "\n".join(wrong)
