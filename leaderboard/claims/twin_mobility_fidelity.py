"""The claim of twin synchronisation about fidelity: C5; ages 0, every point the same rounds."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.instances import instance
from sixgym.baselines.twin_mobility.matching import match, members, propose
from sixgym.baselines.twin_mobility.regions import best_refresh, goals, group_sums, levels
from sixgym.baselines.twin_mobility.tables import tabulate
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
    percent,
    solved,
    trend,
)
from sixgym.leaderboard.claims.twin_mobility_sweeps import error_bars, told_medians
from sixgym.leaderboard.protocol import VERSION
from sixgym.leaderboard.stats import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# ---------------------------------------------------------------------------------- C5: fidelity

FIDELITIES = (0.80, 0.85, 0.90, 0.95)
DRIFTS = (0.02, 0.03, 0.04, 0.05, 0.06)
NEVER_HIGHER = 1e-9
FORMULA = 1e-6
"""How far the fidelity may lie from the interior formula."""


class Slack(NamedTuple):
    """Regions whose requirement does not bind, with their groups kept."""

    fidelity: Floats
    """(drifts, regions of all rows)."""
    off: Floats
    """The same: distance to 1 - lambda / (omega dI/dT), with any growth between those just after
    and just before the best time."""


@cache
def required(rows: int = ROWS) -> list[Solved]:
    """The sweep over the requirement, the same for all regions."""
    return [solved(rows=rows, fidelity_range=(f, f), **AGES_ZERO) for f in FIDELITIES]


@cache
def slack(rows: int = ROWS) -> Slack:
    """The best fidelity of every region at several drifts, without a requirement.

    Groups are those of the matching at the default, with an even split of the band.
    """
    params = TwinRoundParams.create(**AGES_ZERO)
    problem = instance(params, rows, row_seed("evaluation", VERSION))
    band = torch.full_like(problem.cpu_max_flops, params.bandwidth_hz / problem.num_agents)
    here, goal = levels(problem, tabulate(problem, band, params)), goals(problem)
    movable = torch.ones_like(band, dtype=torch.bool)
    start = propose(here, goal, movable, params)
    found = match(here, goal, start, movable, params)
    sums = group_sums(here, members(found.assignment, problem.num_regions))
    reached = (sums[..., 0, -1] > 0.0).flatten()
    fidelity, off = [], []
    for drift in DRIFTS:
        free = goal._replace(
            drift=torch.full_like(goal.drift, drift), theta=torch.full_like(goal.theta, 1e-6)
        )
        best = best_refresh(sums, free, here.time_s, params)
        seen = 1.0 - (-best.info).exp()
        after, before = growth_around(sums, best.time_s, here.time_s)
        low, high = (
            (1.0 - drift / (params.omega * growth)).clamp_min(0.0) for growth in (after, before)
        )
        distance = torch.maximum(low - seen, seen - high).clamp_min(0.0)
        fidelity.append(seen.flatten()[reached])
        off.append(distance.flatten()[reached])
    return Slack(torch.stack(fidelity).numpy(), torch.stack(off).numpy())


def growth_around(sums: Tensor, when: Tensor, time_s: Tensor) -> tuple[Tensor, Tensor]:
    """Growth of information just after and just before times (...), nat/s.

    It is linear between two times of the grid, and infinite before one at which something jumps.

    Args:
        sums: (..., 2, T) at the times, and just before them.
        when: (...) s.
        time_s: (T,) s, evenly spaced.
    """
    now, early = sums.unbind(-2)
    step, last = float(time_s[1] - time_s[0]), time_s.numel() - 1

    def slope(index: Tensor, end: Tensor) -> Tensor:
        """From so many steps on, to the value at the next."""
        start = index.clamp(0, last)
        low = now.gather(-1, start.unsqueeze(-1)).squeeze(-1)
        next_one = (index + 1).clamp(0, last)
        high = end.gather(-1, next_one.unsqueeze(-1)).squeeze(-1)
        return torch.where(index < 0, high, high - low) / step

    def jumps(index: Tensor) -> Tensor:
        """Whether something begins to be told at a time of the grid."""
        here = index.clamp(0, last).unsqueeze(-1)
        return (early.gather(-1, here) < now.gather(-1, here)).squeeze(-1)

    place = when / step - 1.0
    near = place.round()
    at_node = (place - near).abs() < 1e-6
    segment, node = place.floor().long(), near.long()
    inside = slope(segment, early)
    after = torch.where(at_node, slope(node, early), inside)
    before = torch.where(at_node, slope(node - 1, now), inside)
    before = torch.where(at_node & jumps(node), torch.inf, before)
    return after, before


def looking_longer(every: list[Solved], free: Slack) -> list[Finding]:
    """Whether a higher requirement costs, and a faster process is looked at less closely."""
    gamma = np.stack([s.gamma[common(every)] for s in every])
    rise = float(np.diff(free.fidelity, axis=0).max())
    off = float(free.off.max())
    return [
        trend("log largest deviation", np.log(gamma), FIDELITIES, rises=True),
        medians("largest deviation", gamma, rises=True),
        Finding(rise <= NEVER_HIGHER, f"a region's fidelity rises with its drift by {rise:.3g}"),
        trend("fidelity without requirement", free.fidelity, DRIFTS, rises=False),
        Finding(off <= FORMULA, f"a fidelity is {off:.3g} from the interior formula"),
    ]


def _c5(evidence: Evidence) -> Outcome:
    every, free = required(), slack()
    holds, why = verdict(looking_longer(every, free))
    kept = common(every)
    gamma = np.stack([s.gamma[kept] for s in every])
    values, seen = [geometric(v) for v in gamma], [mean_of(v) for v in free.fidelity]
    return Outcome(
        holds,
        f"required fidelity {', '.join(f'{f:.2f}' for f in FIDELITIES)}, {int(kept.sum())} of "
        f"{ROWS} rounds that all solve: median largest deviation {told_medians(gamma)}, geometric "
        f"mean {listed(values, 3)}; solved {percent([feasible(s) for s in every])}. Without "
        f"requirement, {free.fidelity.shape[1]} regions, drift "
        f"{', '.join(f'{d:g}' for d in DRIFTS)} 1/s: best fidelity {listed(seen, 3)}; off the "
        f"interior formula {free.off.max():.2g} at most",
        why,
        draw=_draw_fidelity(values, seen),
    )


def _draw_fidelity(values: list[Interval], seen: list[Interval]) -> Draw:
    """The price of a requirement, and in a corner the fidelity without one."""

    def draw(axes: Axes) -> None:
        error_bars(axes, FIDELITIES, values, "", "C0o-")
        axes.set_xlabel("required fidelity of all regions")
        axes.set_ylabel("largest deviation, geometric mean")
        inner = axes.inset_axes((0.12, 0.60, 0.36, 0.34))
        error_bars(inner, DRIFTS, seen, "", "C1s-")
        inner.set_xlabel("drift (1/s)", fontsize=7)
        inner.set_ylabel("fidelity", fontsize=7)
        inner.set_title("no requirement", fontsize=7)
        inner.tick_params(labelsize=7)

    return draw


CLAIMS: dict[str, Claim] = {
    "C5": Claim(
        "C5",
        "[ours; interior formula: derived]",
        "Fidelity costs freshness: a higher requirement raises the largest deviation, and where "
        "it does not bind a faster process is sensed less closely.",
        f"F_min .80 to .95: the largest deviation rises; without requirement no region's fidelity "
        f"rises with its drift, the mean falls, and each is 1 - lambda / (omega dI/dT), within "
        f"{FORMULA:g}, with a growth between those just after and just before",
        (),
        _c5,
    ),
}
