"""The typed state of a batch of rows.

Few tensors on purpose: at one row a step costs a few microseconds for every tensor that goes in and
out of it. The tuples below are the columns of one of them by name.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Link(NamedTuple):
    """Network and price of the coming slot; all (rows,)."""

    regime: Tensor
    """Index of `REGIMES`; -1 in a trace."""
    jitter_b: Tensor
    """x of ln B = ln B_r + x."""
    jitter_r: Tensor
    """y of ln R = ln R_r + y."""
    bandwidth: Tensor
    """B, Mbit/s."""
    rtt: Tensor
    """R, s."""
    seen_bandwidth: Tensor
    """B as measured, Mbit/s."""
    seen_rtt: Tensor
    """R as measured, s."""
    price_mult: Tensor
    """m, schedule and constant factor together."""
    price_state: Tensor
    """Pricing tou: the phase in slots; surge: 1 in a surge; else 0."""
    trace_row: Tensor
    """Row of the trace at slot 0."""
    held_bandwidth: Tensor
    """Bandwidth that an option of the reset holds for the episode, Mbit/s; -1 where none."""
    held_rtt: Tensor
    """The same of the RTT, s."""
    held_price: Tensor
    """The same of the price multiplier."""


class Mind(NamedTuple):
    """What edge agent, scorer and buffer are; all (rows,)."""

    kappa: Tensor
    """Edge skill kappa: the difficulty at which it succeeds half the time. Hidden."""
    kappa_rm: Tensor
    """Skill when the scorer was last refitted. Hidden."""
    bias: Tensor
    """Bias b of the scorer, logits. Hidden."""
    schema: Tensor
    """Probability that a draft is schema-valid. Hidden."""
    samples: Tensor
    """Effective samples N learned from or waiting to be. Hidden."""
    kept: Tensor
    """Samples kept in the buffer so far (visible)."""
    fresh: Tensor
    """Of these, since the last update (visible)."""
    updates: Tensor
    """Updates so far."""
    drift: Tensor
    """Drift D from the supervised prior, nat."""
    training: Tensor
    """Slots in which training will still take compute, the coming one included."""
    since_refresh: Tensor
    """Slots since the scorer was refitted (or the start)."""


class Desk(NamedTuple):
    """Clock, queue and what the edge remembers of the answers; all (rows,)."""

    slot: Tensor
    """Slot t, 0 first."""
    arrived: Tensor
    """Requests K_t of the coming slot."""
    backlog: Tensor
    """Backlog b of the edge, s of work."""
    agreed: Tensor
    """Moving average of "draft and cloud agree" over offloaded requests."""
    tau: Tensor
    """Last threshold; -1 before the first, and where requests are decided one by one."""
    place: Tensor
    """Request i of the slot, 0 first (one request a step), else 0."""
    sent: Tensor
    """Requests offloaded so far in this slot (one request a step), else 0."""
    matched: Tensor
    """Of these, those whose draft and answer agree."""
    edge_before: Tensor
    """Requests that used the edge in the slot before (one request a step), else 0."""


_LINK, _MIND = len(Link._fields), len(Mind._fields)
NUM_VITALS = _LINK + _MIND + len(Desk._fields)


def pack(link: Link, mind: Mind, desk: Desk) -> Tensor:
    """(rows, 33) the columns side by side."""
    return torch.stack([*link, *mind, *desk], 1)


class _Vitals:
    """Columns of `vitals` by name."""

    vitals: Tensor

    @property
    def link(self) -> Link:
        """Network and price of the coming slot."""
        return Link(*self.vitals[:, :_LINK].unbind(1))

    @property
    def mind(self) -> Mind:
        """Edge agent, scorer and buffer."""
        return Mind(*self.vitals[:, _LINK : _LINK + _MIND].unbind(1))

    @property
    def desk(self) -> Desk:
        """Clock, queue and memory of answers."""
        return Desk(*self.vitals[:, _LINK + _MIND :].unbind(1))


class _SlotFields(NamedTuple):
    vitals: Tensor
    requests: Tensor
    shown: Tensor


class SlotState(_Vitals, _SlotFields):
    """State where a step is a slot.

    Attributes:
        vitals: (rows, 33) see `Link`, `Mind` and `Desk`.
        requests: (rows, columns, width) the coming slot's requests, see `Requests`.
        shown: (rows, 3, width) of the last slot, for the picture: score, difficulty, `fate`.
    """

    __slots__ = ()


class _RouteFields(NamedTuple):
    key: Tensor
    vitals: Tensor
    requests: Tensor
    shown: Tensor


class RouteState(_Vitals, _RouteFields):
    """State where a step is a request.

    Attributes:
        key: (rows,) int64 key of the episode: the world goes by slots and requests, not by steps.
        vitals: (rows, 33) see `Link`, `Mind` and `Desk`.
        requests: (rows, columns, 1) the request to decide, see `Requests`.
        shown: (rows, 3, K) the last K decided requests, for the picture; as of `SlotState`.
    """

    __slots__ = ()
