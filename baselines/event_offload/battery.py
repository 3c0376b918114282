"""One battery for an episode: backward dynamic programming with bounds on both sides (dossier 3.4).

The battery is cut into levels of ``M xi / levels_per_slot``. Rounding what a slot takes *up* to
levels gives a policy that really is feasible, hence a lower bound of the optimum; rounding *down*
gives an upper bound (of which the average-budget optimum is another). [derived]

The bounds treat the energy of a slot as its expectation: they are exact for the environment's
``expected`` mode and tight, not exact, for sampled events.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Staircase(NamedTuple):
    """The best value for each number of levels, with everything dominated removed.

    Rows are padded at the end with an amount that is never affordable.
    """

    levels: Ints
    """(states, steps) taken from the battery, ascending."""
    value: Floats
    """(states, steps) ascending."""
    point: Ints
    """(states, steps) the operating point."""


class BatteryPlan(NamedTuple):
    """Value to go of every slot and level."""

    to_go: Floats
    """(slots + 1, levels + 1): before the channel of slot t is known; row ``slots`` is zero."""
    stairs: Staircase
    least: int
    """Levels below which an episode ends: one slot of exit-1 passes."""
    value: float
    """Value of a full battery per slot."""


def staircase(
    value: Floats, slot_energy: Floats, level_j: float, rounding: Literal["up", "down"]
) -> Staircase:
    """What each amount of energy buys in each channel state.

    Args:
        value: (points,) or (states, points) value of a slot.
        slot_energy: (states, points) energy of a slot in J.
        level_j: one level in J.
        rounding: of energy to levels.
    """
    # A relative 1e-9: an energy of exactly n levels is n levels whatever the last bit says.
    ratio = slot_energy / level_j
    up, down = np.ceil(ratio * (1.0 - 1e-9)), np.floor(ratio * (1.0 + 1e-9))
    amount = up if rounding == "up" else down
    values = np.broadcast_to(value, slot_energy.shape)
    rows = [_climb(amount[h].astype(np.int64), values[h]) for h in range(len(slot_energy))]
    steps = max(len(row[0]) for row in rows)
    never = np.iinfo(np.int64).max // 2
    levels = np.full((len(rows), steps), never, dtype=np.int64)
    best = np.full((len(rows), steps), -np.inf)
    point = np.zeros((len(rows), steps), dtype=np.int64)
    for h, (n, f, k) in enumerate(rows):
        levels[h, : len(n)], best[h, : len(n)], point[h, : len(n)] = n, f, k
    return Staircase(levels, best, point)


def _climb(amount: Ints, value: Floats) -> tuple[Ints, Floats, Ints]:
    """Points that are worth more than all cheaper ones, by amount."""
    order = np.lexsort((-value, amount))
    before = np.concatenate([[-np.inf], np.maximum.accumulate(value[order])[:-1]])
    kept = order[value[order] > before]
    return amount[kept], value[kept], kept.astype(np.int64)


def solve_battery(
    stairs: Staircase, probability: Floats, *, slots: int, levels: int, least: int
) -> BatteryPlan:
    """The value to go by backward induction, channel states independent between slots.

    V_t(j, h) = max_n f_h(n) + sum_h' p_h' V_{t+1}(j - n, h'), and zero once j < least or when
    nothing is affordable.

    Args:
        stairs: what a slot offers.
        probability: (states,).
        slots: T.
        levels: of the full battery.
        least: levels needed to go on.
    """
    to_go = np.zeros((slots + 1, levels + 1))
    states, steps = stairs.levels.shape
    for t in range(slots - 1, -1, -1):
        later = to_go[t + 1]
        for h in range(states):
            here = np.zeros(levels + 1)
            for i in range(steps):
                n = int(stairs.levels[h, i])
                if n > levels:
                    break
                np.maximum(here[n:], stairs.value[h, i] + later[: levels + 1 - n], out=here[n:])
            here[:least] = 0.0
            to_go[t] += probability[h] * here
    return BatteryPlan(to_go, stairs, least, float(to_go[0, levels] / slots))


def battery_bounds(
    value: Floats,
    energy: Floats,
    probability: Floats,
    *,
    budget: float,
    slots: int,
    levels_per_slot: int,
    least_energy: float,
) -> tuple[BatteryPlan, BatteryPlan]:
    """Plans that bound the optimum from below and above; value per slot in ``value``.

    Args:
        value: (points,) or (states, points) f of a slot.
        energy: (states, points) J per event.
        probability: (states,).
        budget: xi, J per event; the battery holds ``slots`` times as much per event of a slot.
        slots: T.
        levels_per_slot: levels into which a slot's share of the battery is cut.
        least_energy: kappa c_1, J per event, below which an episode ends.
    """
    level = budget / levels_per_slot
    size = slots * levels_per_slot
    plans = []
    for rounding in ("up", "down"):
        stairs = staircase(value, energy, level, "up" if rounding == "up" else "down")
        need = least_energy / level
        least = int(np.ceil(need * (1.0 - 1e-9)) if rounding == "up" else np.floor(need))
        plan = solve_battery(stairs, probability, slots=slots, levels=size, least=least)
        plans.append(plan)
    return plans[0], plans[1]
