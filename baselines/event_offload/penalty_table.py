"""A table over SNR by the penalty method: the paper's algorithm as a policy (dossier 3.5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.event_offload.design import Design
from sixgym.baselines.event_offload.penalty import STARTS, SoftProblem, solve_penalty
from sixgym.envs.event_offload.lookup import NO_OFFLOAD
from sixgym.envs.event_offload.tables import OperatingPoints

Floats = NDArray[np.float64]

SNAP = 0.03
"""How far the feasible grid pair may lie from the end of the method."""
STEP_CELLS = 6
"""Cells of SNR, of half a decibel, for each run of the method. [our choice: three decibels]"""


def soft_problem(design: Design, offload_j: float) -> SoftProblem:
    """The smoothed problem of a channel state on the calibration split.

    Args:
        design: of the system.
        offload_j: E_off in J.
    """
    p, pool = design.params, design.pool
    part = pool.part(design.split)
    ok = np.ones(len(pool.y)) if design.objective == "tpr" else pool.ok(p.server_mode)
    return SoftProblem(
        pool.conf[part].astype(np.float64),
        pool.tail[part],
        np.asarray(ok, dtype=np.float64)[part],
        prevalence=design.prevalence,
        macs=pool.macs,
        energy_per_mac=p.energy_per_mac_j,
        offload_energy=offload_j,
        budget=design.budget_j,
        final=p.final_rule,
    )


def snap(
    design: Design, points: OperatingPoints, pair: Floats, offload_j: float, reach: float = SNAP
) -> Floats | None:
    """The feasible grid pair with the best hard value within ``reach`` of a pair; None if none.

    Args:
        design: of the system.
        points: all pairs of the grid, within the constraint on the share of offloads.
        pair: (2,) where the method ended.
        offload_j: E_off in J.
        reach: in each threshold.
    """
    near = (np.abs(points.low - pair[0]) <= reach) & (np.abs(points.high - pair[1]) <= reach)
    energy = design.energy(points, np.array([offload_j]))[0]
    value = np.where(near & (energy <= design.budget_j), design.value(points), -np.inf)
    best = int(value.argmax())
    if not np.isfinite(value[best]):
        return None
    return np.array([points.low[best], points.high[best]], dtype=np.float64)


def penalty_pairs(design: Design, step: int = STEP_CELLS) -> Floats:
    """(cells, 2) pairs by the method, (1, 1) where the snap finds nothing feasible.

    The method runs at the lower end of every ``step``-th cell, from the three starts until one of
    them finds something, then from its last end, which is feasible at a higher SNR; in the cells
    between, that end is snapped anew, so that every cell's pair keeps the cell's own budget.

    Args:
        design: of the system.
        step: cells for each run.
    """
    points = design.allowed(design.table.at(design.prevalence))
    worst = design.cells.worst_j
    pairs = np.tile(np.array(NO_OFFLOAD), (len(worst), 1))
    end: Floats | None = None
    for first in range(0, len(worst), step):
        problem = soft_problem(design, float(worst[first]))
        starts = STARTS if end is None else ((float(end[0]), float(end[1])),)
        found = [solve_penalty(problem, start) for start in starts]
        # Feasible ends before others, then the larger smooth value.
        best = min(found, key=lambda r: (r.soft.excess > _SLACK_MJ, r.soft.value))
        feasible = best.soft.excess <= _SLACK_MJ and best.soft.value < -_NOTHING
        end = best.pair if feasible else None
        for cell in range(first, min(first + step, len(worst))):
            snapped = snap(design, points, best.pair, float(worst[cell]))
            if snapped is not None:
                pairs[cell] = snapped
    return pairs


_NOTHING = 1e-3
"""A smooth value below this is the bad local optimum (1, 1)."""
_SLACK_MJ = 0.02
"""Excess of the smooth energy below which an end counts as feasible: the penalty leaves some."""
