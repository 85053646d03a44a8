"""The report of a fine-tune: ``report.json`` for machines, ``report.html`` (one file, pictures inside) for the records officer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from models.recipes.finetune import pictures

#: A confusion matrix with more classes than this is no picture any more; the worst confusions are listed instead.
MOST_CLASSES = 40


def verdict(report: dict[str, Any]) -> str:
    """The first sentence of the report: who is best on the test split."""
    own = report["figures"]["accuracy"]
    best = max(report["baselines"], key=lambda name: report["baselines"][name]["accuracy"], default=None)
    if best is None:
        return f"Accuracy {own:.1%} on the test split; no baseline was trained."
    other = report["baselines"][best]["accuracy"]
    if other > own:
        return (
            f"A baseline wins: {best} names {other:.1%} of the test texts rightly, this model {own:.1%}. Look at the classes "
            "below, add labels where they are few, or use more epochs before you promote it."
        )
    return f"This model names {own:.1%} of the test texts rightly, the better baseline ({best}) {other:.1%}."


def write(report: dict[str, Any], folder: Path) -> None:
    """Both files into ``folder``."""
    (folder / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(html(report), encoding="utf-8")


def html(report: dict[str, Any]) -> str:
    """The page."""
    parts = [
        f"<h1>{escape(report['title'])}</h1><p class=verdict>{escape(verdict(report))}</p>",
        *(f"<p class=warning>{escape(text)}</p>" for text in report["warnings"]),
        "<h2>Figures</h2>" + _figures(report),
        "<h2>Classes</h2>" + _table(report["classes"]),
        "<h2>Confusion</h2>" + _confusion(report),
        "<h2>Does the probability mean what it says?</h2>" + pictures.reliability(report["reliability"]),
        "<h2>Training</h2>" + pictures.curve(report["curve"]) + _table([_flat(report["training"])]),
        "<h2>The most confident mistakes</h2>" + _mistakes(report["mistakes"]),
        "<h2>Export</h2>" + _table([{"file": k, **v} for k, v in report["export"].items() if isinstance(v, dict)]),
    ]
    return f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(report['title'])}</title>{STYLE}{''.join(parts)}</html>\n"


def _figures(report: dict[str, Any]) -> str:
    rows = [{"classifier": "this model", **report["figures"], "seconds": report["training"]["seconds"]}]
    rows += [{"classifier": name, **values} for name, values in {**report["parts"], **report["baselines"]}.items()]
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


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not isinstance(value, dict | list)}


def _table(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "<p>None.</p>"
    columns = list(dict.fromkeys(key for row in rows for key in row))
    head = "".join(f"<th>{escape(column.replace('_', ' '))}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(row.get(column))}</td>" for column in columns) + "</tr>" for row in rows
    )
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


STYLE = """<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}
table{border-collapse:collapse;font-size:13px}th,td{padding:.25rem .6rem;border-bottom:1px solid #d8dee6;text-align:left}
.wide{overflow-x:auto}.verdict{font-size:1.15rem;font-weight:600}.warning{background:#fff4d6;padding:.5rem .8rem}
svg{max-width:100%;height:auto}
@media(prefers-color-scheme:dark){body{color:#dfe6ee;background:#14181d}th,td{border-color:#333c47}.warning{background:#4a3d12}}
</style>"""
