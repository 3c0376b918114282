"""The table of baselines of ``sixgym/EventOffload-v0``.

All choose thresholds on the calibration split. Schemes that no pair of thresholds expresses act in
a variant of the same world, and say so: ``always_local`` and ``terminal`` under another rule at the
last exit, ``always_offload`` and ``genie`` on a device that computes for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.event_offload.adaptive import BeliefPrice, OnlineLookup
from sixgym.baselines.event_offload.average import AveragePlan, best_fixed, solve_average
from sixgym.baselines.event_offload.battery import battery_bounds, staircase
from sixgym.baselines.event_offload.design import Design, design_of
from sixgym.baselines.event_offload.penalty_table import penalty_pairs
from sixgym.baselines.event_offload.policies import (
    BatteryPolicy,
    CellTable,
    FixedPair,
    SnrTable,
)
from sixgym.baselines.policy import Baseline, Kind, Sees
from sixgym.envs.event_offload.lookup import LookupTable
from sixgym.envs.event_offload.tables import OperatingPoints, single_threshold, upper_threshold

if TYPE_CHECKING:
    from sixgym.envs.core.rollout import Policy
    from sixgym.envs.core.system import System

Floats = NDArray[np.float64]

ID = "sixgym/EventOffload-v0"

BATTERY_STATES = 12
"""Equally likely channel states of the programme of ``battery_dp``. [our choice]"""
BATTERY_LEVELS = 20
"""Levels of a slot's share of the battery: J = 20 T (dossier 3.4)."""


def _lookup(design: Design, name: str) -> Policy:
    table = design.table.at(design.prevalence)
    return SnrTable(LookupTable.build(table, design.params, objective=design.objective), name)


def _family(members: Callable[[Design], OperatingPoints]) -> Callable[[Design, str], Policy]:
    """A look-up table over SNR among the pairs of a family."""

    def make(design: Design, name: str) -> Policy:
        return CellTable(design.cells, design.per_cell(members(design)), name)

    return make


def _single(design: Design) -> OperatingPoints:
    return single_threshold(design.table, design.prevalence)


def _upper(design: Design) -> OperatingPoints:
    return upper_threshold(design.table, design.prevalence)


def _genie(design: Design, name: str) -> Policy:
    """Half is the score above which the perfect detector puts tails, 3/4 those named right."""
    if getattr(design.params, "budget_mode", "slot") == "slot":
        return _lookup(design, name)
    best = 0.5 if design.objective == "tpr" else 0.75
    return FixedPair(best, best, name)


def _pair(low: float, high: float) -> Callable[[Design, str], Policy]:
    return lambda design, name: FixedPair(low, high, name)


def _fixed(*, everywhere: bool) -> Callable[[Design, str], Policy]:
    """The best single pair within the budget in every state but outage, or on average."""

    def make(design: Design, name: str) -> Policy:
        points = design.points
        value, energy, chance = average_problem(design, points, drops=not everywhere)
        best = best_fixed(value, energy, chance, design.budget_j, everywhere=everywhere)
        if best is None:
            return FixedPair(1.0, 1.0, name)
        return FixedPair(float(points.low[best]), float(points.high[best]), name)

    return make


def average_problem(
    design: Design, points: OperatingPoints, *, drops: bool = True
) -> tuple[Floats, Floats, Floats]:
    """The programme of an average budget over the cells of SNR and outage.

    Args:
        design: of the system.
        points: (points,) to choose from.
        drops: whether requests beyond the capacity of a slot are dropped, and then cost nothing;
            else energies are those of a budget in each slot, at the lower end of a cell.

    Returns:
        Value and energy, (cells + 1, points), and probabilities, (cells + 1,); outage is last.
    """
    cells = design.cells
    if drops:
        share = design.served_share(points)
        local = design.params.energy_per_mac_j * points.mac
        energy = local + share * points.p_off * cells.mean_j[:, None]
    else:
        share = np.ones((len(cells.edge_db), 1))
        energy = design.energy(points, cells.worst_j)
    value = share * design.value(points)
    none = np.zeros((1, len(points.low)))
    local_only = design.params.energy_per_mac_j * points.mac[None]
    outage = 1.0 - cells.probability.sum()
    return (
        np.concatenate([np.broadcast_to(value, energy.shape), none]),
        np.concatenate([energy, local_only]),
        np.append(cells.probability, outage),
    )


def average_plan(design: Design) -> AveragePlan:
    """The optimum of the average budget; the cheapest plan where the budget is too small."""
    value, energy, chance = average_problem(design, design.points)
    least = float(chance @ energy.min(1))
    return solve_average(value, energy, chance, max(design.budget_j, least * (1.0 + 1e-9)))


def _lagrangian(design: Design, name: str) -> Policy:
    plan = average_plan(design)
    low, high = design.points.low.astype(np.float64), design.points.high.astype(np.float64)
    pairs = np.stack([low, high], 1)
    chance = np.where(plan.lean != plan.rich, plan.weight, 0.0)[:-1]
    lean, rich = pairs[plan.lean[:-1]], pairs[plan.rich[:-1]]
    return CellTable(design.cells, lean, name, others=rich, chance=chance)


