"""Claims of aggregation between agents: C8, in parts.

The companion paper (arXiv 2604.02381) was not read; what it found is told by a public reproduction.
Mission energy counts a charge for each agent that failed to hand over, so that failing is not
cheap; what completed missions alone cost is told beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sixgym.leaderboard import stats
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome, Play, play
from sixgym.leaderboard.claims.rules import (
    Curve,
    Draw,
    Finding,
    does_not_decrease,
    draw_bars,
    draw_curves,
    exact,
    listed,
    rises,
    series,
    verdict,
)
from sixgym.leaderboard.stats import Interval

ID = "sixgym/AgentAggregation-v0"
STRESS = "stress"
COMPLETED = "completed_share"
PRESETS = (STRESS, "default")


def mission(policy: str, preset: str = STRESS, **params: Any) -> Play:
    """Missions in a preset."""
    return play(policy, ID, preset=preset, **params)


def saving(evidence: Evidence, one: Play, other: Play) -> Interval:
    """Share of the energy of another policy's missions that one saves."""
    ratio = evidence.ratio(one, other)
    return Interval(1.0 - ratio.value, 1.0 - ratio.high, 1.0 - ratio.low)


def saving_where_both_complete(evidence: Evidence, one: Play, other: Play) -> Interval:
    """The same over the worlds in which both end with one root; NaN for none."""
    done = np.all([evidence.sample(p, COMPLETED).numerator > 0.5 for p in (one, other)], axis=0)[0]
    if not done.any():
        return Interval(np.nan, np.nan, np.nan)
    top, bottom = (stats.sample(evidence.sample(p).numerator[:, done]) for p in (one, other))
    ratio = stats.paired_ratio(top, bottom)
    return Interval(1.0 - ratio.value, 1.0 - ratio.high, 1.0 - ratio.low)


# --------------------------------------------------------------------------------- C8: topology

TOPOLOGIES = ("hmap", "greedy", "distance_based", "random_topology")
HMAP, GREEDY, DISTANCE, RANDOM = (mission(name) for name in TOPOLOGIES)
PLAIN, PLAIN_DISTANCE, PLAIN_RANDOM = (
    mission(name, "default") for name in ("hmap", "distance_based", "random_topology")
)
PAPERS_SAVING = 0.19
"""Against distance at N = 10, as told of the companion [notes]; not judged."""


def _c8(evidence: Evidence) -> Outcome:
    ratios = {one.policy: evidence.ratio(HMAP, one) for one in (GREEDY, DISTANCE, RANDOM)}
    holds, why = verdict(
        [
            Finding(ratios[one.policy].value <= 1.0, f"over {one.policy}: {ratios[one.policy]}")
            for one in (DISTANCE, RANDOM)
        ]
    )
    every = (HMAP, GREEDY, DISTANCE, RANDOM)
    saved = [str(saving(evidence, HMAP, one)) for one in (DISTANCE, RANDOM)]
    alone = [str(saving_where_both_complete(evidence, HMAP, one)) for one in (DISTANCE, RANDOM)]
    plain = [str(saving(evidence, PLAIN, one)) for one in (PLAIN_DISTANCE, PLAIN_RANDOM)]
    values = series(evidence, every)
    done = [evidence.value(one, COMPLETED) for one in every]
    return Outcome(
        holds,
        f"stress, N=10: mission energy of {', '.join(TOPOLOGIES)} {listed(values, 2)} J, completed "
        f"{listed(done, 3)}; share saved against distance_based, random_topology "
        f"{'; '.join(saved)}; where both complete {'; '.join(alone)}; default: {'; '.join(plain)}",
        why or f"told of the companion: {PAPERS_SAVING:.0%} against distance (not judged)",
        draw=draw_bars(list(TOPOLOGIES), values, "energy of a mission (J), preset stress, N = 10"),
    )


# ------------------------------------------------------------------------- C8b: number of agents

SIZES = (4, 6, 8, 10, 12)
REPRODUCTION: dict[int, float] = {4: 4.91, 6: 9.17, 8: 12.81, 10: 16.92}
"""J in the reproduction's regime of stress [notes]."""
BY_SIZE = {
    preset: tuple(mission("hmap", preset, num_agents=n) for n in SIZES) for preset in PRESETS
}


def _c8b(evidence: Evidence) -> Outcome:
    holds, why = verdict([rises(evidence, plays, SIZES) for plays in BY_SIZE.values()])
    values = {preset: series(evidence, plays) for preset, plays in BY_SIZE.items()}
    told = "; ".join(f"{preset} {listed(v, 2)} J" for preset, v in values.items())
    curves: list[Curve] = [(f"H-MAP, {preset}", SIZES, v) for preset, v in values.items()]
    curves.append(
        ("reproduction, stress [notes]", list(REPRODUCTION), exact(REPRODUCTION.values()))
    )
    return Outcome(
        holds,
        f"N={', '.join(map(str, SIZES))}: {told}; the reproduction in stress, N=4 to 10: "
        f"{', '.join(f'{v:g}' for v in REPRODUCTION.values())} J",
        why,
        draw=draw_curves(curves, "agents N", "energy of a mission (J)"),
    )


