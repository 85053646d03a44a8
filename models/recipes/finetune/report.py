"""The report of a fine-tune: ``report.json`` for machines, ``report.html`` (one file with its charts) for the records
officer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from models.recipes.finetune import charts

#: Names for people of what report.json names for machines.
NAMES = {
    "tfidf_svm": "TF-IDF + linear SVM",
    "minilm_lr": "MiniLM embeddings + logistic regression",
    "full": "float32",
    "ece": "ECE",
    "same": "equal labels",
    "difference": "largest difference of a probability",
    "coverage_sure": "coverage above threshold",
    "precision_of_sure": "precision above threshold",
}
#: Metrics that are shares of the test texts, shown as percentages.
SHARES = frozenset(
    "accuracy macro_f1 micro_f1 coverage_at_97 coverage_sure precision_of_sure precision recall f1 same".split()
)
#: The meaning of the columns of the first table.
LEGEND = (
    "Of the test texts. ECE: how far the probabilities are from the shares that were right, on average. Coverage above "
    "threshold: the share over its class's threshold, which is filed without a person; precision above threshold: how "
    "many of those are right. Coverage at 97: the largest share, the most probable first, of which 97 % are right, as "
    "found with the answers."
)
#: A confusion matrix with more classes than this cannot be read as a chart; the worst confusions are listed instead.
MOST_CLASSES = 40


def summary(report: dict[str, Any]) -> str:
    """Return the first sentence of the report: who is best on the test split."""
    own = report["metrics"]["accuracy"]
    best = max(report["baselines"], key=lambda name: report["baselines"][name]["accuracy"], default=None)
    if best is None:
        return f"Accuracy {own:.1%} on the test split; no baseline was trained."
    other, name = report["baselines"][best]["accuracy"], NAMES.get(best, best)
    if other > own:
        return (
            f"A baseline wins: {name} classifies {other:.1%} of the test texts correctly, this model {own:.1%}. Look "
            "at the classes below, add labels where they are few, or use more epochs before you promote it."
        )
    if other == own:
        return f"This model classifies {own:.1%} of the test texts correctly, as many as the better baseline, {name}."
    return f"This model classifies {own:.1%} of the test texts correctly, the better baseline ({name}) {other:.1%}."


def write(report: dict[str, Any], folder: Path) -> None:
    """Write report.json and report.html into ``folder``."""
    (folder / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(html(report), encoding="utf-8")


def html(report: dict[str, Any]) -> str:
    """Return the page: no script, nothing that is fetched."""
    rows = [{"classifier": "this model", **report["metrics"], "seconds": report["training"]["seconds"]}]
    rows += [
        {"classifier": NAMES.get(name, name), **values}
        for name, values in {**report["parts"], **report["baselines"]}.items()
    ]
    mistakes = [{**row, "labels": ", ".join(row["labels"])} for row in report["mistakes"]]
    export = report["export"]
    files = [{"file": NAMES.get(k, k), **v} for k, v in export.items() if isinstance(v, dict)]
    served = NAMES.get(export["served"], export["served"])
    reason = (
        "" if export["served"] == "int8" else " The 8-bit file predicts another label on more than 0.5 % of the texts."
    )
    parts = [
        f"<h1>{escape(report['title'])}</h1><p class=summary>{escape(summary(report))}</p>",
        *(f"<p class=warning>{escape(text)}</p>" for text in report["warnings"]),
        f"<h2>Metrics</h2>{_table(rows)}<p>{LEGEND}</p>",
        "<h2>Classes</h2>" + _table(report["classes"]),
        "<h2>Confusion</h2><p>A row for each right label, a column for each predicted one.</p>" + _confusion(report),
        "<h2>Are the probabilities reliable?</h2>" + charts.reliability(report["reliability"]),
        "<h2>The most confident mistakes</h2><p>Often it is the label that is wrong.</p>" + _table(mistakes),
        "<h2>Training</h2>" + _training(report) + _values(report["training"]),
        "<h2>Data</h2>" + _values(report["data"]),
        f"<h2>Export</h2><p>Both files, compared with PyTorch. Served: <b>{escape(served)}</b>.{reason}</p>"
        + _table(files),
        f"<p>Made on {escape(report['date'])} by <code>{escape(report['command'])}</code></p>",
    ]
    return (
        f"<!doctype html><html lang=en>{HEAD}<title>{escape(report['title'])}</title>{STYLE}{''.join(parts)}</html>\n"
    )


def _confusion(report: dict[str, Any]) -> str:
    labels = [row["label"] for row in report["classes"]]
    matrix = report["confusion"]
    if len(labels) <= MOST_CLASSES:
        return charts.confusion(matrix, labels)
    pairs = [
        {"right": labels[r], "predicted": labels[c], "texts": count}
        for r, row in enumerate(matrix)
        for c, count in enumerate(row)
        if r != c and count
    ]
    return _table(sorted(pairs, key=lambda pair: -pair["texts"])[:MOST_CLASSES])


def _training(report: dict[str, Any]) -> str:
    """Return the training curve, and which point of it became the network."""
    curve, best = report["curve"], report["training"]["best_epoch"]
    trained = {0: "Nothing was trained", 1: "One epoch was trained"}.get(
        len(curve), f"{len(curve)} epochs were trained"
    )
    share = report["training"]["training_kept"]
    if report["training"]["projection"]:
        result = (
            "the base as it was, under a projection to a sentence embedder's space that was fitted to these texts, "
            "explained the calibration texts better: that is the network."
        )
    elif best:
        result = f"the network is that of epoch {best}, with {share:.0%} of the training's change to the base."
    else:
        result = (
            "no gain could be distinguished from chance: the network is the base as it was, with a linear layer fitted "
            "to these texts."
        )
    if len(curve) < 2:  # a single point makes no curve
        reached = "".join(f" It reached {epoch['accuracy']:.1%} on the calibration split." for epoch in curve)
        return f"<p>{trained}; {result}{reached}</p>"
    return f"<p>{trained}; {result} Accuracy on the calibration split:</p>{charts.curve(curve)}"


def _values(values: dict[str, Any]) -> str:
    """Return a table of names and values, below each other; lists and tables among the values are left out."""
    plain = {name: value for name, value in values.items() if not isinstance(value, dict | list)}
    rows = "".join(
        f"<tr><th>{escape(name.replace('_', ' '))}</th><td>{_cell('', value)}</td></tr>"
        for name, value in plain.items()
    )
    return f"<div class=wide><table>{rows}</table></div>"


def _table(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "<p>None.</p>"
    columns = list(dict.fromkeys(key for row in rows for key in row))
    head = "".join(f"<th>{escape(NAMES.get(column, column.replace('_', ' ')))}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(column, row.get(column))}</td>" for column in columns) + "</tr>" for row in rows
    )
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column in SHARES:
        return f"{value:.1%}"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


HEAD = '<meta charset=utf-8><meta name=viewport content="width=device-width,initial-scale=1">'
STYLE = """<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}
table{border-collapse:collapse;font-size:13px}code{font-size:.85em;overflow-wrap:anywhere}
th,td{padding:.25rem .6rem;border-bottom:1px solid #d8dee6;text-align:left}
.wide{overflow-x:auto}.summary{font-size:1.15rem;font-weight:600}.warning{background:#fff4d6;padding:.5rem .8rem}
svg{max-width:100%;height:auto}
@media(prefers-color-scheme:dark){body{color:#dfe6ee;background:#14181d}
th,td{border-color:#333c47}.warning{background:#4a3d12}}
</style>"""
