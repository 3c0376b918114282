"""What the designer of a policy knows: counted tables of the calibration split, and the uplink.

Thresholds are always chosen on ``calib`` (on ``all`` where the environment itself plays the whole
traces) and never see the events that are played.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sixgym.envs.core.errors import PolicyError
from sixgym.envs.event_offload.link import Link
from sixgym.envs.event_offload.lookup import (
    NO_OFFLOAD,
    SNR_GRID_DB,
    SNR_TOLERANCE_DB,
    Objective,
    best_points,
    prune,
)
from sixgym.envs.event_offload.params import EventOffloadBaseParams
from sixgym.envs.event_offload.scores import EventPool, Split, load_pool
from sixgym.envs.event_offload.tables import OperatingPoints, ThresholdTable, tabulate

if TYPE_CHECKING:
    from sixgym.envs.core.system import System

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Cells(NamedTuple):
    """The SNR cut into cells of half a decibel, outage left out.

    A policy does the same anywhere in a cell; above the grid's end (30 dB) it is in the last.
    """

    edge_db: Floats
    """(cells,) lower ends; the first is the SNR below which nothing can be sent."""
    probability: Floats
    """(cells,) under Rayleigh fading; they sum to one less the outage."""
    worst_j: Floats
    """(cells,) E_off at the lower end, J."""
    mean_j: Floats
    """(cells,) mean E_off in the cell, J."""
    capacity: Ints
    """(cells,) offloads that fit in a slot at the lower end."""

    def of(self, snr_db: Floats) -> Ints:
        """The cell of each SNR, rounded down; those in outage are given the first."""
        found = np.searchsorted(self.edge_db, snr_db + SNR_TOLERANCE_DB, side="right") - 1
        return np.clip(found, 0, len(self.edge_db) - 1).astype(np.int64)


class Design:
    """The tables and the uplink of an event-offloading system.

    Args:
        params: of the system.
    """

    def __init__(self, params: EventOffloadBaseParams) -> None:
        self.params = params
        self.link = Link(params)
        self.prevalence = float(params.stationary_prevalence)
        self.budget_j = params.budget_j

    @property
    def objective(self) -> Objective:
        """What the reward counts."""
        return "tpr" if getattr(self.params, "objective", "f_acc") == "tpr" else "f_acc"

    def value(self, points: OperatingPoints) -> Floats:
        """(points,) f, what the reward counts."""
        return points.tpr if self.objective == "tpr" else points.f_acc

    @property
    def split(self) -> Split:
        """Where thresholds are chosen."""
        return "all" if self.params.split == "all" else "calib"

    @cached_property
    def pool(self) -> EventPool:
        """The events."""
        return load_pool(self.params)

    @cached_property
    def table(self) -> ThresholdTable:
        """Counts of every pair of the grid."""
        p = self.params
        return tabulate(
            self.pool, self.split, p.grid_points, p.final_rule, p.server_mode, p.semantics
        )

    @cached_property
    def points(self) -> OperatingPoints:
        """The pairs worth considering at the long-run prevalence, within ``max_offload_share``."""
        return self.allowed(prune(self.table.at(self.prevalence), self.objective))

    def allowed(self, points: OperatingPoints) -> OperatingPoints:
        """Those points that keep the constraint on the share of offloads."""
        most = self.params.max_offload_share
        return points.take(points.p_off <= most * (1.0 + 1e-9))

    def offload_j(self, snr: Floats) -> Floats:
        """E_off at linear SNRs, J."""
        return offload_energy(self.link, snr)

    def energy(self, points: OperatingPoints, offload_j: Floats) -> Floats:
        """(states, points) e = E_loc + P_off E_off in J; E_loc where E_off is infinite."""
        sent = np.where(np.isfinite(offload_j), offload_j, 0.0)
        return points.energy(self.params.energy_per_mac_j, sent)

    def served_share(self, points: OperatingPoints) -> Floats:
        """(cells, points) E[min(Bin(M, P_off), K_max)] / (M P_off): the share not dropped."""
        events = self.params.num_events
        rooms = np.minimum(self.cells.capacity, events)
        by_room = {int(k): served_share(points.p_off, int(k), events) for k in np.unique(rooms)}
        return np.stack([by_room[int(k)] for k in rooms])

    @cached_property
    def cells(self) -> Cells:
        """Cells of half a decibel of the fading that the system has."""
        return cells_of(self.link, self.params.mean_snr)

    def per_cell(self, points: OperatingPoints) -> Floats:
        """(cells, 2) the best pair of a family within the budget of every cell; else (1, 1)."""
        choice = best_points(points, self.cells.worst_j, self.params, self.objective)
        chosen = points.take(choice.index)
        pairs = np.stack([chosen.low, chosen.high], 1).astype(np.float64)
        return np.where(choice.feasible[:, None], pairs, np.array(NO_OFFLOAD))

    def quantile_states(self, states: int) -> tuple[Floats, Floats]:
        """Equally likely channel states at the mid-quantiles, and then outage.

        Args:
            states: how many of them above outage.

        Returns:
            (states + 1,) E_off in J, infinite for outage, and their probabilities.
        """
        up = np.exp(-self.link.min_snr / self.params.mean_snr)
        share = (np.arange(states) + 0.5) / states
        snr = -self.params.mean_snr * np.log(up * (1.0 - share))
        energy = np.append(self.offload_j(snr), np.inf)
        return energy, np.append(np.full(states, up / states), 1.0 - up)


def cells_of(link: Link, mean_snr: float) -> Cells:
    """Cells of half a decibel above outage, under Rayleigh fading.

    Args:
        link: the uplink.
        mean_snr: linear.
    """
    least_db = 10.0 * np.log10(max(link.min_snr, 1e-12))
    edge_db = np.concatenate([[least_db], SNR_GRID_DB[least_db < SNR_GRID_DB]])
    edge = 10.0 ** (edge_db / 10.0)
    survival = np.exp(-np.append(edge, np.inf) / mean_snr)
    probability = survival[:-1] - survival[1:]
    # Means of E_off by 16 quantiles of the exponential law inside each cell.
    share = (np.arange(16) + 0.5) / 16.0
    inside = survival[:-1, None] - share * probability[:, None]
    snr = -mean_snr * np.log(np.maximum(inside, 1e-300))
    worst, mean = offload_energy(link, edge), offload_energy(link, snr).mean(1)
    # A lower end is meant to be above outage, whatever its last bit says.
    capacity = link.capacity(torch.from_numpy(edge * (1.0 + 1e-9))).numpy()
    return Cells(edge_db, probability, worst, np.minimum(mean, worst), capacity.astype(np.int64))


def offload_energy(link: Link, snr: Floats) -> Floats:
    """E_off at linear SNRs, J."""
    return np.asarray(link.offload_energy_j(torch.from_numpy(np.asarray(snr, np.float64))).numpy())


def served_share(p_off: Floats, room: int, events: int) -> Floats:
    """(points,) E[min(Bin(M, P_off), K)] / (M P_off): the share of requests that is served.

    Args:
        p_off: (points,) probability that an event asks.
        room: K.
        events: M.
    """
    if room >= events:
        return np.ones(len(p_off))
    # E min(X, K) is the sum of P(X > j) over j < K.
    count = np.arange(events + 1)
    ways = np.array([math.comb(events, int(k)) for k in count], dtype=np.float64)
    p = np.clip(p_off, 1e-12, 1.0)[:, None]
    chance = ways * p**count * (1.0 - p) ** (events - count)
    beyond = 1.0 - np.cumsum(chance, 1)[:, :room]
    return np.asarray(np.clip(beyond.sum(1) / (events * p[:, 0]), 0.0, 1.0))


def rayleigh_bins(mean_snr: float, bins: int) -> Floats:
    """(bins,) the mid-quantiles of Rayleigh fading, -gbar ln(1 - (h - 1/2) / H), ascending."""
    return -mean_snr * np.log(1.0 - (np.arange(bins) + 0.5) / bins)


def design_of(system: System[Any, Any]) -> Design:
    """The design of a system; the same object for the same parameters.

    Raises:
        PolicyError: it is not an event-offloading system.
    """
    params = system.params
    if not isinstance(params, EventOffloadBaseParams):
        raise PolicyError(f"{type(system).__name__}: allowed: an event-offloading system")
    return _design(params)


@lru_cache(maxsize=16)
def _design(params: EventOffloadBaseParams) -> Design:
    return Design(params)
