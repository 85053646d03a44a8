"""Write the tables of docs/figures.md from the result files: `python -m tests.benchmarks.tables --write`.

Between `<!-- figures:NAME -->` and `<!-- /figures -->` stands what `TABLES[NAME]` makes of results/NAME.json. A test
fails where the two disagree, so that no figure is ever typed by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.record import RESULTS

PAGE = Path(__file__).parents[2] / "docs" / "figures.md"
BLOCK = re.compile(r"(<!-- figures:([a-z_]+) -->\n)(.*?)(<!-- /figures -->)", re.DOTALL)

Figures = Mapping[str, Any]


def markdown_table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Format a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def scalar_table(figures: Figures) -> str:
    """Format one row per scalar figure: name and value."""
    rows = [(key.replace("_", " "), number(value)) for key, value in figures.items() if not isinstance(value, dict)]
    return markdown_table(("figure", "value"), rows)


def number(value: Any) -> str:
    """Format a number as people read it: three significant digits, shares as they are."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def counts_in_words(counts: Figures) -> str:
    """Format counts by error code as one phrase."""
    return ", ".join(f"{count} {code}" for code, count in counts.items())


def format_table(figures: Figures) -> str:
    """Format the run over real files: totals, then a row per file ending with three files or more."""
    rows = [
        (
            ending,
            result["n"],
            result["with_text"],
            result["without_text"],
            counts_in_words(result["failed_by_code"]),
            result["median_s"],
            result["p95_s"],
        )
        for ending, result in sorted(figures["by_format"].items(), key=lambda item: -item[1]["n"])
        if result["n"] > 2
    ]
    header = ("ending", "files", "with text", "to review", "failed", "median s", "p95 s")
    failures = counts_in_words(figures["failed_by_code"])
    return scalar_table(figures) + f"\n\nFailed: {failures}.\n\n" + markdown_table(header, rows)


def pdf_table(figures: Figures) -> str:
    """Format the comparison of PDF readers: totals, then why files were not compared."""
    return scalar_table(figures) + f"\n\nNot compared: {counts_in_words(figures['not_compared'])}."


def throughput_table(figures: Figures) -> str:
    """Format throughput: totals, then the share of working time per stage."""
    rows = [(stage, f"{share:.0%}") for stage, share in figures["stage_share"].items()]
    return scalar_table(figures) + "\n\n" + markdown_table(("stage", "share of working time"), rows)


def collection_table(figures: Figures) -> str:
    """Format nDCG@10: a row per collection, a column per way of searching, and the mean."""
    ways = list(dict.fromkeys(way for scores in figures.values() for way in scores))
    rows = [
        (name, *(f"{scores[way]:.3f}" if way in scores else "" for way in ways)) for name, scores in figures.items()
    ]
    columns = [[scores[way] for scores in figures.values() if way in scores] for way in ways]
    means = [f"{sum(values) / len(values):.3f}" if len(values) == len(figures) else "" for values in columns]
    return markdown_table(("nDCG@10", *(way.replace("_", " + ") for way in ways)), [*rows, ("mean", *means)])


#: Column of the table of search at scale -> the figures that its cells join.
SCALE_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "build s": ("build_s",),
    "disk GB": ("disk_gb",),
    "open s": ("open_s",),
    "resident GB": ("rss_gb",),
    "recall@10": ("recall_at_10",),
    "p50 / p95 / p99 ms": ("p50_ms", "p95_ms", "p99_ms"),
    "libraries alone p99 ms": ("bare_p99_ms",),
    "p99 of processor time ms, search / libraries alone": ("cpu_p99_ms", "bare_cpu_p99_ms"),
    "queries/s, 1 / 2 / 8 clients": (
        "queries_per_s",
        "no_filter_2_clients_queries_per_s",
        "no_filter_8_clients_queries_per_s",
    ),
    "p50 ms, filter keeps 50 / 5 / 0.1 %": tuple(f"filter_{n}_1_clients_p50_ms" for n in ("50", "5", "0_1")),
    "findable after s": ("freshness_s_median",),
    "who may read what ms, one changed / all": ("visible_one_changed_ms", "visible_all_changed_ms"),
    "load": ("load_average",),
    "run on": ("date",),
}


def scale_table(figures: Figures) -> str:
    """Format search at scale: a row per number of chunks."""
    rows = []
    for count, result in sorted(figures.items(), key=lambda item: int(item[0])):
        cells = (" / ".join(number(result[key]) for key in keys if key in result) for keys in SCALE_COLUMNS.values())
        rows.append((f"{int(count):,}", *cells))
    return markdown_table(("chunks", *SCALE_COLUMNS), rows)


