"""Tables of expectations on the device: what a pair of thresholds does on average.

They say whether a pair keeps the budget of a slot, and replace sampling in the mode of
expectations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sixgym.envs.event_offload.link import Channel
from sixgym.envs.event_offload.params import EventOffloadBaseParams
from sixgym.envs.event_offload.scores import EventPool, Split
from sixgym.envs.event_offload.state import SPLITS
from sixgym.envs.event_offload.tables import ThresholdTable, tabulate

TOLERANCE = 1e-6
"""Relative tolerance of the budget of a slot."""
DESIGN: dict[str, Split] = {"calib": "calib", "test": "calib", "all": "all"}
"""The part whose table a designer of thresholds knows, for each part that events come from."""


class Rates(NamedTuple):
    """What a pair does on average; probabilities, all (rows,)."""

    tpr: Tensor
    """P(declared tail or offloaded | tail)."""
    fpr: Tensor
    acc: Tensor
    """P(found and named right | tail)."""
    fpr_final: Tensor
    """P(called tail at the end | head)."""
    off_tail: Tensor
    """P(offload asked for | tail)."""
    off_head: Tensor
    mac_tail: Tensor
    """Mean multiply-accumulates of a tail event."""
    mac_head: Tensor


def table_of(pool: EventPool, split: Split, params: EventOffloadBaseParams) -> ThresholdTable:
    """The table of a part of the pool under a system's rule; cached."""
    return tabulate(
        pool,
        split,
        params.grid_points,
        params.final_rule,
        params.server_mode,
        params.semantics,
    )


class Budget:
    """Whether pairs keep the budget of a slot: e(beta; gamma) <= xi and P_off <= p_max.

    e = E_loc + P_off E_off(gamma) at the pair rounded to the grid, by the table of the designer's
    part and the stationary prevalence; E_loc alone in outage.

    Args:
        pool: the events.
        params: of the system.
        dtype: of the tables.
        device: of the tables.
    """

    def __init__(
        self,
        pool: EventPool,
        params: EventOffloadBaseParams,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        pi = params.stationary_prevalence
        tables = [table_of(pool, DESIGN[split], params) for split in SPLITS]
        local = [params.energy_per_mac_j * t.mac(pi) for t in tables]
        share = [t.p_off(pi) for t in tables]
        both = np.stack([np.stack(local), np.stack(share)], -1)
        self._table = torch.from_numpy(np.nan_to_num(both).reshape(-1, 2)).to(device, dtype)
        self._size = params.grid_points
        self._limit = params.budget_j * (1.0 + TOLERANCE)
        self._most = params.max_offload_share + TOLERANCE

    def expected(self, split: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """E_loc (J) and P_off of pairs, (rows,) each; see `is_kept`."""
        cell = cell_of(low, high, self._size) + split.to(torch.int64) * self._size**2
        local, share = self._table[cell].unbind(-1)
        return local, share

    def is_kept(self, split: Tensor, low: Tensor, high: Tensor, channel: Channel) -> Tensor:
        """(rows,) bool.

        Args:
            split: (rows,) part of the traces, an index of `SPLITS`.
            low: (rows,) beta_l.
            high: (rows,) beta_u.
            channel: of the slot.
        """
        local, share = self.expected(split, low, high)
        energy = local + share * channel.offload_j * channel.is_up
        return (energy <= self._limit) & (share <= self._most)


class Expectation:
    """The rates of pairs for every part, and the share of requests that is served.

    Args:
        pool: the events.
        params: of the system.
        dtype: of the tables.
        device: of the tables.
    """

    def __init__(
        self,
        pool: EventPool,
        params: EventOffloadBaseParams,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        tables = [table_of(pool, split, params) for split in SPLITS]
        stacked = np.stack([np.stack([getattr(t, f) for f in Rates._fields], -1) for t in tables])
        flat = np.nan_to_num(stacked).reshape(-1, len(Rates._fields))
        self._table = torch.from_numpy(flat).to(device, dtype)
        self._size, self._events = params.grid_points, params.num_events
        count = torch.arange(self._events + 1, dtype=torch.float64)
        full = torch.tensor(float(self._events), dtype=torch.float64)
        ways = torch.lgamma(full + 1) - torch.lgamma(count + 1) - torch.lgamma(full - count + 1)
        self._count, self._ways = count.to(device, dtype), ways.to(device, dtype)

    def rates(self, split: Tensor, low: Tensor, high: Tensor) -> Rates:
        """The rates at the nearest grid pairs; arguments as `Budget.is_kept`."""
        cell = cell_of(low, high, self._size) + split.to(torch.int64) * self._size**2
        return Rates(*self._table[cell].unbind(-1))

    def served(self, share: Tensor, fit: Tensor) -> Tensor:
        """E[min(Bin(M, p), K)] / (M p): the share of requests served; 1 where K >= M.

        Args:
            share: (rows,) p, probability that an event asks to be offloaded.
            fit: (rows,) K, how many fit.
        """
        p = share.clamp(1e-12, 1.0 - 1e-7).unsqueeze(-1)
        log_chance = self._ways + self._count * p.log()
        log_chance = log_chance + (self._events - self._count) * torch.log1p(-p)
        count = torch.minimum(self._count, fit.unsqueeze(-1))
        mean = (log_chance.exp() * count).sum(-1) / (self._events * p.squeeze(-1))
        return torch.where(fit >= self._events, torch.ones_like(mean), mean.clamp(0.0, 1.0))


def cell_of(low: Tensor, high: Tensor, size: int) -> Tensor:
    """(rows,) int64 place of the nearest grid pair in a flat (size, size) table."""
    row, column = (torch.round(b * (size - 1)).to(torch.int64) for b in (low, high))
    return row * size + column


def score_quantiles(
    pool: EventPool, prevalences: tuple[float, ...], levels: tuple[float, ...]
) -> list[list[list[float]]]:
    """Quantiles of the exit-1 scores of a stream, by part of the traces and state of the labels.

    Args:
        pool: the events.
        prevalences: P(tail) of each state.
        levels: the quantiles' levels in (0, 1).
    """
    result = []
    for split in SPLITS:
        part = pool.part(split)
        score, tail = pool.conf[part, 0].astype(np.float64), pool.tail[part]
        order = np.argsort(score)
        by_state = []
        for share in prevalences:
            weight = np.where(tail, share / tail.sum(), (1.0 - share) / (~tail).sum())[order]
            place = np.cumsum(weight) - weight / 2.0
            by_state.append([float(np.interp(q, place, score[order])) for q in levels])
        result.append(by_state)
    return result
