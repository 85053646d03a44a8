"""The README's figures, made from the result files: `python -m tests.benchmarks.tables --write`.

Between `<!-- figures:NAME -->` and `<!-- /figures -->` stands what `TABLES[NAME]` makes of results/NAME.json. A test
fails where the two disagree, so that no figure is ever typed by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.record import RESULTS

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"(<!-- figures:([a-z_]+) -->\n)(.*?)(<!-- /figures -->)", re.DOTALL)

Figures = Mapping[str, Any]


def table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def plain(figures: Figures) -> str:
    """One row per scalar figure: name and value."""
    rows = [(key.replace("_", " "), number(value)) for key, value in figures.items() if not isinstance(value, dict)]
    return table(("figure", "value"), rows)


def number(value: Any) -> str:
    """A number as people read it: three significant digits, shares as they are."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def by_format(figures: Figures) -> str:
    """The run over real files: totals, then a row per file ending with three files or more."""
    rows = [
        (ending, f["n"], f["with_text"], f["without_text"], reasons(f["failed_by_code"]), f["median_s"], f["p95_s"])
        for ending, f in sorted(figures["by_format"].items(), key=lambda item: -item[1]["n"])
        if f["n"] > 2
    ]
    header = ("ending", "files", "with text", "to review", "failed", "median s", "p95 s")
    return plain(figures) + f"\n\nFailed: {reasons(figures['failed_by_code'])}.\n\n" + table(header, rows)


def reasons(counts: Figures) -> str:
    """Counts by error code in words."""
    return ", ".join(f"{count} {code}" for code, count in counts.items())


def with_stages(figures: Figures) -> str:
    """Throughput: totals, then the share of time per stage."""
    rows = [(stage, f"{share:.0%}") for stage, share in figures["stage_share"].items()]
    return plain(figures) + "\n\n" + table(("stage", "share of working time"), rows)


def by_collection(figures: Figures) -> str:
    """nDCG@10: a row per collection, a column per way of searching, and the mean."""
    ways = list(dict.fromkeys(way for each in figures.values() for way in each))
    rows = [(name, *(f"{each[way]:.3f}" if way in each else "" for way in ways)) for name, each in figures.items()]
    held = [[each[way] for each in figures.values() if way in each] for way in ways]
    means = [f"{sum(values) / len(values):.3f}" if len(values) == len(figures) else "" for values in held]
    return table(("nDCG@10", *(way.replace("_", " + ") for way in ways)), [*rows, ("mean", *means)])


def by_count(figures: Figures) -> str:
    """Search at scale: a row per number of chunks."""
    header = ("chunks", "build s", "disk GB", "open s", "resident GB", "recall@10", "p50 / p95 / p99 ms", "bare p99 ms")
    header += (
        "p99 of processor time ms, whole / bare",
        "queries/s, 1 / 2 / 8 clients",
        "p50 ms, filter keeps 50 / 5 / 0.1 %",
        "findable after s",
        "who may read what ms, one changed / all",
        "load",
        "run on",
    )
    several = {
        "p99 of processor time ms, whole / bare": ("cpu_p99_ms", "bare_cpu_p99_ms"),
        "p50 / p95 / p99 ms": ("p50_ms", "p95_ms", "p99_ms"),
        "queries/s, 1 / 2 / 8 clients": (
            "queries_per_s",
            *(f"no_filter_{n}_clients_queries_per_s" for n in (2, 8)),
        ),
        "who may read what ms, one changed / all": ("visible_one_changed_ms", "visible_all_changed_ms"),
        "p50 ms, filter keeps 50 / 5 / 0.1 %": tuple(f"filter_{n}_1_clients_p50_ms" for n in ("50", "5", "0_1")),
    }
    one = dict(zip(header[1:], ("build_s", "disk_gb", "open_s", "rss_gb", "recall_at_10"), strict=False))
    one |= {
        "bare p99 ms": "bare_p99_ms",
        "findable after s": "freshness_s_median",
        "load": "load_average",
        "run on": "date",
    }
    rows = [
        (f"{int(count):,}", *(_together(each, several.get(name) or (one[name],)) for name in header[1:]))
        for count, each in sorted(figures.items(), key=lambda item: int(item[0]))
    ]
    return table(header, rows)


