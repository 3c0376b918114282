"""Policies that follow bursts: they estimate the present prevalence from what the server confirms.

A table of thresholds is fixed; when the labels come in bursts the prevalence is not. The counted
tables do not depend on it, so a new estimate costs one more look-up (dossier Q6).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.event_offload.average import solve_average
from sixgym.baselines.event_offload.design import Design
from sixgym.baselines.event_offload.policies import (
    BATTERY,
    CONFIRMED,
    TIME_LEFT,
    Singles,
    is_up,
    no_offload_in_outage,
    snr_db_of,
)
from sixgym.baselines.generic import rows_of
from sixgym.envs.event_offload.lookup import prune
from sixgym.envs.event_offload.tables import OperatingPoints

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PREVALENCES = np.geomspace(0.005, 0.6, 13)
"""Estimates are rounded to these. [our choice]"""
RATIOS = np.geomspace(0.05, 8.0, 25)
"""Rates of spending, relative to the budget, for which prices are solved. [our choice]"""
PRICE_STATES = 16
"""Equally likely channel states in the programmes that give the prices. [our choice]"""
MEMORY = 0.9
"""Of the environment's moving average of confirmed tails."""
_TRUST = 0.1
"""An estimate from less than this share of the stream is not used."""


class Rates(NamedTuple):
    """What the server confirms of a pair's offloads, by label."""

    tail: Floats
    """P(offloaded and called tail | tail)."""
    head: Floats
    """P(offloaded and called tail | head)."""


class Menu:
    """Pairs by estimated prevalence, cell of SNR, and a third index.

    Args:
        pairs: (prevalences, cells, thirds, 2) thresholds.
        rates: (prevalences, cells, thirds) of the pairs, with the share that a slot has room for.
    """

    def __init__(self, pairs: Floats, rates: Rates) -> None:
        self.pairs, self.rates = pairs, rates

    def at(self, prevalence: Floats, cell: Ints, third: Ints) -> tuple[Floats, Rates]:
        """(rows, 2) pairs and their rates."""
        which = (nearest(np.log(PREVALENCES), np.log(prevalence)), cell, third)
        return self.pairs[which], Rates(self.rates.tail[which], self.rates.head[which])


def nearest(grid: Floats, values: Floats) -> Ints:
    """Index of the nearest grid point of each value; the grid ascends."""
    return np.searchsorted(0.5 * (grid[1:] + grid[:-1]), values).astype(np.int64)


def lookup_menu(design: Design) -> Menu:
    """The lookup table at each prevalence, (1, 1) where nothing is feasible.

    With a budget in every slot a pair must also keep it at the long-run prevalence, by which the
    environment judges.
    """
    usual = design.table.at(design.prevalence)
    judged = getattr(design.params, "budget_mode", "slot") == "slot"
    order = np.lexsort((-usual.f1, usual.mac, usual.p_off))
    value = np.round(design.value(usual), 12)[order]
    by_usual = design.energy(usual, design.cells.worst_j)
    found = []
    for prevalence in PREVALENCES:
        points = design.table.at(float(prevalence))
        energy = design.energy(points, design.cells.worst_j)
        energy = np.maximum(energy, by_usual) if judged else energy
        kept = energy <= design.budget_j * (1.0 + 1e-12)
        kept &= points.p_off <= design.params.max_offload_share * (1.0 + 1e-12)
        best = order[np.where(kept[:, order], value, -1.0).argmax(1)]
        index = np.where(kept.any(1), best, -1).astype(np.int64)
        found.append((points, index[:, None]))
    return _assemble(design, found)


def price_menu(design: Design, prices: Floats) -> Menu:
    """The best pair at each prevalence, cell and price, argmax f pi' / pi - price e.

    Args:
        design: of the system.
        prices: (prices,) of energy, 1/J.
    """
    found = []
    for prevalence in PREVALENCES:
        points = design.allowed(prune(design.table.at(float(prevalence)), design.objective))
        value = design.value(points) * float(prevalence / design.prevalence)
        energy = design.energy(points, design.cells.mean_j)
        columns = [(value - price * energy).argmax(1) for price in prices]
        found.append((points, np.stack(columns, 1).astype(np.int64)))
    return _assemble(design, found)


