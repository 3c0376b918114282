"""Claims of twin synchronisation that all assignments decide: C6 and C7."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np

from sixgym.baselines.twin_mobility.exact import brute_force, brute_force_shared
from sixgym.baselines.twin_mobility.instances import instance
from sixgym.baselines.twin_mobility.matching import (
    balanced,
    deviations,
    match,
    match_best,
    propose,
)
from sixgym.baselines.twin_mobility.problem import Problem
from sixgym.baselines.twin_mobility.regions import BIG
from sixgym.envs.core.worlds import row_seed
from sixgym.envs.twin_mobility.round_params import TwinRoundParams
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome
from sixgym.leaderboard.claims.rules import Finding, draw_bars, draw_curves, verdict
from sixgym.leaderboard.claims.twin_mobility_solved import (
    ROWS,
    Flags,
    Floats,
    anyone,
    geometric,
    mean_of,
    percent,
    tabled,
)
from sixgym.leaderboard.protocol import VERSION

# ------------------------------------------------------------------------------- C6: cooperation

SIZES = (4, 5, 6, 7, 8)
SIZE_ROWS = 32
NEVER_WORSE = 1e-9


def first_agents(problem: Problem, count: int) -> Problem:
    """The same rounds with the first agents only."""
    return problem._replace(
        pos=problem.pos[:, :count],
        kappa=problem.kappa[:, :count],
        cpu_max_flops=problem.cpu_max_flops[:, :count],
        energy_j=problem.energy_j[:, :count],
    )


@cache
def exact_by_size(rows: int = SIZE_ROWS, sizes: tuple[int, ...] = SIZES) -> Floats:
    """(sizes, rows) least largest deviation of nested rounds of 4 regions."""
    params = TwinRoundParams.create(num_agents=max(sizes))
    problem = instance(params, rows, row_seed("evaluation", VERSION))
    found = [brute_force_shared(first_agents(problem, n), params).gamma.numpy() for n in sizes]
    return np.stack(found)


def never_worse(gamma: Floats) -> Finding:
    """Whether (sizes, rows) deviations rise nowhere."""
    worst = float(np.diff(gamma, axis=0).max())
    return Finding(worst <= NEVER_WORSE, f"an agent more raises the least deviation by {worst:.3g}")


def _c6(evidence: Evidence) -> Outcome:
    gamma = exact_by_size()
    holds, why = verdict([never_worse(gamma)])
    shares = [mean_of((row < BIG).astype(np.float64)) for row in gamma]
    served = (gamma < BIG).all(0)
    values = [geometric(row[served]) for row in gamma]
    steps = [f"{geometric((b / a)[(a < BIG) & (b < BIG)]).value:.3f}" for a, b in pairwise(gamma)]
    return Outcome(
        holds,
        f"{SIZE_ROWS} rounds, the first N={', '.join(map(str, SIZES))} agents: all assignments "
        f"searched, largest change by an agent more {np.diff(gamma, axis=0).max():+.2g}; solved "
        f"{percent(shares)}; factor of an agent more where solved without it {', '.join(steps)}; "
        f"geometric means on the {int(served.sum())} rounds that all solve "
        f"{', '.join(map(str, values))}",
        why,
        draw=draw_curves(
            [
                (f"geometric mean, {int(served.sum())} rounds that all solve", SIZES, values),
                ("share of rounds solved", SIZES, shares),
            ],
            "agents N of nested rounds, 4 regions",
            "least largest deviation; share",
        ),
    )


# --------------------------------------------------------------------------- C7: matching quality

SHAPES = ((6, 3), (8, 4))
"""Agents and regions; the first is judged."""
EXACT_SHARE, MEAN_GAP = 0.80, 0.03
SAME = 1e-9


@cache
def gaps(agents: int, regions: int, rows: int = ROWS) -> dict[str, Floats]:
    """(rows that have a solution,) largest deviation over the least of all assignments, less 1."""
    table = tabled(agents, regions, rows)
    movable = anyone(table)
    least = brute_force(table.levels, table.goal, table.params).gamma
    own = propose(table.levels, table.goal, movable, table.params)
    starts = [own, *balanced(agents, regions)]
    where = table.levels, table.goal
    found = {
        "matching": match_best(*where, starts, movable, table.params).deviation,
        "one start": match(*where, own, movable, table.params).deviation,
        "proposal": deviations(*where, own, table.params),
    }
    kept = least < BIG
    return {
        name: np.asarray((item.amax(-1) / least - 1.0)[kept].numpy())
        for name, item in found.items()
    }


def is_exact(gap: Floats) -> Flags:
    """Which are the least."""
    return gap <= SAME


def near_optimal(gap: Floats) -> list[Finding]:
    """Whether most are exact and the mean is near; what is left unsolved counts as it is."""
    share, mean = is_exact(gap).mean(), gap.mean()
    return [
        Finding(share >= EXACT_SHARE, f"{share:.0%} exact"),
        Finding(mean < MEAN_GAP, f"mean gap {mean:.2%}"),
    ]


def _c7(evidence: Evidence) -> Outcome:
    every = {shape: gaps(*shape) for shape in SHAPES}
    holds, why = verdict(near_optimal(every[SHAPES[0]]["matching"]))
    parts, labels, bars = [], [], []
    for (agents, regions), found in every.items():
        size = f"N={agents}, R={regions}"
        for name, gap in found.items():
            share = mean_of(is_exact(gap).astype(np.float64))
            served = gap < 100.0
            stuck = "" if served.all() else f", {int((~served).sum())} left unsolved"
            parts.append(
                f"{size} {name}: exact {share}, gap where solved {mean_of(gap[served])}, worst "
                f"{gap[served].max():.3f}{stuck}"
            )
            labels.append(f"{name}, {size}")
            bars.append(share)
    count = ", ".join(str(len(found["matching"])) for found in every.values())
    return Outcome(
        holds,
        f"{count} rounds that have a solution, of {ROWS} each. {'; '.join(parts)}",
        why,
        draw=draw_bars(labels, bars, "share that is the best of all assignments", EXACT_SHARE),
    )


CLAIMS: dict[str, Claim] = {
    "C6": Claim(
        "C6",
        "[derived]",
        "More agents never do worse when the band is shared by those at work.",
        "nested rounds, idling allowed, all assignments: the least largest deviation does not "
        "increase with N in any round",
        (),
        _c6,
    ),
    "C7": Claim(
        "C7",
        "[ours]",
        "The matching is near the best of all assignments.",
        f"N=6, R=3, even split of the band: at least {EXACT_SHARE:.0%} exact, mean gap below "
        f"{MEAN_GAP:.0%}",
        (),
        _c7,
    ),
}
