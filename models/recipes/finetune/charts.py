"""Small charts as SVG text: no plotting library for three drawings."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

INK, ACCENT = "#7a8696", "#2f6fde"
#: Labels longer than this are cut in the chart; the table of classes shows them whole.
LONGEST = 24


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str], cell: int = 26, margin: int = 150) -> str:
    """Draw a confusion matrix: rows are the right labels, columns the predicted ones, darker for a larger share."""
    shapes, right, texts = [], 0, 0
    for row, counts in enumerate(matrix):
        total = max(1, sum(counts))
        right, texts = right + counts[row], texts + sum(counts)
        for column, count in enumerate(counts):
            x, y = margin + column * cell, margin + row * cell
            if count:
                paint = ACCENT if row == column else "#d9483b"
                shapes.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell}" height="{cell}" fill="{paint}" '
                    f'fill-opacity="{0.15 + 0.85 * count / total:.2f}"/>'
                )
                dark = count > total / 2
                shapes.append(
                    _text(x + cell / 2, y + cell / 2 + 4, str(count), "middle", 10, paint="#fff" if dark else "")
                )
        place, name = (
            margin + row * cell + cell / 2 + 4,
            labels[row] if len(labels[row]) <= LONGEST else f"{labels[row][: LONGEST - 1]}…",
        )
        shapes.append(_text(margin - 6, place, name, "end", 11))
        shapes.append(_text(place, margin - 6, name, "start", 11, f"rotate(-55 {place} {margin - 6})"))
    side = margin + len(labels) * cell + 60
    text = (
        f"Confusion matrix of {len(labels)} labels: {right} of {texts} texts on the diagonal; shares: table of classes."
    )
    return _svg(side, side, shapes, text)


def reliability(bins: Sequence[dict[str, float]], size: int = 360) -> str:
    """Draw confidence against the share that was right; the area of a dot is the share of texts."""
    total = sum(row["texts"] for row in bins) or 1
    left, low, right, high = 50, size - 45, size - 30, 30
    shapes = [_axes(left, low, right, high, "probability predicted", "share right")]
    shapes.append(_line([(left, low), (right, high)], INK, "4 4"))
    for row in bins:
        x, y = left + row["confidence"] * (right - left), low - row["accuracy"] * (low - high)
        shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 + 18 * (row["texts"] / total) ** 0.5:.1f}" fill="{ACCENT}" '
            f'fill-opacity=".6"><title>{row["texts"]} texts</title></circle>'
        )
    points = "; ".join(f"{b['confidence']:.2f} predicted, {b['accuracy']:.2f} right ({b['texts']} texts)" for b in bins)
    return _svg(
        size, size, shapes, f"Reliability diagram, probability predicted and share right: {points or 'no text'}."
    )


def curve(epochs: Sequence[dict[str, Any]], width: int = 480, height: int = 240) -> str:
    """Draw the accuracy on the calibration split after each of two or more epochs."""
    values = [epoch["accuracy"] for epoch in epochs]
    least, most = min(values), max(values)
    left, low, right, high = 50, height - 40, width - 20, 15
    step, spread = (right - left) / (len(values) - 1), max(most - least, 0.01)
    points = [(left + n * step, low - 15 - (v - least) / spread * (low - high - 30)) for n, v in enumerate(values)]
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{ACCENT}"/>' for x, y in points]
    heights = dict(zip(values, (y for _, y in points), strict=True))
    sides = [_text(left - 8, heights[v] + 4, f"{v:.3f}", "end", 10) for v in sorted({least, most})]
    apart = -(-len(values) // 12)  # so that the numbers below do not touch
    below = [_text(points[n][0], low + 15, str(n + 1), "middle", 10) for n in range(0, len(values), apart)]
    frame = _line([(left, high), (left, low), (right, low)], INK)
    name = _text((left + right) / 2, low + 33, "epoch", "middle", 12)
    accuracies = ", ".join(f"{value:.3f}" for value in values)
    shapes = [frame, _line(points, ACCENT), *dots, *sides, *below, name]
    return _svg(
        width, height, shapes, f"Training curve, accuracy on the calibration split after each epoch: {accuracies}."
    )


def _axes(left: float, low: float, right: float, high: float, x_name: str, y_name: str) -> str:
    """Draw two axes from 0 to 1 with a number at each fifth."""
    marks = []
    for fifth in range(6):
        x, y = left + fifth / 5 * (right - left), low - fifth / 5 * (low - high)
        marks += [
            _text(x, low + 15, f"{fifth / 5:g}", "middle", 10),
            _text(left - 6, y + 4, f"{fifth / 5:g}", "end", 10),
        ]
    middle = (low + high) / 2
    names = (
        _text((left + right) / 2, low + 33, x_name, "middle", 12),
        _text(14, middle, y_name, "middle", 12, f"rotate(-90 14 {middle})"),
    )
    return _line([(left, high), (left, low), (right, low)], INK) + "".join([*marks, *names])


def _svg(width: float, height: float, shapes: Sequence[str], description: str) -> str:
    """Return the chart; ``description`` is for people who cannot see it."""
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img" '
        f'aria-label="{escape(description)}" font-family="system-ui,sans-serif">{"".join(shapes)}</svg>'
    )


def _line(points: Sequence[tuple[float, float]], paint: str, dash: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{paint}" stroke-width="2" stroke-dasharray="{dash}"/>'


def _text(x: float, y: float, text: str, anchor: str, size: int, transform: str = "", paint: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{paint or "currentColor"}" '
        f'transform="{transform}">{escape(text)}</text>'
    )