# ----------------------------------------------------------------------- C8c: weight of the field

WEIGHTS = (0.0, 1e-16, 1e-15, 1e-14, 1e-13, 1e-12)
BY_WEIGHT = {
    preset: tuple(mission("hmap", preset, potential_weight=z) for z in WEIGHTS)
    for preset in PRESETS
}


def rebounds(evidence: Evidence, plays: Sequence[Play], labels: Sequence[object]) -> list[Finding]:
    """Whether a score is U-shaped or flat, then rising, along a sweep.

    From the least value on no step falls beyond its interval, and up to it none rises; the last
    lies above the least beyond the interval.
    """
    values = [evidence.value(one).value for one in plays]
    least = int(np.argmin(values))
    rebound = evidence.ratio(plays[-1], plays[least])
    return [
        does_not_decrease(evidence, plays[least:], labels[least:]),
        does_not_decrease(evidence, plays[least::-1], labels[least::-1]),
        Finding(
            rebound.low > 1.0, f"{labels[-1]} over {labels[least]}, the least: a factor {rebound}"
        ),
    ]


def _c8c(evidence: Evidence) -> Outcome:
    holds, why = verdict(rebounds(evidence, BY_WEIGHT["default"], WEIGHTS))
    values = {preset: series(evidence, plays) for preset, plays in BY_WEIGHT.items()}
    _, other = verdict(rebounds(evidence, BY_WEIGHT[STRESS], WEIGHTS))
    told = "; ".join(f"{preset} {listed(v, 3)} J" for preset, v in values.items())
    rise = evidence.ratio(BY_WEIGHT["default"][-1], BY_WEIGHT["default"][0])
    return Outcome(
        holds,
        f"zeta = {', '.join(f'{z:g}' for z in WEIGHTS)}: {told}; default, last over zeta = 0: "
        f"{rise}",
        why or (f"in stress, not judged: {other}" if other else ""),
        draw=_draw_weights(values),
    )


def _draw_weights(values: dict[str, list[Interval]]) -> Draw:
    """Energy over that at zeta = 0, against the exponent."""
    places = list(map(float, range(len(WEIGHTS))))
    curves = [
        (preset, places, [Interval(*(e / v[0].value for e in one)) for one in v])
        for preset, v in values.items()
    ]
    inner = draw_curves(curves, "zeta", "energy of a mission over that at zeta = 0")

    def draw(axes: Any) -> None:
        inner(axes)
        axes.set_xticks(places, [f"{z:g}" for z in WEIGHTS])

    return draw


# -------------------------------------------------------------------------- C8d: no compression

SENT_RAW = mission("no_semantic")
PLAIN_RAW = mission("no_semantic", "default")


def _c8d(evidence: Evidence) -> Outcome:
    every = (HMAP, SENT_RAW, PLAIN, PLAIN_RAW)
    done = [evidence.value(one, COMPLETED) for one in every]
    lost = stats.paired_difference(
        evidence.sample(HMAP, COMPLETED), evidence.sample(SENT_RAW, COMPLETED)
    )
    failures = evidence.value(SENT_RAW, "failures")
    holds, why = verdict(
        [
            Finding(failures.low > 0.0, f"failed links of a mission: {failures}"),
            Finding(lost.low > 0.0, f"missions completed by H-MAP less no_semantic: {lost}"),
        ]
    )
    labels = ("hmap, stress", "no_semantic, stress", "hmap, default", "no_semantic, default")
    return Outcome(
        holds,
        f"completed missions of {', '.join(labels)}: {listed(done, 3)}; failed links of a mission "
        f"in stress without compression {failures}",
        why,
        draw=draw_bars(list(labels), done, "share of missions completed, N = 10"),
    )


CLAIMS: dict[str, Claim] = {
    "C8": Claim(
        "C8",
        "[notes: what others tell of the companion]",
        "H-MAP aggregates for less energy than a topology by distance or at random.",
        "stress, N=10: mission energy at most that of distance_based and of random_topology",
        (HMAP, GREEDY, DISTANCE, RANDOM, PLAIN, PLAIN_DISTANCE, PLAIN_RANDOM),
        _c8,
    ),
    "C8b": Claim(
        "C8b",
        "[notes]",
        "The energy of a mission grows with the number of agents.",
        "default and stress: rises from N=4 to 12 at every step",
        tuple(one for plays in BY_SIZE.values() for one in plays),
        _c8b,
    ),
    "C8c": Claim(
        "C8c",
        "[notes]",
        "A mis-set weight zeta of the potential field costs energy.",
        "default: over zeta = 0 and 1e-16 to 1e-12 the energy is U-shaped, or flat and then rising",
        tuple(one for plays in BY_WEIGHT.values() for one in plays),
        _c8c,
    ),
    "C8d": Claim(
        "C8d",
        "[notes]",
        "Without semantic compression deadlines are missed under stress.",
        "stress, N=10: links fail, and fewer missions are completed than with it (intervals)",
        (HMAP, SENT_RAW, PLAIN, PLAIN_RAW),
        _c8d,
    ),
}
