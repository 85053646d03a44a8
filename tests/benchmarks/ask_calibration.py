"""Calibrate when an answer is "not found": `MAILROOM_DATA=... python -m tests.benchmarks.ask_calibration`.

SQuAD 1.1 dev paragraphs and PolicyQA policies become one collection without some of the articles. Questions about its
paragraphs can be answered, questions about the others cannot. A logistic regression over the reader's three features is
fitted on one half of the questions and measured on the other; its weights are in pipeline/read.py.
"""

from __future__ import annotations

import json
import lzma
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.documents import Arrival, Chunk, Outcome, QueueName, Stage, State
from pipeline.questions import ADMINISTRATOR, SearchRequest
from pipeline.read import FLOOR, INTERCEPT, WEIGHTS, rank
from tests.benchmarks.record import public_data, record
from workers.assemble import Mailroom
from workers.settings import load_settings

QUESTIONS, IN_COLLECTION, SEED = 500, 14, 5


@dataclass(frozen=True, slots=True)
class AnsweredQuestion:
    """A question with its answers; none if its article is not in the collection."""

    text: str
    answers: tuple[str, ...]


def main() -> None:
    rng = random.Random(SEED)
    inside, questions = collection(public_data() / "qa", rng)
    with tempfile.TemporaryDirectory() as scratch:
        mailroom = Mailroom(load_settings({"data.path": scratch}, environ={}).settings)
        fill(mailroom, inside)
        features, right, answerable = measure(mailroom, questions)
    half = len(questions) // 2
    intercept, weights = fit(features[:half], right[:half])
    print("fitted:", round(intercept, 2), np.round(weights, 2))
    answered = confidence(features[half:], INTERCEPT, np.array(WEIGHTS)) >= FLOOR
    possible, correct = answerable[half:], right[half:]
    figures = {
        "questions": len(questions) - half,
        "answered_share_of_answerable": ratio(answered & possible, possible),
        "quote_holds_the_answer_when_answered": ratio(answered & correct & possible, answered & possible),
        "refused_share_of_unanswerable": ratio(~answered & ~possible, ~possible),
        "fitted_intercept": round(intercept, 2),
        "fitted_weights": [round(float(w), 2) for w in weights],
    }
    print(json.dumps(figures, indent=1))
    command = "MAILROOM_DATA=... python -m tests.benchmarks.ask_calibration"
    record("ask_calibration", command, figures, SEED, "SQuAD 1.1 dev and PolicyQA, half of the articles left out")


def collection(folder: Path, rng: random.Random) -> tuple[list[tuple[str, str]], list[AnsweredQuestion]]:
    """Return the (title, paragraph) pairs of the collection, and questions of which half can be answered from it."""
    with lzma.open(folder / "squad-dev-v1.1.json.xz", "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    articles += json.loads((folder / "policyqa-dev.json").read_text())["data"]
    rng.shuffle(articles)
    inside: list[tuple[str, str]] = []
    answerable: list[AnsweredQuestion] = []
    unanswerable: list[AnsweredQuestion] = []
    for number, article in enumerate(articles):
        for paragraph in article["paragraphs"]:
            questions = [
                AnsweredQuestion(q["question"], tuple(a["text"] for a in q["answers"]))
                for q in paragraph["qas"]
                if q["answers"]
            ]
            if number < IN_COLLECTION:
                inside.append((article.get("title", ""), paragraph["context"]))
                answerable += questions
            else:
                unanswerable += [AnsweredQuestion(q.text, ()) for q in questions]
    chosen = rng.sample(answerable, QUESTIONS // 2) + rng.sample(unanswerable, QUESTIONS // 2)
    rng.shuffle(chosen)
    return inside, chosen


def fill(mailroom: Mailroom, paragraphs: list[tuple[str, str]]) -> None:
    """Store each paragraph as a document of one chunk, embed and publish it."""
    for number, (title, text) in enumerate(tqdm(paragraphs, desc="fill", unit="doc")):
        arrival = Arrival("bench", f"{title} {number}.txt", time.time())
        document, _ = mailroom.catalogue.documents.receive(f"{number:064x}", 1, arrival)
        job = mailroom.catalogue.jobs.claim(QueueName.INGEST, "bench", 60)[0]
        chunks = (Chunk(0, text, 0, len(text)),)
        job = mailroom.catalogue.jobs.commit(
            job, Outcome("chunk", chunks=chunks, next_stage=Stage.EMBED), keep=True, seconds=60
        )
        vectors = mailroom.embedder.embed([text])
        outcome = Outcome("embed", vectors=vectors, embedder=mailroom.embedder.digest, state=State.INDEXED)
        mailroom.catalogue.jobs.commit(job, outcome)
        mailroom.writer.add(document.number, chunks, vectors, title, document.name)
    mailroom.writer.publish()
    mailroom.writer.close()


def measure(mailroom: Mailroom, questions: list[AnsweredQuestion]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return per question the features of its best sentence, whether this holds the answer, and whether there is one.

    The shapes are (questions, 3), (questions,) and (questions,).
    """
    features, right = [], []
    for question in tqdm(questions, desc="ask", unit="question"):
        plain = question.text.replace('"', " ").replace("-", " ")
        passages = mailroom.search.search(ADMINISTRATOR, SearchRequest(plain, 12)).passages
        best = rank(question.text, passages, mailroom.embedder)[0]
        features.append((best.score, best.overlap, best.cosine))
        right.append(any(answer.lower() in best.text.lower() for answer in question.answers))
    return np.array(features), np.array(right), np.array([bool(question.answers) for question in questions])


def fit(features: np.ndarray, right: np.ndarray, rounds: int = 20_000, rate: float = 0.5) -> tuple[float, np.ndarray]:
    """Fit a logistic regression by gradient descent, with a little shrinkage; return intercept and weights."""
    x = np.hstack([np.ones((len(features), 1)), features])
    weights = np.zeros(x.shape[1])
    for _ in range(rounds):
        gradient = x.T @ (1 / (1 + np.exp(-x @ weights)) - right) / len(x)
        weights -= rate * (gradient + 1e-4 * np.r_[0.0, weights[1:]])
    return float(weights[0]), weights[1:]


def confidence(features: np.ndarray, intercept: float, weights: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(intercept + features @ weights)))


def ratio(part: np.ndarray, whole: np.ndarray) -> float:
    return round(float(part.sum() / max(1, whole.sum())), 3)


if __name__ == "__main__":
    main()
