"""Two rankings become one, and near-duplicates one hit."""

from __future__ import annotations

from pipeline.fuse import NearDuplicates, few_per_document, fuse, rerank_order
from pipeline.questions import Hit, Hits, chunk_key


def order(lexical: list[Hit], vector: list[Hit], spelling: float = 0.0) -> list[int]:
    return [hit.chunk for hit in fuse({"lexical": lexical, "vector": vector}, spelling)]


def test_a_hit_of_both_lists_comes_first() -> None:
    assert order([Hit(2, 7.0), Hit(3, 6.0)], [Hit(1, 0.9), Hit(2, 0.8)])[0] == 2


def test_one_list_alone_keeps_its_order() -> None:
    hits = [Hit(5, 3.0), Hit(1, 2.0), Hit(9, 2.0), Hit(2, 0.5)]
    assert [hit.chunk for hit in fuse({"lexical": hits})] == [5, 1, 9, 2]
    assert order([], hits) == [5, 1, 9, 2]
    assert fuse({}) == fuse({"lexical": [], "vector": []}) == []


def test_the_order_does_not_depend_on_how_many_hits_were_requested() -> None:
    lexical = [Hit(key, 9.0 - key / 10) for key in range(40)]
    vector = [Hit(key, 0.9 - (key * 7 % 40) / 100) for key in sorted(range(40), key=lambda key: key * 7 % 40)]
    deep = order(lexical, vector)
    both = {hit.chunk for hit in lexical[:20]} & {hit.chunk for hit in vector[:20]}
    assert [key for key in order(lexical[:20], vector[:20]) if key in both] == [key for key in deep if key in both]


def test_a_query_for_a_spelling_weights_the_lexical_score() -> None:
    lexical, vector = [Hit(1, 8.0), Hit(2, 4.0)], [Hit(2, 0.9), Hit(3, 0.8), Hit(1, 0.1)]
    assert order(lexical, vector)[0] == 2
    assert order(lexical, vector, spelling=1.0)[0] == 1


def test_a_reranker_and_the_ranking_before_it_are_mixed() -> None:
    assert rerank_order([1.0, 0.9, 0.8], [0.1, 0.2, 0.9]) == [2, 1, 0]
    assert rerank_order([1.0, 0.1], [0.5, 0.5]) == [0, 1]
    assert rerank_order([], []) == []


def test_a_document_has_a_limited_number_of_hits() -> None:
    hits = [Hit(chunk_key(1, n), 1.0) for n in range(4)] + [Hit(chunk_key(2, 0), 0.5)]
    assert [hit.document_number for hit in few_per_document(hits, 2)] == [1, 1, 2]


def test_hits_are_a_sequence_of_hits() -> None:
    listed = [Hit(chunk_key(3, 1), 0.5), Hit(chunk_key(2, 0), 0.25)]
    hits = Hits.of(listed)
    assert hits == listed and Hits.of(hits) is hits and Hits.of([]) == []
    assert hits[0] == listed[0] and hits[1:] == listed[1:] and hits != listed[:1]
    assert hits.score_of == {hit.chunk: hit.score for hit in listed}


def test_near_duplicates_are_found() -> None:
    near_duplicates = NearDuplicates()
    body = " ".join(f"word{'abcdefghij'[n % 10]}{'klmnopqrst'[n // 10]}" for n in range(100))
    assert near_duplicates.find("first", body) is None
    assert near_duplicates.find("again", body.upper() + "!") == "first"
    assert near_duplicates.find("longer", body + " and one more") == "first"
    assert near_duplicates.find("other figure", body + " 17") is None
    assert near_duplicates.find("half", body[: len(body) // 2]) is None
    assert [near_duplicates.find(text, text) for text in ("pump 1", "pump 2", "pump")] == [None, None, None]
