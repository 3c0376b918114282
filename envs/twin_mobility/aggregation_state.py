"""The state of a batch of rows of `sixgym/AgentAggregation-v0`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

IDLE, GAVE, TOOK, FAILED_GIVING, FAILED_TAKING = range(5)
"""What an agent did in the last round."""
MOVE, COMPUTE, SEND = range(3)
"""Columns of `AggregationState.spent_j`."""


class AggregationState(NamedTuple):
    """State of a batch of rows; tensors of floats are of the system's dtype."""

    disc: Tensor
    """(rows, N, 3) x and y of the centre of each patrol disc and its radius, m."""
    union_cells: Tensor
    """(rows, 2^N) cells of the union of every set of discs, see `aggregation_areas`."""
    position: Tensor
    """(rows, N, 2) m."""
    payload_bit: Tensor
    """(rows, N) L; 0 of who has handed over."""
    redundancy: Tensor
    """(rows, N) rho of the load; 1 at the start."""
    sources: Tensor
    """(rows, N) int64: whose knowledge the payload holds, agent i being bit i; 0 of who has handed
    over, so that the sets of a row are always a partition of all agents."""
    round: Tensor
    """(rows,) int64 rounds played."""
    jaccard: Tensor
    """(rows, N, N) of the accumulated areas; 0 with who has handed over."""
    spent_j: Tensor
    """(rows, N, 3) energy of each agent in this episode: moving, computing, sending."""
    before: Tensor
    """(rows, N, 2) position before the last round."""
    partner: Tensor
    """(rows, N) int64 partner of the last round, -1 for none."""
    deed: Tensor
    """(rows, N) int64 what was done in the last round: `IDLE` to `FAILED_TAKING`."""
    last_j: Tensor
    """(rows, N) energy of the last round."""

    @property
    def active(self) -> Tensor:
        """(rows, N) bool: has not handed over."""
        return self.sources > 0

    @property
    def num_active(self) -> Tensor:
        """(rows,) int64."""
        return self.active.sum(1)

    @property
    def centre(self) -> Tensor:
        """(rows, N, 2) m."""
        return self.disc[..., :2]

    @property
    def radius(self) -> Tensor:
        """(rows, N) m."""
        return self.disc[..., 2]

    def num_sources(self) -> Tensor:
        """(rows, N) int64 how many agents' knowledge the payload holds."""
        bit = torch.arange(self.sources.shape[1], device=self.sources.device)
        return ((self.sources.unsqueeze(-1) >> bit) & 1).sum(-1)
