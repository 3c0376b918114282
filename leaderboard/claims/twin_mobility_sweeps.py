"""Claims of twin synchronisation about what the best plans of a round do: C3 and C4.

All with ages 0 and an even split of the band; every point of a sweep is the same rounds.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from sixgym.baselines.twin_mobility.bounds import lower_bound
from sixgym.baselines.twin_mobility.instances import instance
from sixgym.baselines.twin_mobility.problem import Ingredients
from sixgym.baselines.twin_mobility.regions import BIG
from sixgym.envs.core.worlds import row_seed
from sixgym.envs.twin_mobility.round_params import TwinRoundParams
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome
from sixgym.leaderboard.claims.rules import Draw, Finding, listed, verdict
from sixgym.leaderboard.claims.twin_mobility_solved import (
    AGES_ZERO,
    ROWS,
    Floats,
    Solved,
    common,
    feasible,
    geometric,
    mean_of,
    medians,
    penalty,
    percent,
    solved,
    trend,
)
from sixgym.leaderboard.protocol import VERSION
from sixgym.leaderboard.stats import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes


def told_medians(values: Floats) -> str:
    """Medians over rows of (points, rows), in words."""
    return ", ".join(f"{v:.3f}" for v in np.median(values, axis=1))


def error_bars(
    axes: Axes, xs: Sequence[float], ys: Sequence[Interval], label: str, style: str
) -> None:
    """A line with its intervals."""
    below, above = ([abs(y.value - end) for y, end in zip(ys, e, strict=True)]
                    for e in ([y.low for y in ys], [y.high for y in ys]))  # fmt: skip
    axes.errorbar(xs, [y.value for y in ys], [below, above], fmt=style, capsize=3, label=label)


# ------------------------------------------------------------------------------ C3: substitution

BANDS_MHZ = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
EVEN = Ingredients(equal_bandwidth=True)
RAW = Ingredients(equal_bandwidth=True, compress=False)


class Compressing(NamedTuple):
    """Rounds with and without compression, (bandwidths,)."""

    free: list[Solved]
    raw: list[Solved]


@cache
def compressing(rows: int = ROWS) -> Compressing:
    """The sweep over the band."""

    def swept(free: Ingredients) -> list[Solved]:
        return [solved(free, rows=rows, bandwidth_hz=1e6 * b, **AGES_ZERO) for b in BANDS_MHZ]

    return Compressing(swept(EVEN), swept(RAW))


def substituting(both: Compressing) -> list[Finding]:
    """Whether compression is worth the more, and compresses the more, the less band there is."""
    if not common([*both.free, *both.raw]).any():
        return [Finding(False, "no common rows")]
    lost, gamma, ratio = _compressed(both)
    return [
        trend("log penalty of no compression", np.log(lost), BANDS_MHZ, rises=False),
        trend("compression ratio", ratio, BANDS_MHZ, rises=True),
        trend("log largest deviation", np.log(gamma), BANDS_MHZ, rises=False),
        medians("largest deviation", gamma, rises=False),
    ]


def _compressed(both: Compressing) -> tuple[Floats, Floats, Floats]:
    """(bandwidths, rows) penalty, largest deviation and ratio on the rows that all solve."""
    kept = common([*both.free, *both.raw])
    gamma, raw = (np.stack([s.gamma[kept] for s in every]) for every in both)
    return raw / gamma, gamma, np.stack([s.ratio[kept] for s in both.free])


def _c3(evidence: Evidence) -> Outcome:
    both = compressing()
    holds, why = verdict(substituting(both))
    lost, gamma, ratio = _compressed(both)
    penalties, ratios = [geometric(v) for v in lost], [mean_of(v) for v in ratio]
    return Outcome(
        holds,
        f"B = {', '.join(f'{b:g}' for b in BANDS_MHZ)} MHz, {lost.shape[1]} of {ROWS} rounds that "
        f"all solve: largest deviation without compression over with it {listed(penalties, 3)}; "
        f"mean best ratio {listed(ratios, 3)}; median largest deviation {told_medians(gamma)}; "
        f"solved with compression {percent([feasible(s) for s in both.free])}, without "
        f"{percent([feasible(s) for s in both.raw])}",
        why,
        draw=_draw_substitution(penalties, ratios),
    )


def _draw_substitution(penalties: list[Interval], ratios: list[Interval]) -> Draw:
    """Penalty and best ratio over the band."""

    def draw(axes: Axes) -> None:
        error_bars(axes, BANDS_MHZ, penalties, "no compression over compression", "C0o-")
        axes.set_xscale("log", base=2)
        axes.set_xticks(BANDS_MHZ, [f"{b:g}" for b in BANDS_MHZ])
        axes.set_xlabel("bandwidth (MHz)")
        axes.set_ylabel("ratio of the largest deviations")
        other = axes.twinx()
        error_bars(other, BANDS_MHZ, ratios, "best compression ratio (right)", "C1s--")
        other.set_ylabel("bits kept, mean over agents")
        both_legends(axes, other, "upper center")

    return draw


def both_legends(axes: Axes, other: Axes, place: Literal["upper center", "center right"]) -> None:
    """One legend for two scales."""
    lines, labels = axes.get_legend_handles_labels()
    more, names = other.get_legend_handles_labels()
    axes.legend(lines + more, labels + names, frameon=False, fontsize=8, loc=place)


# ---------------------------------------------------------------------------------- C4: velocity

BUDGETS_J = (80.0, 100.0, 120.0, 160.0, 200.0, 300.0)
EXTREMES_AT = (100.0, 120.0, 160.0)
"""Budgets at which the fixed speeds are judged."""
FASTEST, CHEAPEST = 20.0, 5.0


class Speeds(NamedTuple):
    """Rounds with free and with fixed speeds, (budgets,)."""

    free: list[Solved]
    fastest: list[Solved]
    cheapest: list[Solved]

    def at(self, budget: float) -> tuple[Solved, Solved, Solved]:
        """The three at a budget."""
        k = BUDGETS_J.index(budget)
        return self.free[k], self.fastest[k], self.cheapest[k]


@cache
def speeds(rows: int = ROWS) -> Speeds:
    """The sweep over the energy budget."""

    def swept(speed: float | None) -> list[Solved]:
        free = Ingredients(equal_bandwidth=True, speed_mps=speed)
        return [solved(free, rows=rows, cycle_energy_j=e, **AGES_ZERO) for e in BUDGETS_J]

    return Speeds(swept(None), swept(FASTEST), swept(CHEAPEST))


def adapting(every: Speeds) -> list[Finding]:
    """Whether the best speed follows the budget, and neither extreme will do."""
    kept = common(every.free)
    speed = np.stack([s.speed_mps[kept] for s in every.free])
    gamma = np.stack([s.gamma[kept] for s in every.free])
    found = [
        trend("speed", speed, BUDGETS_J, rises=True),
        trend("log largest deviation", np.log(gamma), BUDGETS_J, rises=False),
        medians("largest deviation", gamma, rises=False),
    ]
    for budget in EXTREMES_AT:
        free, fastest, cheapest = every.at(budget)
        lost = mean_of(free.is_feasible.astype(np.float64) - fastest.is_feasible)
        missed = int(((fastest.is_feasible | cheapest.is_feasible) & ~free.is_feasible).sum())
        worse = penalty(cheapest, free)
        found += [
            Finding(lost.low > 0.0, f"{budget:g} J: {FASTEST:g} m/s solves {lost} fewer"),
            Finding(
                missed == 0, f"{budget:g} J: adaptive misses {missed} that a fixed speed solves"
            ),
            Finding(worse.low > 1.0, f"{budget:g} J: {CHEAPEST:g} m/s over adaptive is {worse}"),
        ]
    return found


def _c4(evidence: Evidence) -> Outcome:
    every = speeds()
    holds, why = verdict(adapting(every))
    kept = common(every.free)
    gamma = np.stack([s.gamma[kept] for s in every.free])
    speed = [mean_of(s.speed_mps[kept]) for s in every.free]
    slow = [penalty(a, b) for a, b in zip(every.cheapest, every.free, strict=True)]
    fast = [penalty(a, b) for a, b in zip(every.fastest, every.free, strict=True)]
    rates = [percent([feasible(s) for s in some]) for some in every]
    return Outcome(
        holds,
        f"budgets {', '.join(f'{e:g}' for e in BUDGETS_J)} J, {int(kept.sum())} of {ROWS} rounds "
        f"solved at all: mean best speed {listed(speed, 2)} m/s, median largest deviation "
        f"{told_medians(gamma)}. Solved: adaptive {rates[0]}; {FASTEST:g} m/s {rates[1]}; "
        f"{CHEAPEST:g} m/s {rates[2]}. Over adaptive where both solve: {FASTEST:g} m/s "
        f"{listed(fast, 3)}; {CHEAPEST:g} m/s {listed(slow, 3)}",
        why,
        draw=_draw_speeds(every, speed),
    )


def _draw_speeds(every: Speeds, speed: list[Interval]) -> Draw:
    """Largest deviations on the rounds solved at all budgets, what 20 m/s solves, the best speed.

    The few rounds that 20 m/s solves at a tight budget are easy ones, so it has no line.
    """
    kept = common(every.free)
    lines = {"adaptive": every.free, f"{CHEAPEST:g} m/s": every.cheapest}
    solves = [feasible(s) for s in every.fastest]

    def draw(axes: Axes) -> None:
        for color, (name, some) in enumerate(lines.items()):
            values = [geometric(s.gamma[kept]) for s in some]
            error_bars(axes, BUDGETS_J, values, name, f"C{color}o-")
        axes.set_ylim(bottom=1.0)
        for budget, share in zip(BUDGETS_J, solves, strict=True):
            axes.text(budget, 1.03, percent([share]), fontsize=7, ha="center")
        axes.text(200.0, 1.18, f"rounds that {FASTEST:g} m/s solves:", fontsize=7, ha="center")
        axes.set_xlabel("energy budget of a cycle (J)")
        axes.set_ylabel("largest deviation, geometric mean")
        other = axes.twinx()
        error_bars(other, BUDGETS_J, speed, "best speed (right)", "C3s--")
        other.set_ylabel("m/s, mean over agents")
        both_legends(axes, other, "center right")

    return draw


# --------------------------------------------------------------- C4b: always within reach


@cache
def beyond_reach(budget: float, rows: int = ROWS) -> int:
    """Rounds that nobody can solve: not even everyone in every region with all the band could."""
    params = TwinRoundParams.create(cycle_energy_j=budget, **AGES_ZERO)
    problem = instance(params, rows, row_seed("evaluation", VERSION))
    return int((lower_bound(problem, params) >= BIG).sum())


def always_solved(every: Speeds) -> list[Finding]:
    """Whether adaptive and cheapest speed solve all rounds."""
    found = []
    for budget in EXTREMES_AT:
        free, _, cheapest = every.at(budget)
        for name, one in (("adaptive", free), (f"{CHEAPEST:g} m/s", cheapest)):
            missed = int((~one.is_feasible).sum())
            found.append(Finding(missed == 0, f"{budget:g} J: {name} misses {missed}"))
    return found


def _c4b(evidence: Evidence) -> Outcome:
    every = speeds()
    holds, why = verdict(always_solved(every))
    none = [beyond_reach(budget) for budget in EXTREMES_AT]
    free, _, cheapest = (
        [feasible(every.at(budget)[k]) for budget in EXTREMES_AT] for k in range(3)
    )
    proved = ", ".join(map(str, none))
    return Outcome(
        holds,
        f"{', '.join(f'{e:g}' for e in EXTREMES_AT)} J, {ROWS} rounds: adaptive solves "
        f"{'; '.join(map(str, free))}; {CHEAPEST:g} m/s {'; '.join(map(str, cheapest))}; the bound "
        f"proves {proved} beyond everybody's reach",
        why
        and f"{why}. Where the bound proves it, a region is too far for the budget; 5 m/s reaches "
        "furthest, so the others are likely so too, but that is open",
    )


CLAIMS: dict[str, Claim] = {
    "C3": Claim(
        "C3",
        "[paper, without numbers; the rule: ours]",
        "Semantic compression substitutes for channel resources when bandwidth is scarce.",
        "over B = 0.5 to 32 MHz, even split, same rounds: the penalty of sending all bits falls, "
        "the best compression ratio rises, the largest deviation falls, step by step and beyond "
        "the interval from end to end",
        (),
        _c3,
    ),
    "C4": Claim(
        "C4",
        "[paper, without numbers; the rule: ours]",
        "Adapting the velocity is a needed freedom in the trade of energy for time.",
        "over budgets of 80 to 300 J, even split: the best speed rises and the largest deviation "
        "falls; at 100, 120, 160 J 20 m/s solves fewer rounds (interval above 0), adaptive all "
        "that a fixed speed solves, and 5 m/s is worse (interval above 1)",
        (),
        _c4,
    ),
    "C4b": Claim(
        "C4b",
        "[ours]",
        "Budgets of 100 J and more suffice for every round if the speed adapts, or is the cheapest "
        "one.",
        "at 100, 120, 160 J adaptive and 5 m/s solve all rounds",
        (),
        _c4b,
    ),
}
