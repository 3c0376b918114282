"""Claims of twin synchronisation about trained agents: C9 and C9b; on the weights that ship."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sixgym.leaderboard import stats
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome, Play, play
from sixgym.leaderboard.claims.rules import Draw, Finding, draw_bars, listed, series, verdict
from sixgym.leaderboard.stats import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ID = "sixgym/TwinSync-v0"
MIN_SEEDS = 5
LEARNED = play("mappo", ID, needs_weights=True)
"""One network for all agents, a critic that sees all."""
RULE, STATIC, TUNED, SOLVER = (
    play(name, ID)
    for name in ("coordinated_maxdev", "static_partition", "static_tuned", "hierarchical")
)
OTHERS = (RULE, STATIC, TUNED, SOLVER)
"""The first two are judged against; the others are told."""


def enough_seeds(evidence: Evidence, one: Play, least: int = MIN_SEEDS) -> Finding:
    """As many training seeds as a learned claim needs."""
    seeds = len(evidence.result(one).runs)
    return Finding(seeds >= least, f"{one.policy}: only {seeds} training seeds")


def by_seed(evidence: Evidence, one: Play) -> list[float]:
    """J_max of each training seed."""
    sample = evidence.sample(one)
    return [float(v) for v in sample.numerator.sum(1) / sample.denominator.sum(1)]


def less(evidence: Evidence, one: Play, other: Play) -> Interval:
    """J_max of one less that of another, paired."""
    return stats.paired_difference(evidence.sample(one), evidence.sample(other))


def below(evidence: Evidence, other: Play) -> list[Finding]:
    """Whether the trained agents' J_max is below another's, intervals apart."""
    gap, own, theirs = (
        less(evidence, LEARNED, other),
        evidence.value(LEARNED),
        evidence.value(other),
    )
    return [
        enough_seeds(evidence, LEARNED),
        Finding(gap.high < 0.0, f"less {other.policy}: {gap}"),
        Finding(own.high < theirs.low, f"{own} and {other.policy} {theirs} overlap"),
    ]


def _told(evidence: Evidence) -> str:
    every = (LEARNED, *OTHERS)
    seeds = by_seed(evidence, LEARNED)
    gaps = "; ".join(f"{one.policy} {less(evidence, LEARNED, one)}" for one in OTHERS)
    return (
        f"J_max of {', '.join(one.policy for one in every)}: "
        f"{listed(series(evidence, every), 3)}; {len(seeds)} seeds of {LEARNED.policy} "
        f"{', '.join(f'{v:.3f}' for v in seeds)}; {LEARNED.policy} less {gaps}"
    )


def _c9(evidence: Evidence) -> Outcome:
    holds, why = verdict(below(evidence, RULE))
    curves = [run.curve for run in evidence.result(LEARNED).runs if run.curve]
    return Outcome(holds, _told(evidence), why, draw=_draw_learning(evidence, curves))


def _draw_learning(evidence: Evidence, curves: Sequence[Sequence[tuple[int, float]]]) -> Draw:
    """J_max while training, seed by seed and in the mean, beside what rules reach."""

    def draw(axes: Axes) -> None:
        for curve in curves:
            axes.plot(*zip(*curve, strict=True), color="C0", alpha=0.3, linewidth=1)
        common = min((len(c) for c in curves), default=0)
        if common:
            steps = [s for s, _ in curves[0][:common]]
            mean = np.mean([[v for _, v in c[:common]] for c in curves], axis=0)
            axes.plot(steps, mean, "C0", label=f"{LEARNED.policy} in training, mean and seeds")
        for color, one in enumerate((LEARNED, *OTHERS)):
            value = evidence.value(one)
            name = f"{one.policy}, evaluation" if one is LEARNED else one.policy
            axes.axhline(value.value, color=f"C{color}", linestyle="--", linewidth=1, label=name)
            axes.axhspan(value.low, value.high, color=f"C{color}", alpha=0.15, linewidth=0)
        axes.set_xlabel("environment steps")
        axes.set_ylabel("J_max, time average of the largest deviation")
        top = 1.6 * max(evidence.value(one).high for one in (LEARNED, *OTHERS))
        axes.set_ylim(0.0, top)
        axes.legend(frameon=False, fontsize=8, loc="upper right")

    return draw


def _c9b(evidence: Evidence) -> Outcome:
    holds, why = verdict(below(evidence, STATIC))
    every = (LEARNED, *OTHERS)
    best = min(by_seed(evidence, LEARNED))
    return Outcome(
        holds,
        _told(evidence),
        why
        and f"{why}; the best training seed has {best:.3f}. {SOLVER.policy}, which reads the "
        f"model, shows what room there is: {evidence.value(SOLVER)}",
        draw=draw_bars(
            [one.policy for one in every], series(evidence, every), "J_max (95 % intervals)"
        ),
    )


CLAIMS: dict[str, Claim] = {
    "C9": Claim(
        "C9",
        "[ours]",
        "MAPPO beats the coordinated rule in the largest deviation.",
        f"J_max below that of coordinated_maxdev, intervals apart and paired, at least {MIN_SEEDS} "
        "training seeds",
        (LEARNED, *OTHERS),
        _c9,
    ),
    "C9b": Claim(
        "C9b",
        "[ours; an aspiration]",
        "MAPPO beats a static partition.",
        "J_max below that of static_partition, intervals apart and paired",
        (LEARNED, *OTHERS),
        _c9b,
    ),
}
