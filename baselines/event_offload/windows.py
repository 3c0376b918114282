"""Several devices with known windows of events and one server: the comparison of dossier 3.7.

Here the events of a window are given and only the server is short (no channel, no energy), as in
FREDI. So the split by an exact knapsack, which no allocation of the environment makes, can be
compared with the two-stage design.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.event_offload.devices import (
    Response,
    alternate,
    exact_fair,
    exact_sum,
    fair_value,
    fredi_bound,
    response,
    two_stage,
    utilities,
)
from sixgym.envs.event_offload.scores import EventPool
from sixgym.envs.event_offload.tables import tabulate

Floats = NDArray[np.float64]


def draw_window(
    pool: EventPool, tails: int, heads: int, generator: np.random.Generator
) -> EventPool:
    """A window of different events of a pool.

    Args:
        pool: where they come from.
        tails: tail events.
        heads: head events.
        generator: draws them.
    """
    groups = (np.flatnonzero(pool.tail), tails), (np.flatnonzero(~pool.tail), heads)
    index = np.concatenate([generator.choice(g, n, replace=False) for g, n in groups])
    return EventPool(
        pool.conf[index], pool.server[index], pool.y[index], pool.split[index], pool.macs
    )


def window_response(window: EventPool, grid: int = 201) -> Response:
    """What a device makes of r offloads of its window: most tails found, V(r).

    Args:
        window: its events.
        grid: points of the thresholds.
    """
    table = tabulate(window, "all", grid)
    low, high = table.pairs
    tails, heads = int(window.tail.sum()), int((~window.tail).sum())
    found = table.tpr[low, high]
    load = np.rint(found * tails + table.fpr[low, high] * heads).astype(np.int64)
    return response(found, load, tails + heads)


class Split(NamedTuple):
    """What one way of splitting comes to."""

    fair: float
    """Sum of rho ln U."""
    jain: float
    total: float
    """Sum of U."""


class Comparison(NamedTuple):
    """All ways on the same windows."""

    two_stage: Split
    exact: Split
    max_sum: Split
    alternating: Split
    bound: float
    """FREDI's bound on what two-stage loses."""


def compare(responses: list[Response], capacity: int) -> Comparison:
    """Split the server's capacity in all ways, with equal weights.

    Args:
        responses: of the devices.
        capacity: W, offloads of a window.
    """
    weight = np.ones(len(responses))

    def judge(units: NDArray[np.int64]) -> Split:
        u = utilities(responses, units)
        return Split(
            fair_value(u, weight), float(u.sum() ** 2 / (len(u) * (u @ u))), float(u.sum())
        )

    staged = two_stage(responses, weight, capacity)
    return Comparison(
        judge(staged),
        judge(exact_fair(responses, weight, capacity)),
        judge(exact_sum(responses, capacity)),
        judge(alternate(responses, weight, capacity)),
        fredi_bound(responses, weight, staged),
    )