def _together(figures: Figures, keys: Sequence[str]) -> str:
    """Several figures in one cell."""
    return " / ".join(number(figures[key]) for key in keys if key in figures)


def by_set(figures: Figures) -> str:
    """Classification: a row per set, the fine-tune beside the two baselines on the same split."""
    header = ("accuracy", "fine-tuned small Mistral", "TF-IDF + SVM", "MiniLM + regression", "ECE", "coverage at 97 %")
    header += ("texts to train on", "training s")
    keys = ("small_mistral", "tfidf_svm", "minilm_lr", "ece", "coverage_at_97", "train_texts", "train_seconds")
    order = sorted(figures, key=lambda name: (name[-1].isdigit() and "_" in name, -figures[name]["train_texts"]))
    return table(header, [(name.replace("_", " "), *(number_of(figures[name], key) for key in keys)) for name in order])


def number_of(figures: Figures, key: str) -> str:
    """A share with four digits, a count with separators, nothing where it was not measured."""
    value = figures.get(key, "")
    return f"{value:,.0f}" if key.startswith("train") and value != "" else f"{value:.4f}" if value != "" else ""


def by_way(figures: Figures) -> str:
    """Speed: per kind of text a row for each way of serving."""
    rows = [
        (
            kind.replace("_", " "),
            way.replace("_", " "),
            rates["documents_per_s"],
            f"{rates['tokens_per_s']:,}",
            times[way],
        )
        for kind, times in ((kind, figures[kind]["times_as_fast"]) for kind in ("short_texts", "documents"))
        for way, rates in figures[kind].items()
        if way in times
    ]
    seconds = figures["training_10000_short_texts_seconds"]
    header = ("texts", "served by", "documents/s", "tokens/s", "times sentence-transformers")
    return table(header, rows) + f"\n\nTraining on 10,000 short texts: {seconds:,} s."


def by_window(figures: Figures) -> str:
    """Accuracy and speed by the tokens that are read."""
    rows = [(width, f"{each['accuracy']:.4f}", each["documents_per_s"]) for width, each in figures["tokens"].items()]
    return table(("tokens read of a text", "accuracy", "documents/s"), rows)


#: Blocks that show one part of a result of several: (file, part).
PARTS = {"search_collections": ("search", "collections"), "search_scale": ("search", "scale")}
PARTS |= {f"classification_{part}": ("classification", part) for part in ("sets", "speed", "window")}
TABLES: dict[str, Callable[[Figures], str]] = {
    "parse_files": by_format,
    "throughput": with_stages,
    "search_collections": by_collection,
    "search_scale": by_count,
    "classification_sets": by_set,
    "classification_speed": by_way,
    "classification_window": by_window,
}


def render(name: str) -> str:
    """The block for one result, with the line that says how it came about."""
    file, part = PARTS.get(name, (name, "figures"))
    whole = json.loads((RESULTS / f"{file}.json").read_text())
    result = whole if part == "figures" else whole["runs"][part]
    origin = f"`{result['command']}`, {result['date']}, commit {result['commit']}, {result['machine']}."
    if result.get("data"):
        origin += f" {result['data']}."
    origin += "".join(f" {_later(run, whole[part])}" for run in result.get("later", ()))
    return TABLES.get(name, plain)(whole[part]) + "\n\n" + origin + "\n"


def _later(run: Figures, table: Figures) -> str:
    """Which figures of the table another run measured; a whole row by its name alone."""
    ways: dict[tuple[str, ...], list[str]] = {}
    for row, columns in run["figures"].items():
        ways.setdefault(() if set(columns) == set(table[row]) else tuple(columns), []).append(row)
    measured = "; ".join(
        f"{', '.join(columns)} of {', '.join(rows)}".removeprefix(" of ") for columns, rows in ways.items()
    )
    origin = f"`{run['command']}`, {run['date']}, commit {run['commit']}, {run['machine']}"
    return f"Of another run ({measured}): {origin}." + (f" {run['data']}." if run.get("data") else "")


def rendered(readme: str) -> str:
    """The README with every block made anew."""
    return BLOCK.sub(lambda m: m[1] + render(m[2]) + m[4], readme)


if __name__ == "__main__":
    now = README.read_text()
    if "--write" in sys.argv:
        README.write_text(rendered(now))
    elif rendered(now) != now:
        sys.exit("README.md disagrees with tests/benchmarks/results; run `make readme`")
