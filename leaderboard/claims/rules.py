"""How claims are judged: the same few rules for all, and the figures that go with them.

* A threshold is met if the measured value reaches it; the interval is shown beside it.
* A score rises along a sweep if every step's value rises, no step falls beyond its paired interval,
  and the rise from end to end lies beyond its paired interval. It falls likewise.
* A score does not decrease if no step falls beyond its paired interval.

All intervals are 95 % paired bootstraps; see `sixgym.leaderboard.stats`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from sixgym.leaderboard.claims.framework import Evidence, Play, Verdict
from sixgym.leaderboard.stats import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[["Axes"], None]
Curve = tuple[str, Sequence[float], Sequence[Interval]]
"""Label, abscissae and ordinates."""
FEW = 24
"""Points of a curve that are drawn as such; more are a line."""


class Finding(NamedTuple):
    """One part of a claim: whether it holds, and why not."""

    holds: bool
    why_not: str = ""


def verdict(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    """The verdict of a claim of several parts, and what did not hold."""
    missed = [finding.why_not for finding in findings if not finding.holds]
    return ("fail", "; ".join(missed)) if missed else ("pass", "")


def at_least(what: str, ratio: Interval, threshold: float) -> Finding:
    """The value reaches a threshold."""
    return Finding(ratio.value >= threshold, f"{what} is {ratio.value:.3f}, not {threshold}")


def rises(evidence: Evidence, plays: Sequence[Play], labels: Sequence[object]) -> Finding:
    """The score rises along a sweep."""
    steps = [evidence.ratio(b, a) for a, b in pairwise(plays)]
    for i, step in enumerate(steps):
        if step.value <= 1.0:
            return Finding(
                False, f"from {labels[i]} to {labels[i + 1]} the score changes by a factor {step}"
            )
    whole = evidence.ratio(plays[-1], plays[0])
    return Finding(whole.low > 1.0, f"from end to end the factor is {whole}")


def falls(evidence: Evidence, plays: Sequence[Play], labels: Sequence[object]) -> Finding:
    """The score falls along a sweep."""
    return rises(evidence, plays[::-1], labels[::-1])


def does_not_decrease(
    evidence: Evidence, plays: Sequence[Play], labels: Sequence[object]
) -> Finding:
    """No step of a sweep falls beyond its interval."""
    for i, (a, b) in enumerate(pairwise(plays)):
        step = evidence.ratio(b, a)
        if step.high < 1.0:
            return Finding(False, f"from {labels[i]} to {labels[i + 1]} the factor is {step}")
    return Finding(True)


def series(evidence: Evidence, plays: Sequence[Play], unit: float = 1.0) -> list[Interval]:
    """Scores of a sweep, divided by a unit."""
    return [Interval(*(v / unit for v in evidence.value(one))) for one in plays]


def listed(values: Sequence[Interval], digits: int) -> str:
    """Scores of a sweep in words, with the widest half-interval."""
    half = max((v.high - v.low) / 2.0 for v in values)
    shown = ", ".join(f"{v.value:.{digits}f}" for v in values)
    return f"{shown} (±{half:.{digits}f} at most)"


def exact(values: Iterable[float]) -> list[Interval]:
    """Numbers without an interval, as intervals of no width."""
    return [Interval(float(v), float(v), float(v)) for v in values]


def told(values: Iterable[float], digits: int = 3) -> str:
    """Exact numbers in words."""
    return ", ".join(f"{v:.{digits}f}" for v in values)


def draw_curves(
    curves: Sequence[Curve],
    xlabel: str,
    ylabel: str,
) -> Draw:
    """Lines with error bars."""

    def draw(axes: Axes) -> None:
        for label, xs, ys in curves:
            values = [y.value for y in ys]
            # A percentile interval may leave out its own value when the values are few.
            below = [max(y.value - y.low, 0.0) for y in ys]
            above = [max(y.high - y.value, 0.0) for y in ys]
            dots = "o" if len(xs) <= FEW else ""
            error = [below, above] if any(below) or any(above) else None
            axes.errorbar(xs, values, yerr=error, marker=dots, capsize=3, label=label)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.margins(y=0.12)
        if len(curves) > 1:
            axes.legend(frameon=False, fontsize=8)

    return draw


def draw_bars(
    labels: Sequence[str], values: Sequence[Interval], xlabel: str, line: float | None = None
) -> Draw:
    """Horizontal bars with intervals, the first on top; a dashed line at a threshold."""

    def draw(axes: Axes) -> None:
        places = range(len(labels))[::-1]
        below = [max(v.value - v.low, 0.0) for v in values]
        above = [max(v.high - v.value, 0.0) for v in values]
        axes.barh(list(places), [v.value for v in values], color="#8fb8d8")
        axes.errorbar(
            [v.value for v in values],
            list(places),
            xerr=[below, above],
            fmt="none",
            ecolor="#20242c",
            capsize=3,
        )
        axes.set_yticks(list(places), labels)
        axes.set_xlabel(xlabel)
        if line is not None:
            axes.axvline(line, linestyle="--", color="#a34700", linewidth=1)

    return draw
