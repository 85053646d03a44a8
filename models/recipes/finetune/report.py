"""The report of a fine-tune: ``report.json`` for machines, ``report.html`` (one file, pictures inside) for the records officer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from models.recipes.finetune import pictures

#: How people call what report.json names for machines.
NAMES = {
    "tfidf_svm": "TF-IDF + linear SVM",
    "minilm_lr": "MiniLM embeddings + logistic regression",
    "full": "float32",
    "ece": "ECE",
    "same": "equal labels",
    "difference": "largest difference of a probability",
}
#: Figures that a person looks at as percentages of the test texts.
SHARES = frozenset(
    "accuracy macro_f1 micro_f1 coverage_at_97 coverage_sure precision_of_sure precision recall f1 same".split()
)
#: What the columns of the first table mean.
LEGEND = (
    "Of the test texts. ECE: how far the probabilities are from the shares that were right, on average. Coverage sure: the share "
    "over its class's threshold, which is filed without a person; precision of sure: how many of those are right. Coverage at 97: the "
    "largest share, the most probable first, of which 97 % are right; it knows the answers."
)
#: A confusion matrix with more classes than this is no picture any more; the worst confusions are listed instead.
MOST_CLASSES = 40


def verdict(report: dict[str, Any]) -> str:
    """The first sentence of the report: who is best on the test split."""
    own = report["figures"]["accuracy"]
    best = max(report["baselines"], key=lambda name: report["baselines"][name]["accuracy"], default=None)
    if best is None:
        return f"Accuracy {own:.1%} on the test split; no baseline was trained."
    other, called = report["baselines"][best]["accuracy"], NAMES.get(best, best)
    if other > own:
        return (
            f"A baseline wins: {called} names {other:.1%} of the test texts rightly, this model {own:.1%}. Look at the classes "
            "below, add labels where they are few, or use more epochs before you promote it."
        )
    if other == own:
        return f"This model names {own:.1%} of the test texts rightly, as many as the better baseline, {called}."
    return f"This model names {own:.1%} of the test texts rightly, the better baseline ({called}) {other:.1%}."


def write(report: dict[str, Any], folder: Path) -> None:
    """Both files into ``folder``."""
    (folder / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(html(report), encoding="utf-8")


def html(report: dict[str, Any]) -> str:
    """The page."""
    parts = [
        f"<h1>{escape(report['title'])}</h1><p class=verdict>{escape(verdict(report))}</p>",
        *(f"<p class=warning>{escape(text)}</p>" for text in report["warnings"]),
        "<h2>Figures</h2>" + _figures(report) + f"<p>{LEGEND}</p>",
        "<h2>Classes</h2>" + _table(report["classes"]),
        "<h2>Confusion</h2><p>A row for each right label, a column for each given one.</p>" + _confusion(report),
        "<h2>Does the probability mean what it says?</h2>" + pictures.reliability(report["reliability"]),
        "<h2>The most confident mistakes</h2>" + _mistakes(report["mistakes"]),
        "<h2>Training</h2>" + _course(report) + _facts(report["training"]),
        "<h2>Data</h2>" + _facts(report["data"]),
        "<h2>Export</h2>" + _export(report["export"]),
        f"<p>Made on {escape(report['date'])} by <code>{escape(report['command'])}</code></p>",
    ]
    return (
        f"<!doctype html><html lang=en>{HEAD}<title>{escape(report['title'])}</title>{STYLE}{''.join(parts)}</html>\n"
    )


def _figures(report: dict[str, Any]) -> str:
    rows = [{"classifier": "this model", **report["figures"], "seconds": report["training"]["seconds"]}]
    rows += [
        {"classifier": NAMES.get(name, name), **values}
        for name, values in {**report["parts"], **report["baselines"]}.items()
    ]
    return _table(rows)


def _confusion(report: dict[str, Any]) -> str:
    labels = [row["label"] for row in report["classes"]]
    matrix = report["confusion"]
    if len(labels) <= MOST_CLASSES:
        return pictures.confusion(matrix, labels)
    pairs = [
        {"right": labels[r], "given": labels[c], "texts": count}
        for r, row in enumerate(matrix)
        for c, count in enumerate(row)
        if r != c and count
    ]
    return _table(sorted(pairs, key=lambda pair: -pair["texts"])[:MOST_CLASSES])


def _mistakes(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "<p>None on the test split.</p>"
    return "<p>Look at these first: often it is the label that is wrong.</p>" + _table(
        [{**row, "labels": ", ".join(row["labels"])} for row in rows]
    )


def _course(report: dict[str, Any]) -> str:
    """The training curve, and which point of it became the network."""
    curve, best = report["curve"], report["training"]["best_epoch"]
    trained = {0: "Nothing was trained", 1: "One epoch was trained"}.get(
        len(curve), f"{len(curve)} epochs were trained"
    )
    share = report["training"]["training_kept"]
    kept = (
        f"the network is that of epoch {best}, with {share:.0%} of what the training changed in the base."
        if best
        else "nothing was gained that could be told from luck: the network is the base as it was, with a linear layer fitted to these texts."
    )
    if report["training"]["readout"]:
        kept = (
            "the base as it was, seen through a map to a sentence embedder's space that was fitted to these texts, explained the calibration "
            "texts better: that is the network."
        )
    if len(curve) < 2:  # one point is no curve
        reached = "".join(f" It reached {each['accuracy']:.1%} on the calibration split." for each in curve)
        return f"<p>{trained}; {kept}{reached}</p>"
    return f"<p>{trained}; {kept} Accuracy on the calibration split:</p>{pictures.curve(curve)}"


def _export(export: dict[str, Any]) -> str:
    """How far each file is from the network in PyTorch, and which one serves."""
    files = [{"file": NAMES.get(k, k), **v} for k, v in export.items() if isinstance(v, dict)]
    served = NAMES.get(export["served"], export["served"])
    reason = "" if served == "int8" else " The 8-bit file names another label on more than 0.5 % of the texts."
    return f"<p>Both files beside the network in PyTorch. Served: <b>{escape(served)}</b>.{reason}</p>" + _table(files)


def _facts(values: dict[str, Any]) -> str:
    """Names and values, below each other."""
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
table{border-collapse:collapse;font-size:13px}code{font-size:.85em;overflow-wrap:anywhere}th,td{padding:.25rem .6rem;border-bottom:1px solid #d8dee6;text-align:left}
.wide{overflow-x:auto}.verdict{font-size:1.15rem;font-weight:600}.warning{background:#fff4d6;padding:.5rem .8rem}
svg{max-width:100%;height:auto}
@media(prefers-color-scheme:dark){body{color:#dfe6ee;background:#14181d}th,td{border-color:#333c47}.warning{background:#4a3d12}}
</style>"""
