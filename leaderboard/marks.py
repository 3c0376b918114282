"""Intervals on a common axis, as numbers for the templates: the plots in the cells of tables."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from sixgym.leaderboard.charts import Tick, axis
from sixgym.leaderboard.stats import Interval

EDGE = 8.0
"""Left free on both sides, so that a mark at the end of the axis is seen whole."""


class Mark(NamedTuple):
    """An interval as it is drawn.

    Attributes:
        low: place of its lower end.
        value: place of the value.
        high: place of its upper end.
        kind: what it is of: ``learned``, ``baseline``, ``reference``, ``random`` or ``other``.
        words: what it says to those who do not see it.
    """

    low: float
    value: float
    high: float
    kind: str
    words: str


class Scale(NamedTuple):
    """The axis of one column of plots, and their width."""

    width: float
    low: float
    high: float
    ticks: list[Tick]

    @classmethod
    def over(cls, width: float, intervals: Iterable[Interval], *others: float) -> Scale:
        """An axis that holds some intervals, other values, and zero."""
        bounds = [bound for interval in intervals for bound in interval]
        low, high, values = axis([*bounds, *others], with_zero=True)
        bare = cls(width, low, high, [])
        return bare._replace(ticks=[Tick(bare.place(v), f"{v:g}") for v in values])

    def place(self, value: float) -> float:
        """Where a value lies, in the units of the plot."""
        if not math.isfinite(value):
            return 0.0
        inner = self.width - 2.0 * EDGE
        return round(EDGE + inner * (value - self.low) / (self.high - self.low), 2)

    def mark(self, interval: Interval, kind: str, words: str) -> Mark:
        """An interval on this axis."""
        low, value, high = (self.place(v) for v in (interval.low, interval.value, interval.high))
        return Mark(low, value, high, kind, words)