def classification_table(figures: Figures) -> str:
    """Format classification: a row per set, the fine-tune beside the two baselines on the same split."""
    header = ("accuracy", "fine-tuned small Mistral", "TF-IDF + SVM", "MiniLM + regression", "ECE", "coverage at 97 %")
    header += ("texts to train on", "training s")
    shares = ("small_mistral", "tfidf_svm", "minilm_lr", "ece", "coverage_at_97")
    counts = ("train_texts", "train_seconds")
    order = sorted(figures, key=lambda name: (name[-1].isdigit() and "_" in name, -figures[name]["train_texts"]))
    rows = [
        (
            name.replace("_", " "),
            *(f"{figures[name][key]:.4f}" if key in figures[name] else "" for key in shares),
            *(f"{figures[name][key]:,.0f}" if key in figures[name] else "" for key in counts),
        )
        for name in order
    ]
    return markdown_table(header, rows)


def speed_table(figures: Figures) -> str:
    """Format the speed of classification: per kind of text a row for each way of serving."""
    rows = [
        (
            kind.replace("_", " "),
            way.replace("_", " "),
            rates["documents_per_s"],
            f"{rates['tokens_per_s']:,}",
            figures[kind]["times_as_fast"][way],
        )
        for kind in ("short_texts", "documents")
        for way, rates in figures[kind].items()
        if way in figures[kind]["times_as_fast"]
    ]
    header = ("texts", "served by", "documents/s", "tokens/s", "times sentence-transformers")
    seconds = figures["training_10000_short_texts_seconds"]
    return markdown_table(header, rows) + f"\n\nTraining on 10,000 short texts: {seconds:,} s."


def rerank_table(figures: Figures) -> str:
    """Format what reranking costs: a row per collection."""
    rows = [
        (name, row["queries"], row["hybrid_cpu_ms"], f"{row['hybrid_rerank_cpu_ms']:,}", row["times_hybrid"])
        for name, row in figures.items()
    ]
    header = ("collection", "queries", "hybrid, processor ms", "hybrid + rerank, processor ms", "times hybrid")
    return markdown_table(header, rows)


#: Blocks that show one part of a result of several: (file, part).
PARTS = {
    "search_collections": ("search", "collections"),
    "search_scale": ("search", "scale"),
    "search_reranking": ("search", "reranking"),
    "classification_sets": ("classification", "sets"),
    "classification_speed": ("classification", "speed"),
}


def personal_data_table(figures: Figures) -> str:
    """Format totals, then a row per kind with its intervals."""
    rows = [
        (
            kind,
            result["values"],
            *(
                f"{result[name]:.3f} ({result[name + '_interval'][0]:.2f} to {result[name + '_interval'][1]:.2f})"
                for name in ("precision", "recall")
            ),
        )
        for kind, result in figures["kinds"].items()
    ]
    return scalar_table(figures) + "\n\n" + markdown_table(("kind", "values", "precision", "recall"), rows)


TABLES: dict[str, Callable[[Figures], str]] = {
    "parse_files": format_table,
    "pdf_readers": pdf_table,
    "personal_data": personal_data_table,
    "throughput": throughput_table,
    "search_collections": collection_table,
    "search_scale": scale_table,
    "search_reranking": rerank_table,
    "classification_sets": classification_table,
    "classification_speed": speed_table,
}


def render_block(name: str) -> str:
    """Format the block for one result, with the line that says how it came about."""
    file, part = PARTS.get(name, (name, "figures"))
    document = json.loads((RESULTS / f"{file}.json").read_text())
    result = document if part == "figures" else document["runs"][part]
    origin = _origin(result)
    origin += "".join(f" {_later_run(run, document[part])}" for run in result.get("later", ()))
    return TABLES.get(name, scalar_table)(document[part]) + "\n\n" + origin + "\n"


def _origin(run: Figures) -> str:
    origin = f"`{run['command']}`, {run['date']}, commit {run['commit']}, {run['machine']}."
    return origin + (f" {run['data']}." if run.get("data") else "")


def _later_run(run: Figures, figures: Figures) -> str:
    """Name the figures of the table that another run measured; a complete row by its name alone."""
    rows_by_columns: dict[tuple[str, ...], list[str]] = {}
    for row, columns in run["figures"].items():
        rows_by_columns.setdefault(() if set(columns) == set(figures[row]) else tuple(columns), []).append(row)
    measured = "; ".join(
        f"{', '.join(columns)} of {', '.join(rows)}".removeprefix(" of ") for columns, rows in rows_by_columns.items()
    )
    return f"Of another run ({measured}): {_origin(run)}"


def render_page(page: str) -> str:
    """Return the page with every block made anew."""
    return BLOCK.sub(lambda match: match[1] + render_block(match[2]) + match[4], page)


if __name__ == "__main__":
    current = PAGE.read_text()
    if "--write" in sys.argv:
        PAGE.write_text(render_page(current))
    elif render_page(current) != current:
        sys.exit("docs/figures.md disagrees with tests/benchmarks/results; run `make figures`")
