"""The access schemes of the literature as policies of LLM-MAC (dossier 5).

Contention: users send when a rule of their own says so, and nobody is granted. Scheduling: users
send when they are granted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from sixgym.baselines.llm_mac.protocol import (
    AccessScheme,
    Bools,
    Chance,
    Floats,
    Ints,
    Seen,
    seat_of,
)
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.llm_mac.codes import DCM_NULL

if TYPE_CHECKING:
    from sixgym.envs.core.system import System
    from sixgym.envs.core.vector_view import SixgymVectorEnv

FIRST_RATE = 1e-3
"""R_0 of proportional fairness, packets a slot [our choice]."""


class Contention(AccessScheme):
    """Base of schemes without grants."""

    def grants(self, seen: Seen, chance: Chance, memory: Any) -> tuple[Ints | None, Any]:
        """Nobody is granted."""
        return None, memory


class Aloha(Contention):
    """Slotted ALOHA: everybody who waits sends with the same probability.

    Args:
        system: of the game.
        name: what it is called.
        rate: that probability; ``"users"``: one over the users there are; ``"waiting"``: one over
            those who wait, which no user knows.
    """

    def __init__(
        self, system: System[Any, Any], name: str, rate: float | Literal["users", "waiting"]
    ) -> None:
        super().__init__(system, name)
        self._rate = rate

    def sends(self, seen: Seen, granted: Bools, chance: Chance, memory: Any) -> tuple[Bools, Any]:
        """Who throws a coin below the rate."""
        if isinstance(self._rate, float):
            return chance.uniform < self._rate, None
        rivals = seen.here if self._rate == "users" else chance.waits
        return chance.uniform * rivals.sum(1, keepdims=True).clip(1) < 1.0, None


class _Window(NamedTuple):
    stage: Ints
    counter: Ints


class Backoff(Contention):
    """Slotted ALOHA with binary exponential backoff, BEB(W0, m) [standard].

    The slot after a transmission its outcome is known: a failure raises the stage (up to m), a
    success sets it to 0, and either draws a counter below W0 2^stage. The counter runs down one a
    slot, with an empty buffer too; a user who waits sends when it is 0.

    Args:
        system: of the game.
        name: what it is called.
        window: W0.
        stages: m.
    """

    def __init__(self, system: System[Any, Any], name: str, window: int, stages: int) -> None:
        super().__init__(system, name)
        self._window, self._stages = window, stages

    def sends(self, seen: Seen, granted: Bools, chance: Chance, memory: Any) -> tuple[Bools, Any]:
        """Who waits with its counter at 0."""
        stage, counter = memory or _Window(np.zeros_like(seen.q), np.zeros_like(seen.q))
        risen = np.where(seen.decoded, 0, np.minimum(stage + 1, self._stages))
        fresh = seen.joined | chance.starts[:, None]
        stage = np.where(fresh, 0, np.where(seen.sent, risen, stage))
        drawn = (chance.uniform * (self._window << stage)).astype(np.int64)
        counter = np.where(fresh | seen.sent, drawn, counter)
        sends = chance.waits & (counter == 0)
        return sends, _Window(stage, np.where(sends, counter, (counter - 1).clip(0)))


class CarrierSense(Contention):
    """CSMA(M): who draws the lowest of M mini-slots sends, ties collide [standard].

    Args:
        system: of the game.
        name: what it is called.
        mini_slots: M; they take no time.
    """

    def __init__(self, system: System[Any, Any], name: str, mini_slots: int) -> None:
        super().__init__(system, name)
        self._mini_slots = mini_slots

    def sends(self, seen: Seen, granted: Bools, chance: Chance, memory: Any) -> tuple[Bools, Any]:
        """Who waits and drew the lowest mini-slot of those who wait."""
        drawn = np.floor(chance.uniform * self._mini_slots)
        drawn = np.where(chance.waits, drawn, np.inf)
        return drawn == drawn.min(1, keepdims=True), None


class Scheduled(AccessScheme):
    """Base of schemes with grants: who is granted sends."""

    def sends(self, seen: Seen, granted: Bools, chance: Chance, memory: Any) -> tuple[Bools, Any]:
        """Who has heard a grant."""
        return granted, memory


class RoundRobin(Scheduled):
    """Grants seats in a circle from the first, one a slot, whether there is data or not.

    A turn on a user who is being acknowledged is lost.
    """

    def grants(self, seen: Seen, chance: Chance, memory: Any) -> tuple[Ints | None, Any]:
        """The next taken seat."""
        seats = np.arange(seen.here.shape[1])
        last = np.full(len(seen.here), -1) if memory is None else memory
        last = np.where(chance.starts, -1, last)[:, None]
        ahead = seen.here & (seats > last)
        turn = np.where(ahead.any(1), ahead.argmax(1), seat_of(seen.here))
        return turn, turn


class ContentionFree(Scheduled):
    """Request, grant, send, acknowledge.

    A user asks while it will still hold an undelivered packet; the base station grants one of those
    who asked and are not being acknowledged, drawn uniformly. With delayed timing those whom it
    answered in the last slot are left out too: their request is from before.
    """

    asks = True

    def grants(self, seen: Seen, chance: Chance, memory: Any) -> tuple[Ints | None, Any]:
        """One of those who asked."""
        asks = seen.here & seen.asked
        if not self.params.auto_delete:
            asks = asks & ~seen.decoded
        if self.params.timing == "delayed":
            asks = asks & (seen.heard == DCM_NULL)
        place = (chance.uniform[:, 0] * asks.sum(1)).astype(np.int64) + 1
        chosen = asks & (asks.cumsum(1) == place[:, None])
        return seat_of(chosen), ()


class Genie(Scheduled):
    """Base of schedulers that see every buffer and what of it is delivered.

    Args:
        system: of the game, of all agents or the base station alone.
        name: what it is called.
    """

    def __init__(self, system: System[Any, Any], name: str) -> None:
        super().__init__(system, name)
        p = self.params
        self.success = 1.0 - np.array(p.of_rows(p.row_tbler, p.tbler), dtype=np.float64)
        self._env: SixgymVectorEnv | None = None

    def attach(self, env: SixgymVectorEnv) -> None:
        """See the states of ``env`` from now on."""
        super().attach(env)
        self._env = env

    def undelivered(self) -> Ints:
        """(rows, N) packets in the buffers that the base station does not have."""
        if self._env is None:
            raise PolicyError(f"policy {self.name}: sees the buffers; attach(env) it first")
        state = self._env.rows.state
        waiting: Ints = (state.q - state.d).cpu().numpy()
        return waiting

    def best(self, seen: Seen, worth: Floats) -> Ints:
        """(rows,) the first seat of most worth among those who can send something new, or -1."""
        free = seen.here & (self.undelivered() > 0)
        if not self.params.auto_delete:
            free = free & ~seen.decoded
        ranked = np.where(free, worth, -np.inf)
        return np.where(free.any(1), ranked.argmax(1), -1)


class LongestQueue(Genie):
    """Grants the user with most undelivered packets, ties to the lowest seat.

    Args:
        system: of the game.
        name: what it is called.
        is_weighted: whether packets count by their chance to get through (max-weight).
    """

    def __init__(self, system: System[Any, Any], name: str, *, is_weighted: bool = False) -> None:
        super().__init__(system, name)
        self._weight = self.success if is_weighted else np.ones_like(self.success)

    def grants(self, seen: Seen, chance: Chance, memory: Any) -> tuple[Ints | None, Any]:
        """The longest queue."""
        return self.best(seen, self._weight * self.undelivered()), ()


class ProportionalFair(Genie):
    """Grants argmax of (1 - eps)/R; R is an average of the user's new packets [standard].

    R becomes (1 - 1/tau) R + x/tau in each slot, x whether a new packet of it was decoded.

    Args:
        system: of the game.
        name: what it is called.
        memory_slots: tau.
    """

    def __init__(self, system: System[Any, Any], name: str, memory_slots: float = 20.0) -> None:
        super().__init__(system, name)
        self._share = 1.0 / memory_slots

    def grants(self, seen: Seen, chance: Chance, memory: Any) -> tuple[Ints | None, Any]:
        """The user that is furthest behind."""
        rate = np.full(seen.q.shape, FIRST_RATE) if memory is None else memory
        rate = (1.0 - self._share) * rate + self._share * seen.decoded
        fresh = seen.joined | chance.starts[:, None]
        rate = np.where(fresh, FIRST_RATE, rate)
        return self.best(seen, self.success / rate), rate
