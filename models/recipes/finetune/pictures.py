"""Small pictures as SVG text: no plotting library for three drawings."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

INK, ACCENT, PALE = "#7a8696", "#2f6fde", "#9db9ee"


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str], cell: int = 26, margin: int = 150) -> str:
    """Rows are the right labels, columns the given ones; the darker, the larger the share of the row."""
    shapes = []
    for row, counts in enumerate(matrix):
        total = max(1, sum(counts))
        for column, count in enumerate(counts):
            x, y = margin + column * cell, margin + row * cell
            if count:
                paint = ACCENT if row == column else "#d9483b"
                shapes.append(_box(x, y, cell, cell, paint, 0.15 + 0.85 * count / total))
                dark = count > total / 2
                shapes.append(
                    _text(x + cell / 2, y + cell / 2 + 4, str(count), "middle", 10, paint="#fff" if dark else "")
                )
        shapes.append(_text(margin - 6, margin + row * cell + cell / 2 + 4, labels[row], "end", 11))
        place = margin + row * cell + cell / 2 + 4
        shapes.append(_text(place, margin - 6, labels[row], "start", 11, f"rotate(-55 {place} {margin - 6})"))
    side = margin + len(labels) * cell + 60
    return _svg(side, side, shapes)


def reliability(bins: Sequence[dict[str, float]], size: int = 360) -> str:
    """Confidence against the share that was right; on the diagonal both agree. The area of a dot is the share of texts."""
    total = sum(each["texts"] for each in bins) or 1
    left, low, right, high = 50, size - 45, size - 30, 30
    shapes = [_axes(left, low, right, high, "probability given", "share right")]
    shapes.append(_line([(left, low), (right, high)], INK, "4 4"))
    for each in bins:
        x, y = left + each["confidence"] * (right - left), low - each["accuracy"] * (low - high)
        shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 + 18 * (each["texts"] / total) ** 0.5:.1f}" fill="{ACCENT}" '
            f'fill-opacity=".6"><title>{each["texts"]} texts</title></circle>'
        )
    return _svg(size, size, shapes)


def curve(epochs: Sequence[dict[str, Any]], width: int = 480, height: int = 240) -> str:
    """Accuracy on the calibration split after every epoch."""
    values = [each["accuracy"] for each in epochs]
    if not values:
        return ""
    low, high = min(values) - 0.01, max(values) + 0.01
    step = (width - 60) / max(1, len(values) - 1)
    points = [(45 + n * step, 10 + (high - value) / (high - low) * (height - 50)) for n, value in enumerate(values)]
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{ACCENT}"/>' for x, y in points]
    ends = [_text(40, points[0][1] + 4, f"{values[0]:.3f}", "end", 11), _text(40, 14, f"{high:.3f}", "end", 11)]
    return _svg(
        width, height, [_line(points, ACCENT), *dots, *ends, _text(width / 2, height - 8, "epoch", "middle", 12)]
    )


def _axes(left: float, low: float, right: float, high: float, below: str, beside: str) -> str:
    """Two axes from 0 to 1, a number at each fifth."""
    marks = []
    for fifth in range(6):
        x, y = left + fifth / 5 * (right - left), low - fifth / 5 * (low - high)
        marks += [
            _text(x, low + 15, f"{fifth / 5:g}", "middle", 10),
            _text(left - 6, y + 4, f"{fifth / 5:g}", "end", 10),
        ]
    middle = (low + high) / 2
    names = (
        _text((left + right) / 2, low + 33, below, "middle", 12),
        _text(14, middle, beside, "middle", 12, f"rotate(-90 14 {middle})"),
    )
    return _line([(left, high), (left, low), (right, low)], INK) + "".join([*marks, *names])


def _svg(width: float, height: float, shapes: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img" '
        f'font-family="system-ui,sans-serif">{"".join(shapes)}</svg>'
    )


def _box(x: float, y: float, width: float, height: float, paint: str, strength: float) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width}" height="{height}" fill="{paint}" fill-opacity="{strength:.2f}"/>'


def _line(points: Sequence[tuple[float, float]], paint: str, dash: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{paint}" stroke-width="2" stroke-dasharray="{dash}"/>'


def _text(x: float, y: float, text: str, anchor: str, size: int, transform: str = "", paint: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{paint or "currentColor"}" '
        f'transform="{transform}">{escape(text)}</text>'
    )