def _random_offload(design: Design, name: str) -> Policy:
    first = design.params.energy_per_mac_j * float(design.pool.macs[0])
    room = np.maximum(design.budget_j - first, 0.0)
    chance = np.minimum(1.0, room / design.cells.worst_j)
    chance = np.minimum(chance, design.params.max_offload_share)
    none = np.ones((len(chance), 2))
    return CellTable(design.cells, none, name, others=none * 0.0, chance=chance)


def _battery(design: Design, name: str) -> Policy:
    p, points = design.params, design.points
    offload, chance = design.quantile_states(BATTERY_STATES)
    value = np.where(np.isfinite(offload)[:, None], design.value(points), 0.0)
    plan, _ = battery_bounds(
        value,
        design.energy(points, offload),
        chance,
        budget=design.budget_j,
        slots=p.horizon_slots,
        levels_per_slot=BATTERY_LEVELS,
        least_energy=p.energy_per_mac_j * float(design.pool.macs[0]),
    )
    level = design.budget_j / BATTERY_LEVELS
    stairs = staircase(
        design.value(points), design.energy(points, design.cells.mean_j), level, "up"
    )
    pairs = np.stack([points.low, points.high], 1).astype(np.float64)
    return BatteryPolicy(design.cells, stairs, plan, pairs, p.horizon_slots, name)


def _online(design: Design, name: str) -> Policy:
    return OnlineLookup(design, name)


def _belief(design: Design, name: str) -> Policy:
    return BeliefPrice(design, name)


def _penalty(design: Design, name: str) -> Policy:
    return CellTable(design.cells, penalty_pairs(design), name)


def _entry(
    name: str,
    kind: Kind,
    description: str,
    make: Callable[[Design, str], Policy],
    sees: Sees = "observation",
    **params: Any,
) -> Baseline:
    """A baseline that acts by pairs of thresholds."""

    def build(system: System[Any, Any]) -> Policy:
        return make(design_of(system), name)

    kwargs = {"action_mode": "thresholds", "observation": "full", **params}
    return Baseline(name, build, sees, kind, description, None, kwargs)


_TABLE = (
    _entry(
        "lookup",
        "reference",
        "The best pair for each SNR within the budget, looked up: the paper's policy, exact.",
        _lookup,
    ),
    _entry(
        "online",
        "heuristic",
        "As lookup, at a prevalence re-estimated from the tails that the server confirmed.",
        _online,
    ),
    _entry(
        "ippp",
        "heuristic",
        "Pairs for each SNR by the proximal-point penalty method, snapped to the feasible grid.",
        _penalty,
    ),
    _entry(
        "lagrangian_lp",
        "reference",
        "The optimum of a budget on average for independent labels, under such a budget.",
        _lagrangian,
        budget_mode="average",
    ),
    _entry(
        "battery_dp",
        "reference",
        "Spends a battery by dynamic programming over time, level and SNR, with a battery.",
        _battery,
        budget_mode="battery",
    ),
    _entry(
        "belief_price",
        "heuristic",
        "Prices a battery by what is left of it and weighs slots by the belief of a burst.",
        _belief,
        budget_mode="battery",
    ),
    _entry(
        "single_threshold",
        "heuristic",
        "The best coupled pair (1 - tau, tau) for each SNR within the budget.",
        _family(_single),
    ),
    _entry(
        "single_upper",
        "heuristic",
        "The best upper threshold for each SNR within the budget; the lower one is 0.",
        _family(_upper),
    ),
    _entry(
        "fixed_dual_slot",
        "heuristic",
        "The best single pair that keeps the budget at every SNR without outage.",
        _fixed(everywhere=True),
    ),
    _entry(
        "fixed_dual_average",
        "heuristic",
        "The best single pair that keeps the budget on average, under such a budget.",
        _fixed(everywhere=False),
        budget_mode="average",
    ),
    _entry(
        "terminal",
        "heuristic",
        "The whole network for every event, tail above a last score of 0.5.",
        _pair(0.0, 1.0),
        final_rule=0.5,
    ),
    _entry(
        "always_local",
        "heuristic",
        "The whole network for every event, tail above 0.5, closed on the device: no uplink.",
        _pair(0.0, 1.0),
        final_rule=0.5,
        semantics="local_only",
    ),
    _entry("no_offload", "heuristic", "The pair (1, 1): sends nothing, exit 1.", _pair(1.0, 1.0)),
    _entry(
        "always_offload",
        "heuristic",
        "Sends everything, computes nothing: the pair (0, 0) on a device that computes for free.",
        _pair(0.0, 0.0),
        energy_per_mac_j=0.0,
    ),
    _entry(
        "genie",
        "bound",
        "Knows each event and the server's answer: offloads exactly the tails that will be named "
        "right, within budget and capacity, computing nothing.",
        _genie,
        "oracle",
        detector="perfect",
        energy_per_mac_j=0.0,
    ),
    _entry(
        "random_offload",
        "random",
        "After exit 1 all events of a slot or none, by a coin that meets the budget on average.",
        _random_offload,
        budget_mode="average",
    ),
)

BASELINES: dict[str, Baseline] = {entry.name: entry for entry in _TABLE}
"""Baselines of `sixgym/EventOffload-v0`."""