def _assemble(design: Design, found: list[tuple[OperatingPoints, Ints]]) -> Menu:
    table = design.table
    pairs, tail, head = [], [], []
    for points, index in found:
        chosen = np.maximum(index, 0)
        pair = np.stack([points.low[chosen], points.high[chosen]], -1).astype(np.float64)
        pair = np.where((index >= 0)[..., None], pair, 1.0)
        low, high = table.nearest(pair[..., 0]), table.nearest(pair[..., 1])
        share = np.maximum(points.p_off[chosen], 1e-9) * design.params.num_events
        room = np.minimum(1.0, design.cells.capacity[:, None] / share)
        pairs.append(pair)
        tail.append(table.acc[low, high] * room)
        head.append(table.fpr_final[low, high] * room)
    return Menu(np.stack(pairs), Rates(np.stack(tail), np.stack(head)))


# ------------------------------------------------------------------------------- moving average


class OnlineLookup:
    """The lookup table at a prevalence re-estimated from the confirmed tails (item 7).

    The moving average of confirmed tails is divided by what the pairs in use would confirm, the
    same average of the tables' rates. [our choice of the estimator]

    Args:
        design: of the system.
        name: what it is called.
    """

    def __init__(self, design: Design, name: str) -> None:
        self.name = name
        self._design, self._menu = design, lookup_menu(design)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Singles, Floats]:
        """(rows, 2) thresholds; the memory is (rows, 2), the averages of the two rates."""
        rows = rows_of(observation)
        fresh = np.repeat(np.array([[1.0, 0.0]]), rows, axis=0)
        mean = fresh if state is None else state
        if episode_start is not None:
            mean = np.where(np.asarray(episode_start)[:, None], fresh, mean)
        spread = mean[:, 0] - mean[:, 1]
        known = self._design.prevalence
        seen = np.asarray(observation[:, CONFIRMED], dtype=np.float64)
        estimate = (seen - mean[:, 1]) / np.maximum(spread, _TRUST)
        estimate = np.where(spread > _TRUST, estimate, known)
        estimate = np.clip(estimate, PREVALENCES[0], PREVALENCES[-1])
        cell = self._design.cells.of(snr_db_of(observation))
        pairs, rates = self._menu.at(estimate, cell, np.zeros(rows, dtype=np.int64))
        used = np.stack([rates.tail, rates.head], 1) * is_up(observation)[:, None]
        return no_offload_in_outage(observation, pairs), MEMORY * mean + (1.0 - MEMORY) * used


# ------------------------------------------------------------------------------ belief and price


def _chain(design: Design) -> tuple[Floats, float, tuple[float, float]]:
    """Prevalences of calm and burst, the stationary share of bursts, and the chances to turn."""
    p = design.params
    if p.labels == "bursty":
        both = np.array([p.calm_prevalence, p.burst_prevalence])
        return both, p.burst_share, (p.calm_to_burst, p.burst_to_calm)
    return np.full(2, p.prevalence), 0.0, (0.0, 1.0)


def informed_problem(design: Design) -> tuple[Floats, Floats, Floats]:
    """The programme of an average budget for who knows whether there is a burst.

    Its optimum bounds what any policy earns from bursty labels under an average budget or a
    battery, for the expected energy and but for the tables' few channel states. [derived]

    Args:
        design: of the system.

    Returns:
        Value (in units of the reward) and energy in J, (states, points), and probabilities.
    """
    offload, chance = design.quantile_states(PRICE_STATES)
    prevalences, burst, _ = _chain(design)
    up = np.isfinite(offload)[:, None]
    menus = [design.allowed(prune(design.table.at(pi), design.objective)) for pi in prevalences]
    most = max(len(menu.low) for menu in menus)
    value, energy, weight = [], [], []
    for pi, share, menu in zip(prevalences.tolist(), (1.0 - burst, burst), menus, strict=True):
        # Menus of one length: the last point stands several times.
        here = menu.take(np.minimum(np.arange(most), len(menu.low) - 1))
        value.append(np.where(up, pi / design.prevalence * design.value(here), 0.0))
        energy.append(design.energy(here, offload))
        weight.append(share * chance)
    return np.concatenate(value), np.concatenate(energy), np.concatenate(weight)


