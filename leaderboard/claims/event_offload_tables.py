"""What the exact claims about event offloading count on: tables of the shipped traces.

All counts are over the full traces (calibration and test events together), as those of the dossier,
so nothing here is sampled: numbers are exact for these events. What a policy achieves on events
that it was not chosen on is judged by plays.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.event_offload.design import Design
from sixgym.envs.event_offload.lookup import ROUNDING
from sixgym.envs.event_offload.params import EventOffloadParams
from sixgym.envs.event_offload.scores import TraceName, named_pool
from sixgym.envs.event_offload.tables import (
    OperatingPoints,
    ThresholdTable,
    single_threshold,
    tabulate,
    terminal,
)

Floats = NDArray[np.float64]

SNRS_DB = np.linspace(-5.0, 20.0, 11)
"""SNRs of the sweeps: -5 to 20 dB in steps of 2.5."""
BUDGETS_J = (4e-3, 5e-3, 6.5e-3, 8e-3, 10e-3)
"""Energy budgets per event of the sweeps; the second is the default."""
BUDGET_J = 5e-3
SHARES = np.linspace(0.0, 1.0, 201)
"""Limits on the share of offloaded events."""


class Setting(NamedTuple):
    """Traces, rule at the last exit, and prevalence."""

    scores: TraceName = "digits38"
    rule: str | float = "head"
    prevalence: float = 0.1

    def __str__(self) -> str:
        return f"{self.scores} {self.rule} pi={self.prevalence:g}"


DEFAULT = Setting()


class Families(NamedTuple):
    """The operating points of three ways to detect."""

    dual: OperatingPoints
    """All pairs of the grid."""
    single: OperatingPoints
    """Coupled pairs (1 - tau, tau)."""
    last: OperatingPoints
    """Terminal detection, one threshold on the last score."""


@cache
def design() -> Design:
    """The default system with its full traces."""
    return Design(EventOffloadParams.create(split="all"))


@cache
def table_of(scores: TraceName, rule: str | float) -> ThresholdTable:
    """The counts of every pair."""
    return tabulate(named_pool(scores), "all", design().params.grid_points, rule)


@cache
def families(setting: Setting) -> Families:
    """All three ways in a setting."""
    table = table_of(setting.scores, setting.rule)
    pi = setting.prevalence
    return Families(
        table.at(pi), single_threshold(table, pi), terminal(named_pool(setting.scores), pi, "all")
    )


def offload_j(snr_db: Floats) -> Floats:
    """E_off at SNRs in dB, J."""
    return design().offload_j(10.0 ** (np.asarray(snr_db, dtype=np.float64) / 10.0))


def within_budget(points: OperatingPoints, budget_j: float, snr_db: Floats) -> Floats:
    """(SNRs,) best f_acc with e <= budget at each SNR; 0 where nothing is feasible."""
    energy = points.energy(design().params.energy_per_mac_j, offload_j(snr_db))
    kept = energy <= budget_j * (1.0 + ROUNDING)
    return np.asarray(np.where(kept, points.f_acc, 0.0).max(1))


def within_share(points: OperatingPoints, shares: Floats) -> Floats:
    """(shares,) best f_acc with P_off <= share, whatever the energy."""
    order = np.argsort(points.p_off, kind="stable")
    best = np.maximum.accumulate(points.f_acc[order])
    count = np.searchsorted(points.p_off[order], shares + ROUNDING, side="right")
    return np.where(count > 0, best[np.maximum(count - 1, 0)], 0.0)
