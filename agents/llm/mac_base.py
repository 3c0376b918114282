"""What the adapters of LLM-MAC share: who is asked what, what is heard, and the moves of a batch.

In every slot the base station is asked first, then every user with the message that it has just
heard. Whatever comes back is read by the package's own grammar: what is no utterance is a violation
and becomes silence, what the level forbids loses the forbidden part. Nothing else reaches the game.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from torch import Tensor

from sixgym.agents.llm.text_policy import TextPolicy
from sixgym.baselines.coins import Coins
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_NULL, DCM_SG, UCM_SR
from sixgym.envs.llm_mac.grammar import Grammar, Reading
from sixgym.envs.llm_mac.levels import Level, bs_allowed
from sixgym.envs.llm_mac.observation import decoded_last
from sixgym.envs.llm_mac.state import MacState
from sixgym.envs.llm_mac.system import BS, UE, LlmMac
from sixgym.envs.llm_mac.text import Cell

if TYPE_CHECKING:
    from sixgym.envs.core.system import System
    from sixgym.envs.core.vector_view import SixgymVectorEnv

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Tally:
    """What a model has said so far.

    Attributes:
        utterances: answers asked for.
        violations: those that were no utterance and became silence.
        invalid: parts of the others that the level of the grammar forbids; they were replaced.
    """

    utterances: int = 0
    violations: int = 0
    invalid: int = 0

    @property
    def violations_per_1000(self) -> float:
        """Violations of a thousand utterances; not a number before the first."""
        return 1000.0 * self.violations / self.utterances if self.utterances else float("nan")


class Leader(NamedTuple):
    """A base station that is to speak."""

    row: int
    prompt: str
    active: list[bool]
    decoded: list[bool]
    requested: list[bool]
    allowed: list[list[bool]]
    """(N, words) which DCMs the level allows each seat."""


class Follower(NamedTuple):
    """A user that is to speak."""

    row: int
    seat: int
    prompt: str
    allowed: list[bool]
    """Which moves the level allows."""
    q: int
    heard: int


class MacAdapter(ABC):
    """Base of the adapters: who is asked what, and the moves of a batch.

    A policy for `sixgym.envs.core.rollout.rollout` with every role, timing and layout. It reads the
    states of the environment it is attached to, but models are told only what their side sees.

    Args:
        system: of ``sixgym/LlmMac-v0``.
        model: who speaks.
        name: what tables call the policy.

    Raises:
        PolicyError: the system is another one.
    """

    def __init__(self, system: System[Any, Any], model: TextPolicy, name: str = "llm") -> None:
        if not isinstance(system, LlmMac):
            raise PolicyError(f"{type(system).__name__}: allowed: the system of sixgym/LlmMac-v0")
        self.name = name
        self.model = model
        self.system = system
        self._cell = Cell(system)
        p, words = system.params, self._cell.grammar
        # A pair of pointers holds one grant and one acknowledgement, whatever the level.
        level = max(words.level, Level.SINGLE_CHANNEL) if p.bs_action == "pointer" else words.level
        self.user_grammar = words
        self.leader_grammar = Grammar(p.n_max, level, alphabet=words.alphabet)
        self._coins = Coins(2 * p.n_max, "language model")
        self._env: SixgymVectorEnv | None = None
        self._tally = Tally()

    @property
    def tally(self) -> Tally:
        """What the model has said since the adapter was made."""
        return self._tally

    def attach(self, env: SixgymVectorEnv) -> None:
        """See the states of ``env`` from now on."""
        self._env = self._coins.env = env

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Moves of all who play; see `sixgym.envs.core.rollout.Policy`.

        Raises:
            PolicyError: no environment is attached, or the model answers too few or too many.
        """
        if self._env is None:
            raise PolicyError(f"policy {self.name}: is told what the cell holds; attach(env) first")
        held: MacState = self._env.rows.state
        p = self.system.params
        rows = held.o.shape[0]
        draws = None if deterministic else self._coins(rows)
        live = self._live(rows, state, episode_start)
        parts: dict[str, Ints] = {}
        if p.role != "follower":
            parts[BS] = self._messages(held, live, draws)
        if p.role != "leader":
            moves = {k: torch.from_numpy(v).to(held.o.device) for k, v in parts.items()}
            parts[UE] = self._moves(held, live, moves, draws)
        if isinstance(self.system.action_space, gym.spaces.Dict):
            return parts, ()
        flat = [part.reshape(len(part), -1) for part in parts.values()]
        return np.concatenate(flat, 1), ()

    @abstractmethod
    def lead(self, leaders: list[Leader], draws: Sequence[NDArray[Any]] | None) -> list[Reading]:
        """What base stations say.

        Args:
            leaders: who is to speak.
            draws: of each (N,) fresh uniform numbers; None for the best answer.
        """

    @abstractmethod
    def follow(self, followers: list[Follower], draws: Sequence[float] | None) -> list[Reading]:
        """What users say.

        Args:
            followers: who is to speak.
            draws: a fresh uniform number each; None for the best answer.
        """

    # -------------------------------------------------------------------------------- who is asked

    def _live(self, rows: int, state: Any, episode_start: Any) -> Bools:
        """(rows,) bool, whose moves matter: an ended row only restarts in the next step."""
        mode = self._env.autoreset_mode if self._env else None
        if state is None or episode_start is None or mode is not AutoresetMode.NEXT_STEP:
            return np.ones(rows, dtype=np.bool_)
        return ~np.asarray(episode_start, dtype=np.bool_)

    def _messages(self, held: MacState, live: Bools, draws: NDArray[Any] | None) -> Ints:
        """(rows, 1, ...) the base stations' moves."""
        p = self.system.params
        decoded, asked = decoded_last(held) > 0, held.u == UCM_SR
        allowed = bs_allowed(self.leader_grammar.level, held.here, decoded, asked, p.num_dcm)
        parts = [part.tolist() for part in (held.here, decoded, asked, allowed)]
        rows = np.flatnonzero(live).tolist()
        leaders = [
            Leader(r, self._cell.bs_prompt(held, r), *(part[r] for part in parts)) for r in rows
        ]
        some = None if draws is None else [draws[r, : p.n_max] for r in rows]
        message = np.full((len(live), p.n_max), DCM_NULL)
        for row, reading in zip(rows, self.lead(leaders, some), strict=True):
            message[row] = reading.action
        if p.bs_action == "pointer":
            seats = [message == code for code in (DCM_SG, DCM_ACK)]
            pairs = [np.where(mask.any(1), mask.argmax(1) + 1, 0) for mask in seats]
            message = np.stack(pairs, -1)
        return message[:, None]

    def _moves(
        self, held: MacState, live: Bools, moves: dict[str, Tensor], draws: NDArray[Any] | None
    ) -> Ints:
        """(rows, N) the users' moves."""
        followers = []
        for row in np.flatnonzero(live).tolist():
            # One row at a time: the whole batch would be looked at again for each.
            one = MacState(*(part[row : row + 1] for part in held))
            said = {name: part[row : row + 1] for name, part in moves.items()}
            heard = self.system.heard(one, said)[0].tolist()
            allowed = self.system.allowed(one, said)[UE][0].tolist()
            q = one.q[0].tolist()
            followers += [
                Follower(row, seat, prompt, allowed[seat], q[seat], heard[seat])
                for seat, prompt in self._cell.ue_prompts(one, 0, said).items()
            ]
        n = held.q.shape[1]
        some = None if draws is None else [float(draws[f.row, n + f.seat]) for f in followers]
        move = np.zeros((len(live), n), dtype=np.int64)
        for follower, reading in zip(followers, self.follow(followers, some), strict=True):
            move[follower.row, follower.seat] = reading.action[0]
        return move

    # -------------------------------------------------------------------------------- for adapters

    def count(self, *, utterances: int = 0, violations: int = 0, invalid: int = 0) -> None:
        """Add to the tally."""
        now = self._tally
        self._tally = Tally(
            now.utterances + utterances, now.violations + violations, now.invalid + invalid
        )

    def counted(self, readings: list[Reading]) -> list[Reading]:
        """Readings of whole utterances, added to the tally."""
        self.count(
            utterances=len(readings),
            violations=sum(reading.violation for reading in readings),
            invalid=sum(reading.invalid for reading in readings),
        )
        return readings

    def heard_bs(self, text: object, leader: Leader) -> Reading:
        """A base station's text by the grammar."""
        return self.leader_grammar.read_bs(
            text, leader.active, decoded=leader.decoded, requested=leader.requested
        )

    def heard_ue(self, text: object, follower: Follower) -> Reading:
        """A user's text by the grammar."""
        return self.user_grammar.read_ue(text, follower.seat, q=follower.q, m=follower.heard)

    def one_each(self, answers: list[Any], prompts: list[str]) -> list[Any]:
        """The answers, if there is one to each prompt.

        Raises:
            PolicyError: there is not.
        """
        if len(answers) != len(prompts):
            counts = f"{len(answers)} answers to {len(prompts)} prompts"
            raise PolicyError(f"policy {self.name}: {counts}; allowed: one each")
        return answers