def _prices(design: Design) -> Floats:
    """(ratios,) the price of each rate of spending, for who knows whether there is a burst."""
    f, e, w = informed_problem(design)
    least = float(w @ e.min(1)) * (1.0 + 1e-6)
    budgets = np.maximum(RATIOS * design.budget_j, least)
    return np.array([solve_average(f, e, w, float(b)).price for b in budgets])


class BeliefPrice:
    """Prices energy by what is left, and weighs each slot by the belief that a burst is on.

    The belief is the exact forward filter of the hidden chain on the counts of confirmed tails,
    recovered from the moving average (item 7). The price is that of an average budget equal to the
    battery left per slot left (certainty equivalence). [our choice]

    Args:
        design: of a system with a battery.
        name: what it is called.
    """

    def __init__(self, design: Design, name: str) -> None:
        self.name = name
        self._design = design
        self._prevalences, self._start, self._turn = _chain(design)
        self._menu = price_menu(design, _prices(design))

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Singles, Floats]:
        """(rows, 2) thresholds.

        The memory is (rows, 4): belief, last item 7, the two rates of the last pair.
        """
        seen = np.asarray(observation, dtype=np.float64)
        rows = len(seen)
        fresh = np.zeros((rows, 4))
        fresh[:, 0], fresh[:, 1] = self._start, seen[:, CONFIRMED]
        if state is None:
            memory = fresh
        else:
            start = np.zeros(rows, bool) if episode_start is None else np.asarray(episode_start)
            memory = np.where(start[:, None], fresh, self._updated(state, seen[:, CONFIRMED]))
        belief = memory[:, 0]
        prevalence = (1.0 - belief) * self._prevalences[0] + belief * self._prevalences[1]
        cell = self._design.cells.of(snr_db_of(observation))
        pairs, rates = self._menu.at(prevalence, cell, self._ratio(seen))
        up = is_up(observation)
        memory = np.stack([belief, seen[:, CONFIRMED], rates.tail * up, rates.head * up], 1)
        return no_offload_in_outage(observation, pairs), memory

    def _ratio(self, seen: Floats) -> Ints:
        """(rows,) index of the rate of spending."""
        ratio = seen[:, BATTERY] / np.maximum(seen[:, TIME_LEFT], 1e-3)
        return nearest(np.log(RATIOS), np.log(np.maximum(ratio, 1e-6)))

    def _updated(self, memory: Floats, confirmed: Floats) -> Floats:
        """One step of the forward filter: the count of the last slot, then the chain's move."""
        events = self._design.params.num_events
        new = (confirmed - MEMORY * memory[:, 1]) / (1.0 - MEMORY)
        count = np.clip(np.rint(new * events), 0, events)
        tail, head = memory[:, 2], memory[:, 3]
        chance = [
            np.clip(pi * tail + (1.0 - pi) * head, 1e-9, 1 - 1e-9) for pi in self._prevalences
        ]
        log_odds = count * np.log(chance[1] / chance[0])
        log_odds += (events - count) * np.log((1.0 - chance[1]) / (1.0 - chance[0]))
        prior = np.clip(memory[:, 0], 1e-9, 1.0 - 1e-9)
        odds = np.log(prior / (1.0 - prior)) + log_odds
        belief = 1.0 / (1.0 + np.exp(-np.clip(odds, -40.0, 40.0)))
        moved = belief * (1.0 - self._turn[1]) + (1.0 - belief) * self._turn[0]
        return np.concatenate([moved[:, None], memory[:, 1:]], 1)
