"""What is expected of the sample documents, read from ``samples/manifest.toml`` into frozen records."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import Misconfigured

SAMPLES = Path(__file__).parent / "samples"


@dataclass(frozen=True, slots=True)
class SampleAttachment:
    """A document inside a mail: its file name, the kinds that are right for it, and a phrase of its text."""

    name: str
    kinds: tuple[str, ...]
    phrase: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample document and what has to become of it.

    ``path`` is its place in the samples folder and in the tray. ``kinds`` are the labels that a reader would accept,
    the best first; empty if there is nothing to classify. ``states`` are the states in which it may end; ``reason`` is
    the code with which it ends in "review" or "failed" (None: any). ``needs`` names a program without which it goes to
    review with the reason "no-text". ``duplicate_of`` is the sample with the same bytes. ``flags`` are those that the
    parser must set, ``pages`` and ``phrase`` what it must return (apart from white space).
    """

    path: str
    kinds: tuple[str, ...]
    states: tuple[str, ...]
    reason: str | None
    needs: str | None
    duplicate_of: str | None
    flags: tuple[str, ...]
    pages: int | None
    phrase: str | None
    attachments: tuple[SampleAttachment, ...]


@dataclass(frozen=True, slots=True)
class SampleSearch:
    """A query and the sample (or attachment: ``mail path/name``) that must come first."""

    query: str
    document: str


@dataclass(frozen=True, slots=True)
class SampleQuestion:
    """A question, the document that answers and a part of the quote; both None where the answer must be "not found"."""

    question: str
    document: str | None
    quote: str | None


@dataclass(frozen=True, slots=True)
class SamplesManifest:
    """All samples, and what the demo searches and asks."""

    samples: tuple[Sample, ...]
    searches: tuple[SampleSearch, ...]
    questions: tuple[SampleQuestion, ...]


def load_manifest(path: Path | None = None) -> SamplesManifest:
    """Read the shipped manifest or another one. Raises Misconfigured("bad-settings") for a missing or wrong field."""
    path = path or SAMPLES / "manifest.toml"
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        samples = tuple(_sample(tree["default"] | entry) for entry in tree["sample"])
        searches = tuple(SampleSearch(**entry) for entry in tree["search"])
        questions = tuple(SampleQuestion(q["question"], q.get("document"), q.get("quote")) for q in tree["question"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Misconfigured("bad-settings", f"The samples' manifest {path} cannot be used: {error!r}.") from error
    return SamplesManifest(samples, searches, questions)


def _sample(values: Mapping[str, Any]) -> Sample:
    """Return the record of an entry merged with the defaults. Raises ValueError for an unknown key."""
    unknown = values.keys() - set(Sample.__dataclass_fields__)
    if unknown:
        raise ValueError(f"{values.get('path')}: unknown keys {sorted(unknown)}")
    attachments = values.get("attachments", ())
    return Sample(
        path=values["path"],
        kinds=tuple(values["kinds"]),
        states=tuple(values["states"]),
        reason=values.get("reason") or None,
        needs=values.get("needs"),
        duplicate_of=values.get("duplicate_of"),
        flags=tuple(values.get("flags", ())),
        pages=values.get("pages"),
        phrase=values.get("phrase"),
        attachments=tuple(SampleAttachment(a["name"], tuple(a["kinds"]), a.get("phrase")) for a in attachments),
    )
