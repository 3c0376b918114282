"""One slot on the shared channel: who sends, what is decoded, what is deleted, what arrives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.backend.rng import Draws
from sixgym.envs.llm_mac.codes import DELETE, IDLE, TRANSMIT, undecodable
from sixgym.envs.llm_mac.params import LlmMacParams
from sixgym.envs.llm_mac.population import Streams
from sixgym.envs.llm_mac.state import MacState

IDLE_SLOT, COLLISION, ERASURE, DUPLICATE, NEW = range(5)
"""What a slot comes to; exactly one."""
OUTCOMES = 5


class Slot(NamedTuple):
    """What happened in a slot."""

    outcome: Tensor
    """(rows,) int64, `IDLE_SLOT` to `NEW`."""
    o: Tensor
    """(rows,) int64: what the base station sees of it."""
    sends: Tensor
    """(rows, N) bool: the set K of those who send."""
    new: Tensor
    """(rows, N) bool: whose packet was decoded for the first time."""
    dup: Tensor
    """(rows, N) bool: whose packet was decoded again."""
    correct: Tensor
    """(rows, N) bool: who deleted a delivered packet."""
    wrong: Tensor
    """(rows, N) bool: who deleted, and so lost, one that was not."""
    arrivals: Tensor
    """(rows, N) int64: packets offered, dropped ones included."""
    dropped: Tensor
    """(rows, N) int64: those that found the buffer full."""
    q: Tensor
    """(rows, N) int64: the buffers afterwards."""
    d: Tensor
    """(rows, N) int64: whether the head is delivered, afterwards."""
    arrived: Tensor
    """(rows, N, B) int16: slots of arrival, afterwards."""
    head: Tensor
    """(rows, N) int64: where in it the heads are, afterwards."""
    delay: Tensor
    """(rows,) int64: slots from arrival to first decoding of the new packet; 0 without one."""


class Channel:
    """The slot of one set of parameters."""

    def __init__(self, params: LlmMacParams, dtype: torch.dtype, device: torch.device) -> None:
        self.params = p = params
        rates = p.of_rows(p.row_tbler, p.tbler)
        self._same = len(set(rates)) == 1
        self._tbler = torch.tensor(rates, dtype=dtype, device=device)
        self._rate = rates[0]
        self._seat = torch.arange(1, p.n_max + 1, device=device)
        self._place = torch.arange(p.buffer_size, device=device)
        self.step_streams: Streams = {}
        if max(rates) > 0.0:
            self.step_streams["channel"] = ("uniform", ())

    def __call__(self, state: MacState, a: Tensor, arrivals: Tensor, noise: Draws) -> Slot:
        """Run one slot.

        Args:
            state: at its beginning; actions are judged by its buffers.
            a: (rows, N) int64 physical actions, `NOTHING` on empty seats.
            arrivals: (rows, N) int64.
            noise: drawn by ``step_streams``.
        """
        p, q = self.params, state.q
        waits, known = q > 0, state.d > 0
        sends = (a == TRANSMIT) & waits
        number = sends.sum(1)
        alone = number == 1
        erased = self._erased(sends, noise)
        decoded = alone if erased is None else alone & ~erased
        heard = sends & decoded.unsqueeze(1)
        new, dup = heard & ~known, heard & known
        deletes = torch.zeros_like(waits) if p.auto_delete else (a == DELETE) & waits
        popped = new if p.auto_delete else deletes
        fresh = new.any(1)
        seen = alone if p.erasure_reveals_id else decoded
        sender = (sends * self._seat).sum(1)
        nothing = torch.where(number == 0, IDLE, undecodable(p.n_max))
        outcome = torch.where(decoded, fresh + DUPLICATE, alone.to(torch.int64) + (number > 0))
        # Not decoded: 0 of nobody, 1 of a collision, 2 of one alone.
        d = torch.zeros_like(q) if p.auto_delete else ((known | new) & ~deletes).to(torch.int64)
        after, offered, dropped = self._buffer(q, popped, arrivals)
        arrived, head, first = self._queue(state, popped, arrivals - dropped)
        return Slot(
            outcome=outcome,
            o=torch.where(seen, sender, nothing),
            sends=sends,
            new=new,
            dup=dup,
            correct=deletes & known,
            wrong=deletes & ~known,
            arrivals=offered,
            dropped=dropped,
            q=after,
            d=d,
            arrived=arrived,
            head=head,
            delay=_delay(state, new, first),
        )

    def _erased(self, sends: Tensor, noise: Draws) -> Tensor | None:
        """(rows,) bool: what a lone sender sends would be erased; None if that never happens."""
        if "channel" not in self.step_streams:
            return None
        if self._same:
            return noise["channel"] < self._rate
        return noise["channel"] < (sends * self._tbler).sum(1)

    def _buffer(self, q: Tensor, popped: Tensor, arrivals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Buffers after a slot, packets offered and packets dropped, (rows, N) int64 each."""
        p = self.params
        if p.traffic == "saturated":
            return q, popped.to(torch.int64), torch.zeros_like(q)
        if p.arrivals_first:
            full = q + arrivals
            held = full.clamp_max(p.buffer_size)
            return held - popped.to(torch.int64), arrivals, full - held
        full = q - popped.to(torch.int64) + arrivals
        held = full.clamp_max(p.buffer_size)
        return held, arrivals, full - held

    def _queue(
        self, state: MacState, popped: Tensor, enters: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Slots of arrival and places of the heads after a slot, and the heads' slots before it.

        Each buffer is a ring that starts at its head. Slots are kept modulo 2^16, see `_delay`.
        """
        p, arrived = self.params, state.arrived
        if p.traffic == "saturated":
            return arrived, state.head, state.slot.unsqueeze(1).to(torch.int16) - 1
        first = arrived.gather(2, state.head.unsqueeze(2)).squeeze(2)
        now = state.slot.to(torch.int16)[:, None, None]
        tail = ((state.head + state.q) % p.buffer_size).unsqueeze(2)
        if p.traffic in ("bernoulli", "finite"):  # one at most
            entry = torch.where(enters.unsqueeze(2) > 0, now, arrived.gather(2, tail))
            arrived = arrived.scatter(2, tail, entry)
        else:
            joins = (self._place - tail) % p.buffer_size < enters.unsqueeze(2)
            arrived = torch.where(joins, now, arrived)
        return arrived, (state.head + popped) % p.buffer_size, first


def _delay(state: MacState, new: Tensor, first: Tensor) -> Tensor:
    """(rows,) int64 slots from arrival to now of the new packet; 0 without one.

    Differences of int16 wrap, so they are right up to 2^15 slots however long the episode is.
    """
    delay = state.slot.unsqueeze(1).to(torch.int16) - first
    return (new * delay).sum(1)
