"""Line charts as numbers for the templates: places in a drawing, round ticks, and no colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 520.0, 300.0
"""Size of a chart in its own units."""
LEFT, RIGHT, TOP, BOTTOM = 54.0, 14.0, 12.0, 44.0
"""Margins, where the numbers stand."""

SPECK = 1e-9
"""Of an axis' length: what rounding may put beyond its end."""


class Series(NamedTuple):
    """One line of a chart.

    Attributes:
        name: what the legend says.
        points: (x, y) of each, in order.
        group: lines of one group have one colour and one entry of the legend.
        is_faint: whether it only stands behind another line of its group.
        band: (x, low, high) of an area around it; empty for none.
    """

    name: str
    points: Sequence[tuple[float, float]]
    group: int = 0
    is_faint: bool = False
    band: Sequence[tuple[float, float, float]] = ()


class Tick(NamedTuple):
    """A place on an axis and what stands there."""

    place: float
    label: str


class Line(NamedTuple):
    """One line as it is drawn; ``area`` is the outline of its band, empty where it has none."""

    name: str
    group: int
    path: str
    is_faint: bool
    area: str


class Chart(NamedTuple):
    """A chart as it is drawn.

    Attributes:
        label: what it shows, in words.
        x_name: of the axis below.
        y_name: of the axis on the left.
        x: ticks below.
        y: ticks on the left.
        lines: the faint ones, then the others, each in the order of the legend.
        legend: name and group of each, once a group.
    """

    label: str
    x_name: str
    y_name: str
    x: list[Tick]
    y: list[Tick]
    lines: list[Line]
    legend: list[tuple[str, int]]


def chart(label: str, x_name: str, y_name: str, series: Sequence[Series]) -> Chart | None:
    """Lay out a chart; None where there is nothing to draw.

    The axis below ends where the lines do; the one on the left ends at round numbers.
    """
    points = [p for one in series for p in one.points if all(map(math.isfinite, p))]
    if not points:
        return None
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    x_ticks = ticks_within(x_low, x_high)
    x_high += x_high == x_low
    y_low, y_high, y_ticks = axis([y for _, y in points])

    def across(x: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (x - x_low) / (x_high - x_low), 1)

    def down(y: float) -> float:
        inside = min(max(y, y_low), y_high)
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (y_high - inside) / (y_high - y_low), 1)

    def path(points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{across(x)},{down(y)}" for x, y in points if math.isfinite(y))

    lines = [
        Line(
            one.name,
            one.group,
            path(one.points),
            one.is_faint,
            path([(x, high) for x, _, high in one.band])
            + " "
            + path([(x, low) for x, low, _ in reversed(one.band)])
            if one.band
            else "",
        )
        for one in sorted(series, key=lambda one: not one.is_faint)
    ]
    return Chart(
        label=label,
        x_name=x_name,
        y_name=y_name,
        x=[Tick(across(v), compact(v)) for v in x_ticks],
        y=[Tick(down(v), compact(v)) for v in y_ticks],
        lines=lines,
        legend=list(dict.fromkeys((one.name, one.group) for one in series)),
    )


def axis(values: Sequence[float], *, with_zero: bool = False) -> tuple[float, float, list[float]]:
    """Ends of an axis that holds all values, and its round ticks: three to six, and both ends."""
    finite = [v for v in values if math.isfinite(v)] or [0.0]
    low, high = min(finite), max(finite)
    if with_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    step = _step(low, high)
    first, last = math.floor(low / step), math.ceil(high / step)
    last += first == last
    return first * step, last * step, [i * step for i in range(first, last + 1)]


def ticks_within(low: float, high: float) -> list[float]:
    """Round ticks on an axis that ends at its values."""
    step = _step(low, high)
    first, last = math.ceil(low / step - SPECK), math.floor(high / step + SPECK)
    return [i * step for i in range(first, last + 1)]


def _step(low: float, high: float) -> float:
    """A round distance of ticks."""
    span = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span / 3.0))
    return step * next(m for m in (1.0, 2.0, 5.0, 10.0) if span / (m * step) <= 5.0)


def compact(value: float) -> str:
    """A tick's number: few digits, thousands and millions by their letters."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.4g}{letter}"
    return f"{value:.4g}"
