"""Claims about several devices that share a server: proportional fairness.

Windows of events are drawn from the shipped digits traces; only the server is short, as in FREDI
(arXiv 2609.15847). The environment's own allocations are played beside.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sixgym.baselines.event_offload.windows import (
    Comparison,
    compare,
    draw_window,
    window_response,
)
from sixgym.envs.event_offload.scores import named_pool
from sixgym.leaderboard import stats
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome, play
from sixgym.leaderboard.claims.rules import Finding, listed, series, verdict
from sixgym.leaderboard.stats import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MULTI = "sixgym/EventOffloadMulti-v0"

DEVICES, EVENTS_EACH = 6, 50
"""Devices, and events of each kind in a device's window."""
CAPACITIES = (480, 300, 180)
"""W, offloads that the server can process, of 600 events: 80, 50 and 30 %."""
REALISATIONS = 20

SHORT: dict[str, Any] = {"capacity_share": 0.1, "budget_j": 10e-3}
"""A game whose server is short: it takes 12 of the 120 events of a slot."""
ALLOCATIONS = tuple(play(name, MULTI, **SHORT) for name in ("pf", "equal", "max_sum"))


@cache
def realisations() -> dict[int, list[Comparison]]:
    """All ways to split, for each capacity, on the same windows."""
    pool = named_pool("digits38")
    found: dict[int, list[Comparison]] = {capacity: [] for capacity in CAPACITIES}
    for seed in range(REALISATIONS):
        generator = np.random.default_rng(seed)
        windows = [draw_window(pool, EVENTS_EACH, EVENTS_EACH, generator) for _ in range(DEVICES)]
        responses = [window_response(window) for window in windows]
        for capacity, entries in found.items():
            entries.append(compare(responses, capacity))
    return found


class Fairness(NamedTuple):
    """Means over the realisations at one capacity."""

    jain: Interval
    """Of the exact proportionally fair split."""
    jain_of_max: Interval
    total: Interval
    """Sum of U of the fair split over that of the largest sum."""
    two_stage: Interval
    """Sum of ln U of the two-stage design."""
    exact: Interval
    """The same of the exact split."""
    gap: Interval
    """Exact less two-stage."""
    least_gap: float
    """Of a single realisation."""
    most_gap: float


@cache
def fairness(capacity: int) -> Fairness:
    """The comparison at one capacity, with paired intervals over the realisations."""
    runs = realisations()[capacity]
    fair = stats.sample([r.exact.fair for r in runs])
    staged = stats.sample([r.two_stage.fair for r in runs])
    gaps = [r.exact.fair - r.two_stage.fair for r in runs]
    totals = [stats.sample([getattr(r, k).total for r in runs]) for k in ("exact", "max_sum")]
    return Fairness(
        stats.ratio_interval(stats.sample([r.exact.jain for r in runs])),
        stats.ratio_interval(stats.sample([r.max_sum.jain for r in runs])),
        stats.paired_ratio(*totals),
        stats.ratio_interval(staged),
        stats.ratio_interval(fair),
        stats.paired_difference(fair, staged),
        min(gaps),
        max(gaps),
    )


def _c13(evidence: Evidence) -> Outcome:
    findings, parts = [], []
    for capacity in CAPACITIES:
        found = fairness(capacity)
        findings += [
            Finding(found.jain.value >= 0.99, f"W={capacity}: Jain is {found.jain}"),
            Finding(found.total.value >= 0.98, f"W={capacity}: sum U is {found.total} of max-sum"),
        ]
        parts.append(
            f"W={capacity}: Jain {found.jain} (max-sum {found.jain_of_max}), sum U over max-sum's "
            f"{found.total}"
        )
    holds, why = verdict(findings)
    jain = [evidence.value(one, "jain") for one in ALLOCATIONS]
    total = [evidence.value(one, "utility_per_slot") for one in ALLOCATIONS]
    fair = series(evidence, ALLOCATIONS)

    def draw(axes: Axes) -> None:
        for name, color in (("exact", "C0"), ("max_sum", "C1"), ("two_stage", "C2")):
            label = {"exact": "proportionally fair", "max_sum": "max-sum", "two_stage": "two-stage"}
            for place, capacity in enumerate(CAPACITIES):
                splits = [getattr(run, name) for run in realisations()[capacity]]
                axes.scatter(
                    [split.total for split in splits],
                    [split.jain for split in splits],
                    color=color,
                    s=12,
                    label=label[name] if place == 0 else None,
                )
        axes.set_xlabel("sum of U (left to right W=180, 300, 480)")
        axes.set_ylabel("Jain's index")
        axes.legend(frameon=False, fontsize=8)

    return Outcome(
        holds,
        f"{'; '.join(parts)} ({REALISATIONS} realisations). The environment's own allocations pf, "
        f"equal, max-sum at a server for 10 % of the events and 10 mJ: Jain {listed(jain, 4)}; "
        f"sum U a slot {listed(total, 3)}; sum ln U {listed(fair, 3)}",
        why,
        draw=draw,
    )


def _c14(evidence: Evidence) -> Outcome:
    findings, parts = [], []
    for capacity in CAPACITIES:
        found = fairness(capacity)
        findings += [
            Finding(
                found.least_gap >= -1e-12, f"W={capacity}: a gap of {found.least_gap:.2g} is found"
            ),
            Finding(found.gap.value <= 0.15, f"W={capacity}: the mean gap is {found.gap}"),
        ]
        parts.append(
            f"W={capacity}: two-stage {found.two_stage}, exact {found.exact}, gap {found.gap} "
            f"(single ones {found.least_gap:.3f} to {found.most_gap:.3f})"
        )
    holds, why = verdict(findings)

    def draw(axes: Axes) -> None:
        for place, capacity in enumerate(CAPACITIES):
            gaps = sorted(r.exact.fair - r.two_stage.fair for r in realisations()[capacity])
            axes.step(
                gaps,
                np.arange(1, len(gaps) + 1) / len(gaps),
                where="post",
                color=f"C{place}",
                label=f"W={capacity}",
            )
        axes.axvline(0.15, linestyle="--", color="#a34700")
        axes.set_xlabel("exact less two-stage, sum of ln U")
        axes.set_ylabel("share of the realisations")
        axes.legend(frameon=False)

    return Outcome(
        holds, f"sum of ln U: {'; '.join(parts)} ({REALISATIONS} realisations)", why, draw=draw
    )


CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for claim in (
        Claim(
            "C13",
            "[related: FREDI]",
            "Proportional fairness costs nearly nothing of the sum.",
            "Jain >= .99 and sum U within 2 % of max-sum for a server of 30 % of the events or "
            "more",
            ALLOCATIONS,
            _c13,
        ),
        Claim(
            "C14",
            "[related: FREDI]",
            "The two-stage design is close to the exact proportionally fair split.",
            "two-stage <= exact in every realisation; mean gap <= .15 in sum of ln U",
            (),
            _c14,
        ),
    )
}
"""By id."""
