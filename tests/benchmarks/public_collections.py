"""Public test collections for retrieval, from MAILROOM_DATA: documents, queries, judgements.

Every document becomes elements as a parser would return them (a title, then paragraphs), so that it goes through the
same chunker as a filed one. ``train`` holds queries with judgements for choosing settings; the figures are of ``test``.
Cranfield, CISI and CACM have no such split: what is chosen on the others is measured on them, and vice versa.
"""

from __future__ import annotations

import csv
import json
import lzma
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.documents import Element, Parsed

#: query id -> document id -> gain
Judgements = Mapping[str, Mapping[str, int]]
SQUAD_QUESTIONS, SEED = 2000, 20261124


@dataclass(frozen=True, slots=True)
class Queries:
    """Queries that have a judgement; ``texts`` and ``judgements`` by query id."""

    texts: Mapping[str, str]
    judgements: Judgements


@dataclass(frozen=True, slots=True)
class TestCollection:
    """Parsed documents by id, with queries to measure on and queries to choose by."""

    name: str
    documents: Mapping[str, Parsed]
    test: Queries
    train: Queries = field(default_factory=lambda: Queries({}, {}))


def load(name: str, data: Path) -> TestCollection:
    """Return the collection of this name, one of COLLECTIONS."""
    return COLLECTIONS[name](data)


def parsed(title: str, *paragraphs: str) -> Parsed:
    """Return a document of paragraphs under a title, if it has one."""
    elements = [Element("Title", title)] if title else []
    elements += [Element("NarrativeText", text) for text in paragraphs if text]
    return Parsed("text/plain", tuple(elements), 1, "collection", ("eng",), title or None)


def scifact(data: Path) -> TestCollection:
    """Return claims and the abstracts that are evidence for or against them; validation claims are the test."""
    folder = data / "retrieval" / "scifact"
    documents = {
        row["doc_id"]: parsed(row["title"], " ".join(re.findall(r"""['"](.*?)['"](?=\s*[\]'"])""", row["abstract"])))
        for row in _rows(folder / "corpus_train.csv")
    }
    return TestCollection(
        "scifact", documents, _claims(folder / "claims_validation.csv"), _claims(folder / "claims_train.csv")
    )


def _claims(file: Path) -> Queries:
    texts: dict[str, str] = {}
    judgements: dict[str, dict[str, int]] = {}
    for row in _rows(file):
        if row["evidence_doc_id"]:
            texts[row["id"]] = row["claim"]
            judgements.setdefault(row["id"], {})[row["evidence_doc_id"]] = 1
    return Queries(texts, judgements)


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        yield from csv.DictReader(stream)


def cranfield(data: Path) -> TestCollection:
    """Return 1,400 abstracts on aerodynamics; the judgements count queries from 1 in their order."""
    folder = data / "retrieval" / "cranfield"
    documents = {
        record["I"]: parsed(_line(record.get("T", "")), _line(record.get("A", "")), _line(record.get("W", "")))
        for record in records(folder / "cran.all.1400")
    }
    texts = {str(n): _line(record["W"]) for n, record in enumerate(records(folder / "cran.qry"), 1)}
    rows = (line.split() for line in (folder / "QRelsCorrectedforTRECeval").read_text().splitlines())
    return TestCollection(
        "cranfield", documents, _judged(texts, ((query, document, int(gain)) for query, _, document, gain in rows))
    )


def cisi(data: Path) -> TestCollection:
    """Return 1,460 abstracts on library science."""
    folder = data / "retrieval" / "cisi"
    documents = _smart(folder / "CISI.ALL")
    texts = {record["I"]: _question(record) for record in records(folder / "CISI.QRY")}
    rows = (line.split() for line in (folder / "CISI.REL").read_text().splitlines())
    return TestCollection("cisi", documents, _judged(texts, ((row[0], row[1], 1) for row in rows)))


def cacm(data: Path) -> TestCollection:
    """Return 3,204 records on computing, half of them a title only."""
    folder = data / "retrieval" / "cacm"
    documents = _smart(folder / "cacm.all")
    texts = {record["I"]: _question(record) for record in records(folder / "query.text")}
    rows = (line.split() for line in (folder / "qrels.text").read_text().splitlines())
    return TestCollection("cacm", documents, _judged(texts, ((str(int(r[0])), str(int(r[1])), 1) for r in rows)))


def squad(data: Path) -> TestCollection:
    """Return questions, each with its paragraph among the paragraphs of both parts."""
    documents: dict[str, Parsed] = {}
    questions: dict[str, list[tuple[str, str]]] = {}
    for part in ("train", "dev"):
        with lzma.open(data / "qa" / f"squad-{part}-v1.1.json.xz", "rt", encoding="utf-8") as file:
            articles = json.load(file)["data"]
        paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
        for number, paragraph in enumerate(paragraphs):
            documents[f"{part}-{number}"] = parsed("", paragraph["context"])
        questions[part] = [(q["question"], f"{part}-{n}") for n, p in enumerate(paragraphs) for q in p["qas"]]
    return TestCollection("squad", documents, _sampled(questions["dev"]), _sampled(questions["train"]))


def _sampled(questions: list[tuple[str, str]]) -> Queries:
    chosen = random.Random(SEED).sample(questions, SQUAD_QUESTIONS)
    texts = {str(n): question for n, (question, _) in enumerate(chosen)}
    return Queries(texts, {str(n): {document: 1} for n, (_, document) in enumerate(chosen)})


def _judged(texts: Mapping[str, str], rows: Iterator[tuple[str, str, int]]) -> Queries:
    judgements: dict[str, dict[str, int]] = {}
    for query, document, gain in rows:
        if gain > 0 and query in texts:
            judgements.setdefault(query, {})[document] = gain
    return Queries({query: texts[query] for query in judgements}, judgements)


def _smart(file: Path) -> dict[str, Parsed]:
    return {
        record["I"]: parsed(
            _line(record.get("T", "")),
            "; ".join(record.get("A", "").split("\n")),
            _line(record.get("W", "")),
            _line(record.get("K", "")),
        )
        for record in records(file)
    }


def _question(record: Mapping[str, str]) -> str:
    return _line(record.get("W", "") or record.get("T", ""))


def records(file: Path) -> Iterator[dict[str, str]]:
    """Yield the records of a file in SMART format: `.I 7` begins a record, `.X` a field; repeated fields are joined."""
    record: dict[str, str] = {}
    name = ""
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if match := re.match(r"\.I\s+(\d+)", line):
            if record:
                yield record
            record, name = {"I": str(int(match[1]))}, ""
        elif match := re.match(r"\.([A-Z])\s*$", line):
            name = match[1]
        elif name:
            record[name] = f"{record.get(name, '')}\n{line}".strip("\n")
    if record:
        yield record


def _line(text: str) -> str:
    return " ".join(text.split())


COLLECTIONS: dict[str, Callable[[Path], TestCollection]] = {
    "scifact": scifact, "cranfield": cranfield, "cisi": cisi, "cacm": cacm, "squad": squad,
}  # fmt: skip
