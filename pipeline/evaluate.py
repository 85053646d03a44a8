"""How good a search is: TREC queries and judgements in, nDCG@10, recall@100 and MRR out.

The arithmetic is trec_eval's own, through pytrec_eval (the extra "eval"). A query without any hit counts as 0; one
without a judgement is not measured.

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

#: name printed -> trec_eval's
MEASURES = {"nDCG@10": "ndcg_cut_10", "recall@100": "recall_100", "MRR": "recip_rank"}
DEPTH = 100
#: Gains of what people say; a click says less than a vote.
USEFUL, CLICKED, NOT_USEFUL = 2, 1, 0

_GAIN = re.compile(r"[+-]?\d{1,6}")
#: query id -> document -> gain
Judgements = Mapping[str, Mapping[str, int]]
#: query id -> documents, best first
Run = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """``queries`` by id: measure -> value; ``mean`` over all of them."""

    mean: Mapping[str, float]
    queries: Mapping[str, Mapping[str, float]]

    def worst(self, count: int, measure: str = "nDCG@10") -> list[str]:
        """Ids of the queries that fare worst, worst first."""
        return sorted(self.queries, key=lambda query: (self.queries[query][measure], query))[:count]


def read_queries(lines: Iterable[str]) -> dict[str, str]:
    """Texts by query id. Raises Refused("bad-request") naming the line that is no query."""
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
    """Gains by query and document. A path with blanks is taken whole: the gain is the last field of the line."""
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
    """Measure the queries that are both judged and run."""
    judged = {
        query: {d: max(0, gain) for d, gain in judgements[query].items()} for query in run if judgements.get(query)
    }
    if not judged:
        raise Refused("bad-request", "None of the queries has a judgement: do the ids of both files agree?")
    scored = {query: {d: float(-rank) for rank, d in enumerate(run[query][:DEPTH])} for query in judged if run[query]}
    measures = _trec_eval(judged, scored)
    nothing = dict.fromkeys(MEASURES.values(), 0.0)
    queries = {
        query: {name: measures.get(query, nothing)[trec] for name, trec in MEASURES.items()} for query in sorted(judged)
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
    return pytrec_eval.RelevanceEvaluator(judgements, set(MEASURES.values())).evaluate(scored)


def from_feedback(said: Iterable[Feedback]) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Return queries and judgements derived from people's feedback; a query's id is its rank of appearance.

    Votes go before clicks: useful by majority is 2, not useful 0, a tie leaves the pair out; a click alone is 1.
    Queries that differ only in case and spacing are one.
    """
    votes: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    texts: dict[str, str] = {}
    for opinion in said:
        same = " ".join(opinion.query.lower().split())
        texts.setdefault(same, " ".join(opinion.query.split()))
        votes[same][opinion.document_id][opinion.kind] += 1
    queries: dict[str, str] = {}
    judgements: dict[str, dict[str, int]] = {}
    for same, documents in votes.items():
        gains = {d: gain for d, counts in documents.items() if (gain := _gain(counts)) is not None}
        if gains:
            name = str(len(queries) + 1)
            queries[name], judgements[name] = texts[same], gains
    return queries, judgements


def _gain(counts: Mapping[str, int]) -> int | None:
    useful, not_useful = counts["useful"], counts["not-useful"]
    if useful != not_useful:
        return USEFUL if useful > not_useful else NOT_USEFUL
    return CLICKED if not useful and counts["click"] else None


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0..1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
