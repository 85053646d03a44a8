"""Measure search quality: TREC queries and judgements in, nDCG@10, recall@100 and MRR out.

The arithmetic is trec_eval's, by pytrec_eval (the extra "eval"). A query without hits counts as 0; a query without a
judgement is not measured.

    queries   id TAB text                      7<TAB>notice period of the lease
    qrels     query 0 document gain            7 0 019d3c5d2f00c0ffee00c0ffee00c0ff 2

Documents may be named by id, by path or by name.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import Misconfigured, Refused
from pipeline.questions import Feedback

#: printed name -> trec_eval's
MEASURES = {"nDCG@10": "ndcg_cut_10", "recall@100": "recall_100", "MRR": "recip_rank"}
DEPTH = 100
#: Gains of feedback; a click counts less than a vote.
USEFUL, CLICKED, NOT_USEFUL = 2, 1, 0

_GAIN = re.compile(r"[+-]?\d{1,6}")
#: query id -> document -> gain
Judgements = Mapping[str, Mapping[str, int]]
#: query id -> documents, best first; TREC's term
Run = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The measures of each query by id, and their mean over all queries."""

    mean: Mapping[str, float]
    queries: Mapping[str, Mapping[str, float]]

    def worst(self, count: int, measure: str = "nDCG@10") -> list[str]:
        """Return the ids of the ``count`` queries with the lowest values of ``measure``, lowest first."""
        return sorted(self.queries, key=lambda query: (self.queries[query][measure], query))[:count]


def read_queries(lines: Iterable[str]) -> dict[str, str]:
    """Return the queries' texts by id. Raises Refused("bad-request") naming the malformed line."""
    queries: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, tab, text = line.rstrip("\r\n").partition("\t")
        if not (tab and name.strip() and text.strip()):
            raise Refused("bad-request", f"Line {number} of the queries is not `id TAB text`.")
        if name.strip() in queries:
            raise Refused("bad-request", f"Line {number} of the queries: there is a query {name.strip()!r} already.")
        queries[name.strip()] = text.strip()
    return queries


def read_judgements(lines: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return the gains by query and document. The gain is the last field of a line, so a path may contain blanks.

    Raises Refused("bad-request") naming the malformed line.
    """
    judgements: dict[str, dict[str, int]] = defaultdict(dict)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        fields = line.split(None, 2)
        document, _, gain = (
            fields[2].strip().rpartition("\t" if "\t" in fields[2] else " ") if len(fields) == 3 else ("",) * 3
        )
        if not document.strip() or not _GAIN.fullmatch(gain.strip()):
            raise Refused("bad-request", f"Line {number} of the judgements is not `query 0 document gain`.")
        if judgements[fields[0]].setdefault(document.strip(), int(gain)) != int(gain):
            raise Refused(
                "bad-request", f"Line {number} of the judgements: this document has another gain for the query already."
            )
    return dict(judgements)


def evaluate(judgements: Judgements, run: Run) -> Evaluation:
    """Measure the queries with both judgements and results. Raises Refused("bad-request") if there are none."""
    gains = {
        query: {d: max(0, gain) for d, gain in judgements[query].items()} for query in run if judgements.get(query)
    }
    if not gains:
        raise Refused("bad-request", "None of the queries has a judgement: do the ids of both files agree?")
    scored = {query: {d: float(-rank) for rank, d in enumerate(run[query][:DEPTH])} for query in gains if run[query]}
    measures = _trec_eval(gains, scored)
    nothing = dict.fromkeys(MEASURES.values(), 0.0)
    queries = {
        query: {name: measures.get(query, nothing)[trec] for name, trec in MEASURES.items()} for query in sorted(gains)
    }
    mean = {name: statistics.fmean(values[name] for values in queries.values()) for name in MEASURES}
    return Evaluation(mean, queries)


def _trec_eval(judgements: Judgements, scored: Mapping[str, Mapping[str, float]]) -> Mapping[str, Mapping[str, float]]:
    try:
        import pytrec_eval
    except ImportError:
        raise Misconfigured(
            "missing-program", "Measuring needs the extra `eval`: pip install 'mailroom-documents[eval]'"
        ) from None
    if not scored:
        return {}
    evaluator = pytrec_eval.RelevanceEvaluator(judgements, set(MEASURES.values()))
    result: Mapping[str, Mapping[str, float]] = evaluator.evaluate(scored)
    return result


def from_feedback(feedback: Iterable[Feedback]) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Return queries and judgements derived from feedback; a query's id is its rank of appearance.

    Votes count before clicks: a majority of "useful" is 2, of "not-useful" 0, a tie drops the pair; clicks alone are 1.
    Queries that differ only in case and spacing are one query.
    """
    votes: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    texts: dict[str, str] = {}
    for entry in feedback:
        folded = " ".join(entry.query.lower().split())
        texts.setdefault(folded, " ".join(entry.query.split()))
        votes[folded][entry.document_id][entry.kind] += 1
    queries: dict[str, str] = {}
    judgements: dict[str, dict[str, int]] = {}
    for folded, documents in votes.items():
        gains = {d: gain for d, counts in documents.items() if (gain := gain_of(counts)) is not None}
        if gains:
            name = str(len(queries) + 1)
            queries[name], judgements[name] = texts[folded], gains
    return queries, judgements


def gain_of(counts: Mapping[str, int]) -> int | None:
    """Return the gain that the feedback on one document adds up to; None if it says nothing."""
    useful, not_useful = counts["useful"], counts["not-useful"]
    if useful != not_useful:
        return USEFUL if useful > not_useful else NOT_USEFUL
    return CLICKED if not useful and counts["click"] else None


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` (0.0 to 1.0) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
