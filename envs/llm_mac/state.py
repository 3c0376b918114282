"""The state of a batch of rows."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

LOG_SLOTS = 24
"""Slots that the picture remembers."""


class MacState(NamedTuple):
    """All that matters at the beginning of a slot; N seats for users. Of empty seats all zero."""

    agent_id: Tensor
    """(rows, N) int64: number of the user on each seat, -1 where nobody sits."""
    q: Tensor
    """(rows, N) int64: packets in the buffer."""
    d: Tensor
    """(rows, N) int64: 1 where the base station already has the packet at the head."""
    a: Tensor
    """(rows, N) int64: physical action of the last slot."""
    u: Tensor
    """(rows, N) int64: uplink message of the last slot."""
    m: Tensor
    """(rows, N) int64: downlink message of the last slot."""
    o: Tensor
    """(rows,) int64: what the base station saw of the last slot, see `codes`."""
    slot: Tensor
    """(rows,) int64: index t of the coming slot."""
    next_id: Tensor
    """(rows,) int64: number of the next user who joins."""
    age: Tensor
    """(rows, N) int64: slots R in which the user took part."""
    delivered: Tensor
    """(rows, N) int64: its distinct packets D that were decoded."""
    generated: Tensor
    """(rows, N) int64: its packets G that arrived, dropped ones included."""
    arrived: Tensor
    """(rows, N, B) int16: slots of arrival of the packets, a ring; (rows, N, 0) if saturated."""
    head: Tensor
    """(rows, N) int64: where in the ring the packet at the head of the buffer is."""
    gone: Tensor
    """(rows, 2, 3): of users who left, the sums of 1, x and x^2 that Jain's two indices need."""
    jain: Tensor
    """(rows, 2): Jain's index of rates, and of rates over demand, up to the last slot."""
    offset: Tensor
    """(rows,) int64: slot of the trace at which the episode began; 0 without a trace."""
    coin: Tensor
    """(rows, c) uniform for a fixed base station's choice in the coming slot; c is 0 without."""
    past_user: Tensor
    """(rows, N, k * F) float32: what users saw in the last k slots, newest first."""
    past_seat: Tensor
    """(rows, N, k * G) float32: what the base station saw of each seat."""
    past_cell: Tensor
    """(rows, k * 4) float32: what it saw of the cell."""
    log: Tensor
    """(rows, LOG_SLOTS, N) int16: the last slots for the picture, see `scene`."""

    @property
    def here(self) -> Tensor:
        """(rows, N) bool: the seats that are taken."""
        return self.agent_id >= 0
