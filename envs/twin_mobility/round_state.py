"""The state of a batch of rows of `sixgym/TwinRound-v0`."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class RoundState(NamedTuple):
    """State of a batch of rows at the beginning of a round."""

    round: Tensor
    """(rows,) rounds played; a float."""
    time_s: Tensor
    """(rows,) time since the beginning."""

    # agents and twins
    position: Tensor
    """(rows, agents, 2) m."""
    battery_j: Tensor
    """(rows, agents) J; 0 of a dead agent."""
    age_s: Tensor
    """(rows, regions) age Delta of the twins."""
    twin_info: Tensor
    """(rows, regions) information of the last update, nat."""
    fading: Tensor
    """(rows, agents) power factor of the coming round; (rows, 0) without fading."""

    # what an episode holds fixed
    kappa: Tensor
    """(rows, agents, regions) information rates, nat/s."""
    cpu_max: Tensor
    """(rows, agents) FLOP/s."""
    drawn_bits: Tensor
    """(rows, agents) raw bits of every look, with ``raw_mode`` fixed; (rows, 0) otherwise."""
    shadow: Tensor
    """(rows, agents, regions) shadowing as a power gain; (rows, 0, regions) without."""
    centre: Tensor
    """(rows, regions, 2) m."""
    drift: Tensor
    """(rows, regions) lambda, 1/s."""
    theta: Tensor
    """(rows, regions) required information, nat."""

    # the last round, for the picture
    origin: Tensor
    """(rows, agents, 2) m: where the agents set out."""
    sensed_at: Tensor
    """(rows, agents, 2) m: where they sensed; their place if they stayed."""
    target: Tensor
    """(rows, agents) int64: region that they went to, or `NOWHERE`."""
    delivered: Tensor
    """(rows, agents) bool."""
    stage_s: Tensor
    """(rows, agents, 5) times of the stages; 0 of who stayed."""
    stage_j: Tensor
    """(rows, agents, 5) energies of the stages, J."""
    refreshed: Tensor
    """(rows, regions) bool."""
    score: Tensor
    """(rows, regions)."""
