"""The best pair of thresholds for every channel state: the paper's table over SNR.

The thresholds are found beforehand for a grid of SNRs; at run time the observed SNR is rounded down
to the grid and the pair is read off [paper as summarised by third-party notes]. Here the pair is
the exact optimum over all pairs of a `ThresholdTable`. With a budget for every slot and
independent labels no policy does better on the events that the table was made from.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from sixgym.envs.event_offload.link import Link, LinkParams
from sixgym.envs.event_offload.tables import Floats, Integers, OperatingPoints, Singles

Objective = Literal["f_acc", "tpr"]

SNR_GRID_DB: Floats = np.linspace(-10.0, 30.0, 81)
"""SNRs of a table [our choice]: every half decibel."""
ROUNDING = 1e-12
"""Values, offload shares and computation (as a share of the whole network's) closer than this are
equal: what differs is the order of a sum."""
SNR_TOLERANCE_DB = 1e-6
"""A float32 SNR this close below a grid point is that point; energies differ by less than 3e-7."""
NO_OFFLOAD = (1.0, 1.0)
"""The pair at which every event leaves as head at the first exit."""

ACTION_BUDGETS = (0.7, 1.0, 1.4)
"""Budgets, relative to xi, of the pairs in `action_pairs` [our choice]."""
ACTION_SNR_DB: Floats = np.linspace(-5.0, 20.0, 21)
"""SNRs of the pairs in `action_pairs` [our choice]."""


class LookupParams(LinkParams, Protocol):
    """The parameters that decide a table, beside the points."""

    @property
    def energy_per_mac_j(self) -> float: ...  # noqa: D102

    @property
    def budget_j(self) -> float: ...  # noqa: D102

    @property
    def max_offload_share(self) -> float: ...  # noqa: D102


def prune(points: OperatingPoints, objective: Objective = "f_acc") -> OperatingPoints:
    """The points that no other one beats in computation, offloads and value at once.

    Energy grows in computation and in offloads, so the optimum of every channel state, budget and
    offload limit is among them [derived]. Of points equal in all three the one with the highest F1
    stays. They come in order of offloads, then computation: the first of equally good ones wins
    ties as FREDI orders them [related: arXiv 2609.15847].

    Args:
        points: any points.
        objective: the value, f_acc or tpr.
    """
    value, p_off, mac = _rounded(points, objective)
    order = np.lexsort((-points.f1, -value, mac, p_off))
    # Kept points so far as a staircase: computation and value both increase along it.
    steps: list[float] = []
    values: list[float] = []
    kept: list[int] = []
    for k in order:
        m, v = float(mac[k]), float(value[k])
        place = bisect.bisect_right(steps, m)
        if place > 0 and values[place - 1] >= v:
            continue
        kept.append(int(k))
        start = bisect.bisect_left(steps, m)
        end = bisect.bisect_right(values, v, lo=start)
        steps[start:end] = [m]
        values[start:end] = [v]
    return points.take(np.array(kept, np.int64))


def _rounded(points: OperatingPoints, objective: Objective) -> tuple[Floats, Floats, Floats]:
    """Value, offload share and computation (relative), rounded so that equals are equal."""
    value = points.f_acc if objective == "f_acc" else points.tpr
    whole = max(float(points.mac.max()), 1e-300)
    decimals = round(-np.log10(ROUNDING))
    return (
        np.round(value, decimals),
        np.round(points.p_off, decimals),
        np.round(points.mac / whole, decimals),
    )


@dataclass(frozen=True, eq=False)
class Choice:
    """The best point of every channel state."""

    index: Integers
    """(states,) into the points; the point of least energy where none is feasible."""
    feasible: NDArray[np.bool_]
    """(states,) whether a point meets budget and offload limit."""


def best_points(
    points: OperatingPoints,
    offload_energy_j: Floats,
    params: LookupParams,
    objective: Objective = "f_acc",
) -> Choice:
    """The best value subject to e <= xi and P_off <= p_max, for every channel state.

    Ties go to fewer offloads, then less computation, then the higher F1. The capacity of a slot
    has no part in it: e counts what is requested.

    Args:
        points: all of a table or, faster, those that `prune` leaves.
        offload_energy_j: (states,) E_off.
        params: kappa, xi and p_max.
        objective: f_acc or tpr.
    """
    value, p_off, mac = _rounded(points, objective)
    order = np.lexsort((-points.f1, mac, p_off))
    ranked = points.take(order)
    energy = ranked.energy(params.energy_per_mac_j, offload_energy_j)
    allowed = energy <= params.budget_j * (1.0 + ROUNDING)
    allowed &= ranked.p_off <= params.max_offload_share + ROUNDING
    best = np.where(allowed, value[order], -1.0).argmax(axis=1)
    feasible = allowed.any(axis=1)
    best = np.where(feasible, best, energy.argmin(axis=1))
    return Choice(order[best].astype(np.int64), np.asarray(feasible))


@dataclass(frozen=True, eq=False)
class LookupTable:
    """The best pair at every SNR of a grid, and what it is expected to achieve there."""

    snr_db: Floats
    """(H,) increasing."""
    low: Singles
    """(H,) lower thresholds."""
    high: Singles
    """(H,) upper thresholds."""
    f_acc: Floats
    """(H,) 0 where infeasible."""
    tpr: Floats
    """(H,)"""
    p_off: Floats
    """(H,) probability of an offload."""
    mac: Floats
    """(H,) mean multiply-accumulates per event."""
    energy_j: Floats
    """(H,) expected energy per event e at the grid's SNR, J."""
    infeasible: NDArray[np.bool_]
    """(H,) whether not even the pair (1, 1) meets the budget; the pair is (1, 1) then."""
    min_snr: float
    """Below this SNR (linear) there is no uplink, and the pair is (1, 1)."""

    @classmethod
    def build(
        cls,
        points: OperatingPoints,
        params: LookupParams,
        snr_grid_db: Floats = SNR_GRID_DB,
        objective: Objective = "f_acc",
    ) -> LookupTable:
        """Solve every SNR of a grid exactly.

        Args:
            points: of a table at the prevalence that the designer assumes.
            params: channel, energy model, budget xi and offload limit p_max.
            snr_grid_db: (H,) increasing.
            objective: what is maximised.
        """
        grid = np.asarray(snr_grid_db, np.float64)
        link = Link(params)
        offload_j = _offload_energy(link, grid)
        candidates = prune(points, objective)
        choice = best_points(candidates, offload_j, params, objective)
        chosen = candidates.take(choice.index)
        ok = choice.feasible
        first = points.take(_no_offload(points))
        local_j = params.energy_per_mac_j * first.mac
        energy = params.energy_per_mac_j * chosen.mac + chosen.p_off * offload_j
        return cls(
            grid,
            np.where(ok, chosen.low, first.low),
            np.where(ok, chosen.high, first.high),
            np.where(ok, chosen.f_acc, 0.0),
            np.where(ok, chosen.tpr, 0.0),
            np.where(ok, chosen.p_off, 0.0),
            np.where(ok, chosen.mac, first.mac),
            np.where(ok, energy, local_j),
            ~ok,
            link.min_snr,
        )

    def row(self, snr: Floats) -> Integers:
        """Row of the table for observed SNRs (linear), rounded down; -1: no uplink, or below it.

        Rounding down keeps the budget, since an offload at the true SNR costs less.
        """
        snr = np.asarray(snr, np.float64)
        with np.errstate(divide="ignore"):
            snr_db = 10.0 * np.log10(snr)
        row = np.searchsorted(self.snr_db, snr_db + SNR_TOLERANCE_DB, side="right") - 1
        return np.where(snr >= self.min_snr, row, -1)

    def pair(self, snr: Floats) -> Singles:
        """(*shape, 2) lower and upper threshold for observed SNRs (linear) of any shape."""
        row = self.row(snr)
        pair = np.stack((self.low[row], self.high[row]), axis=-1)
        return np.where((row >= 0)[..., None], pair, np.array(NO_OFFLOAD, np.float32))


def action_pairs(
    points: OperatingPoints, params: LookupParams, objective: Objective = "f_acc"
) -> Singles:
    """The 64 pairs of the discrete actions, (64, 2): (1, 1), then lookup pairs.

    They are the optima of three budgets, each at 21 SNRs; (1, 1) where nothing is feasible
    [our choice].
    """
    candidates = prune(points, objective)
    offload_j = _offload_energy(Link(params), ACTION_SNR_DB)
    rows = [np.array([NO_OFFLOAD], np.float32)]
    for share in ACTION_BUDGETS:
        choice = best_points(candidates, offload_j, _Budget(params, share), objective)
        chosen = candidates.take(choice.index)
        pair = np.stack((chosen.low, chosen.high), axis=1)
        rows.append(np.where(choice.feasible[:, None], pair, rows[0]))
    return np.concatenate(rows)


class _Budget:
    """The parameters with a share of the budget."""

    def __init__(self, params: LookupParams, share: float) -> None:
        self.bandwidth_hz = params.bandwidth_hz
        self.transmit_power_w = params.transmit_power_w
        self.payload_bits = params.payload_bits
        self.deadline_s = params.deadline_s
        self.slot_s = params.slot_s
        self.energy_per_mac_j = params.energy_per_mac_j
        self.max_offload_share = params.max_offload_share
        self.budget_j = share * params.budget_j


def _offload_energy(link: Link, snr_db: Floats) -> Floats:
    snr = torch.as_tensor(10.0 ** (snr_db / 10.0), dtype=torch.float64)
    return np.asarray(link.offload_energy_j(snr).numpy())


def _no_offload(points: OperatingPoints) -> Integers:
    """Index (1,) of the pair (1, 1)."""
    return np.flatnonzero((points.low == 1.0) & (points.high == 1.0))[:1]
