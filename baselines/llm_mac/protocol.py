"""What all access schemes have in common: reading what is seen, acknowledging, deleting, moving.

The base station acknowledges the user that it decoded in the last slot. A user deletes when it is
acknowledged and sends its packet again until then. An acknowledgement wins over a grant to the same
user. Where delivered packets leave by themselves (``auto_delete``) nobody acknowledges or deletes.
What a scheme adds is who is granted, or who sends without a grant.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sixgym.baselines.coins import Coins
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.llm_mac.codes import (
    DCM_ACK,
    DCM_NULL,
    DCM_SG,
    DELETE,
    NOTHING,
    TRANSMIT,
    UCM_NULL,
    UCM_SR,
)
from sixgym.envs.llm_mac.system import BS, UE, LlmMac

if TYPE_CHECKING:
    from sixgym.envs.core.system import System
    from sixgym.envs.core.vector_view import SixgymVectorEnv

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_DRAW = "access scheme"
"""Name of the random stream of all schemes: the same numbers for each."""


class Seen(NamedTuple):
    """What base station and users see before a slot, (rows, N) each; all false for empty seats."""

    here: Bools
    """Taken."""
    q: Ints
    """Packets in the buffer."""
    sent: Bools
    """Sent in the last slot."""
    asked: Bools
    """Asked for a grant in the last slot."""
    heard: Ints
    """The message that it has heard last."""
    decoded: Bools
    """Was decoded in the last slot."""
    joined: Bools
    """Plays its first slot."""


class Chance(NamedTuple):
    """What a scheme decides about, beside what is seen."""

    waits: Bools
    """(rows, N) who has a packet to send: a buffer that is not empty and not about to delete."""
    uniform: Floats
    """(rows, N) fresh numbers in (0, 1)."""
    starts: Bools
    """(rows,) where an episode begins."""


class Reader:
    """Takes the central observation of one system apart.

    Args:
        system: whose observations are read; one in which all play, or the users alone, or (without
            buffers) the base station alone.
    """

    def __init__(self, system: LlmMac) -> None:
        self._system = system
        self._params = system.params
        self._has_bs = system.params.role != "follower"
        self._has_users = system.params.role != "leader"

    def __call__(self, observation: Any) -> Seen:
        """What a batch of observations shows."""
        parts = self._parts(observation)
        p = self._params
        blank = np.zeros((len(next(iter(parts.values()))), p.n_max), dtype=np.int64)
        nobody: Bools = np.zeros_like(blank, dtype=np.bool_)
        here = sent = asked = decoded = joined = nobody
        q = heard = blank
        if self._has_users:
            users = parts["ue"]
            words = 6 + p.num_ucm - 1
            heard_flags = users[..., words : words + p.num_dcm]
            q = np.rint(users[..., 0] * p.buffer_size).astype(np.int64)
            sent = users[..., 3 + TRANSMIT] > 0.5
            asked = users[..., 6] > 0.5
            heard = heard_flags.argmax(-1)
            here = heard_flags.sum(-1) > 0.5
            decoded = heard == DCM_ACK
        if self._has_bs:
            seats = parts["bs.rows"]
            last = p.num_ucm + p.num_dcm
            here = seats[..., 0] > 0.5
            asked = seats[..., 1] > 0.5
            decoded = seats[..., last] > 0.5
            joined = seats[..., last + 1] > 0.5
            if not self._has_users:
                heard = seats[..., p.num_ucm : last].argmax(-1)
        return Seen(here, q, sent, asked, heard, decoded, joined)

    def _parts(self, observation: Any) -> dict[str, NDArray[Any]]:
        """The observation by its parts, (rows, seats, features) each."""
        whole: Any = (
            {k: torch.as_tensor(np.asarray(v)) for k, v in observation.items()}
            if isinstance(observation, Mapping)
            else torch.as_tensor(np.asarray(observation))
        )
        parts = {key: part.numpy() for key, part in self._system.seen(whole).items()}
        if self._has_bs:
            parts["bs.rows"] = parts["bs.rows"][:, 0]
        return parts


class AccessScheme(ABC):
    """Base of all schemes: moves for everybody who plays, from what is seen.

    Args:
        system: of the game.
        name: what it is called.

    Raises:
        PolicyError: the system is another one.
    """

    asks = False
    """Whether users ask for grants."""

    def __init__(self, system: System[Any, Any], name: str) -> None:
        if not isinstance(system, LlmMac):
            raise PolicyError(f"{type(system).__name__}: allowed: the system of sixgym/LlmMac-v0")
        self.name = name
        self.params = system.params
        self._read = Reader(system)
        self.coins = Coins(self.params.n_max, _DRAW)
        self._system = system

    def attach(self, env: SixgymVectorEnv) -> None:
        """Take row seeds and steps, by which coins are thrown, from ``env`` from now on."""
        self.coins.env = env

    @abstractmethod
    def grants(self, seen: Seen, chance: Chance, memory: Any) -> tuple[Ints | None, Any]:
        """Who is granted: (rows,) seat or -1, None where nobody ever is; and the new memory."""

    @abstractmethod
    def sends(self, seen: Seen, granted: Bools, chance: Chance, memory: Any) -> tuple[Bools, Any]:
        """(rows, N) who sends of those who wait; and the new memory.

        Args:
            seen: before the slot.
            granted: (rows, N) who has heard a grant.
            chance: who waits, and random numbers.
            memory: what the scheme remembers; None at first.
        """

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Moves of all; see `sixgym.envs.core.rollout.Policy`."""
        seen = self._read(observation)
        rows = len(seen.here)
        starts = np.zeros(rows, dtype=np.bool_) if episode_start is None else episode_start
        starts = np.ones(rows, dtype=np.bool_) if state is None else np.asarray(starts)
        message = np.full_like(seen.q, DCM_NULL)
        if not self.params.auto_delete:
            message[seen.decoded] = DCM_ACK
        leads = self.params.timing == "stackelberg" and self.params.role == "all"
        acknowledged = (message if leads else seen.heard) == DCM_ACK
        waits = self.backlogged(seen, acknowledged)
        chance = Chance(waits, self.coins(rows), starts)
        granted, memory = self.grants(seen, chance, state)
        if granted is not None:
            some = np.flatnonzero(granted >= 0)
            free = message[some, granted[some]] == DCM_NULL
            message[some[free], granted[some[free]]] = DCM_SG
        heard = message if leads else seen.heard
        sends, memory = self.sends(seen, heard == DCM_SG, chance, memory)
        deletes = (seen.q > 0) & (heard == DCM_ACK)
        sends = sends & waits
        physical = np.where(deletes, DELETE, np.where(sends, TRANSMIT, NOTHING))
        left = seen.q - (deletes | sends)
        ucm = np.where(left > 0, UCM_SR, UCM_NULL) if self.asks else np.full_like(left, UCM_NULL)
        return self._action(message, self.params.num_ucm * physical + ucm), memory

    def backlogged(self, seen: Seen, acknowledged: Bools) -> Bools:
        """(rows, N) who has a packet to send."""
        return (seen.q > 0) & ~acknowledged

    def _action(self, message: Ints, moves: Ints) -> Any:
        """Moves of those who play, in the layout of the system's action space."""
        parts: dict[str, Ints] = {}
        if self.params.role != "follower":
            if self.params.bs_action == "pointer":
                pairs = [seat_of(message == code) + 1 for code in (DCM_SG, DCM_ACK)]
                message = np.stack(pairs, -1)
            parts[BS] = message[:, None]
        if self.params.role != "leader":
            parts[UE] = moves
        action = self._system.joint_action({k: torch.from_numpy(v) for k, v in parts.items()})
        if isinstance(action, dict):
            return {key: part.numpy() for key, part in action.items()}
        return action.numpy()


def seat_of(mask: Bools) -> Ints:
    """(rows,) the first seat marked, -1 where none is."""
    seat: Ints = np.where(mask.any(1), mask.argmax(1), -1)
    return seat
