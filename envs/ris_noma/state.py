"""The state of a batch of rows, and the controls that act on it.

Few tensors on purpose: at one row a step costs a few microseconds for every tensor that goes in and
out of it, so what belongs to the links is one tensor and what belongs to the users another. The
properties give the parts by name.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

VOLUME, RHO, QUEUE, RAW, BUCKETS = range(5)
"""Columns of `State.users`; the buckets are the last `window` columns."""
DELIVERED, USEFUL, DROPPED, ARRIVED, TRANSMIT, COMPUTE = range(6)
"""Columns of `State.totals`."""
EXTRACTION, SURFACE, ORDER, NOOP = range(4)
"""The blocks, and the action of `sixgym/RisNomaSelect-v0` that chooses none."""


class Controls(NamedTuple):
    """What an agent or an optimiser decides, in physical units."""

    volume_bits: Tensor
    """(rows, users) raw bits to extract in a slot, x-bar, before the limits of the slot."""
    rho: Tensor
    """(rows, users) extraction factor in [rho_min, 1]."""
    surface: Tensor
    """(rows, 2, elements) reflection coefficients, unit modulus: cosine and sine of the phases."""
    order: Tensor
    """(rows, users) int64: order[:, i] is the user decoded i-th."""


class Traffic(NamedTuple):
    """The users' columns of a state, and the sums of their backlog; (rows, users) each."""

    volume_bits: Tensor
    """Held."""
    rho: Tensor
    """Held."""
    queue_bits: Tensor
    raw_bits: Tensor
    buckets: tuple[Tensor, ...]
    """The backlog by slots left to live; the first must go now."""
    backlog_bits: Tensor
    """(rows, users, window) the same."""
    due_bits: Tensor
    """(rows, users, window) bits with at most so many slots left to live."""
    all_bits: Tensor
    """The whole backlog."""


class State(NamedTuple):
    """State of a batch of rows of RIS-NOMA."""

    links: Tensor
    """(rows, 2, links) all links now, re and im, divided by the noise amplitude: users to AP
    (users x antennas), RIS to AP (elements x antennas), users to RIS (users x elements; not divided
    by the noise); with estimation errors, those of direct and cascaded links follow."""
    los: Tensor
    """(rows, 2, links) their constant line-of-sight part."""
    scatter: Tensor
    """(rows, links) root mean square amplitude of their scattered part."""
    users: Tensor
    """(rows, users, 4 + window): held volume (bit), held factor, semantic queue (bit), its raw
    equivalent (bit), then the raw backlog by slots left to live (bit)."""
    position_m: Tensor
    """(rows, users, 2) position of the users, fixed in an episode."""
    surface: Tensor
    """(rows, 2, elements) held reflection coefficients of the RIS."""
    order: Tensor
    """(rows, users) int64, held decoding order."""
    clock: Tensor
    """(rows, 4): slots since extraction, surface and order were last set, slot of the episode."""
    totals: Tensor
    """(rows, 6) sums over the episode: bits delivered, useful, dropped and arrived (the first
    arrivals not among them), transmit and compute energy (J)."""
    gain: Tensor
    """(rows, users) gain over the noise, derived from links and surface for the observation. No
    columns where the observation works on estimates or on several antennas."""
    aligned: Tensor
    """As ``gain``: the amplitude that a surface aligned to this user alone would give."""

    @property
    def traffic(self) -> Traffic:
        """All that `users` holds, taken apart at once."""
        volume, rho, queue, raw, *buckets = self.users.unbind(-1)
        backlog = self.users[..., BUCKETS:]
        due = backlog.cumsum(-1)
        return Traffic(volume, rho, queue, raw, tuple(buckets), backlog, due, due[..., -1])

    @property
    def volume_bits(self) -> Tensor:
        """(rows, users) held extraction volume, bit."""
        return self.users[..., VOLUME]

    @property
    def rho(self) -> Tensor:
        """(rows, users) held extraction factor."""
        return self.users[..., RHO]

    @property
    def queue_bits(self) -> Tensor:
        """(rows, users) semantic bits extracted and not yet sent."""
        return self.users[..., QUEUE]

    @property
    def raw_bits(self) -> Tensor:
        """(rows, users) raw equivalent of the semantic queue, bit."""
        return self.users[..., RAW]

    @property
    def backlog_bits(self) -> Tensor:
        """(rows, users, window) raw bits by slots left to live; bucket 0 must go now."""
        return self.users[..., BUCKETS:]

    @property
    def ages(self) -> Tensor:
        """(rows, 3) slots since extraction, surface and order were last set."""
        return self.clock[:, :3]

    @property
    def slot(self) -> Tensor:
        """(rows,) slot of the episode, 0 first."""
        return self.clock[:, 3]

    @property
    def controls(self) -> Controls:
        """The held controls."""
        return Controls(self.volume_bits, self.rho, self.surface, self.order)
