"""A Game: a System whose moves are made by several agents, who may join and leave.

Agents stand in groups (a leader and its followers; one group where all are alike). Inside, a group
has a fixed number of seats, so that every tensor keeps its shape; an agent is known by a number
that is never used again in its episode. To the views of a single agent (Gymnasium,
Stable-Baselines3, leaderboard) a game is the system of one controller that makes all moves at once
and is paid `Game.central_reward`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from torch import Tensor

from sixgym.envs.backend.rng import Draws
from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.system import Action, Metric, Observation, P, S, Step, System

Joint = Literal["dict", "flat"]
"""How the observations and actions of all agents are laid out for one controller."""
Moves = Mapping[str, Tensor]
"""Moves, or what is seen, of groups: ``group`` -> (rows, seats, ...), or ``group.part`` where the
group's space is a Dict with that part."""

AGENT_REWARD = Metric("agent_reward", "1", "Reward of the agent on each seat, groups in order.")
OWN = "agent_"
"""Prefix of metrics that have one number for each seat, as (rows, agents): `Game.set_groups` gives
them their shape, and ``infos[agent]`` holds the agent's own number under the name without it."""
ALIVE = "alive"


@dataclass(frozen=True)
class Group:
    """Agents with the same spaces.

    Attributes:
        name: lower-case letters; agents are called ``name_0``, ``name_1``, ...
        seats: how many of them there can be at one time.
        observation_space: of one agent.
        action_space: of one agent.
        agents: how many there can be in one episode; ``seats`` where nobody joins.
        is_masked: whether `Game.allowed` gives a mask for this group.
        may_leave: whether agents may leave although nobody ever joins.
    """

    name: str
    seats: int
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    agents: int = 0
    is_masked: bool = False
    may_leave: bool = False

    def __post_init__(self) -> None:
        if not (self.name.isalpha() and self.name.islower()):
            raise OptionsError(f"group name={self.name!r}: allowed: lower-case letters")
        if self.seats < 1:
            raise OptionsError(f"group {self.name}: seats={self.seats}: allowed: at least 1")
        object.__setattr__(self, "agents", max(self.agents, self.seats))

    @property
    def is_fixed(self) -> bool:
        """Whether the same agents sit on the seats for the whole episode."""
        return self.agents == self.seats and not self.may_leave


class GameStep(NamedTuple):
    """What one `Game.play` yields beside the new state."""

    reward: Tensor
    """(rows, agents) in the system's dtype, groups in order; of those who sat there when moving."""
    terminated: Tensor
    """(rows,) bool: the episode ended for all by its own dynamics."""
    metrics: dict[str, Tensor]
    """Every metric of the system up to its ``info_level``, without `AGENT_REWARD`."""


class Game(System[P, S]):
    """Base of all multi-agent systems.

    A subclass calls `set_groups` in its ``__init__`` and writes `play` and `perceive`; where agents
    come and go also `agent_ids`. As in a system, everything is pure and no row knows another.

    Args:
        params: the validated parameters.
        joint: the layout of the central controller's observation and action: ``"flat"`` (one Box,
            one Box or MultiDiscrete) or ``"dict"`` (an entry a group). None: flat where all parts
            allow it.
        **kwargs: see `System`.

    Raises:
        OptionsError: the layout is unknown, or the spaces cannot be flat.
    """

    groups: tuple[Group, ...]
    turns: tuple[tuple[str, ...], ...]
    """The groups that move together, in the order in which they move within a step."""

    def __init__(self, params: P, *, joint: Joint | None = None, **kwargs: Any) -> None:
        if joint not in (None, "dict", "flat"):
            raise OptionsError(f"joint={joint!r}: allowed: 'dict', 'flat', None")
        super().__init__(params, **kwargs)
        self._joint_wanted = joint

    def set_groups(
        self, groups: tuple[Group, ...], turns: tuple[tuple[str, ...], ...] | None = None
    ) -> None:
        """Seat the groups, and build the central controller's spaces.

        Args:
            groups: in the order of the agent axis.
            turns: names of the groups that move together, first movers first; None: all at once.
        """
        self.groups = groups
        self.turns = turns or (tuple(g.name for g in groups),)
        if sorted(name for turn in self.turns for name in turn) != sorted(g.name for g in groups):
            raise OptionsError(f"turns={self.turns}: allowed: each group once")
        self.num_seats = sum(g.seats for g in groups)
        first = np.cumsum([0, *(g.seats for g in groups)]).tolist()
        self.seats = {g.name: slice(i, i + g.seats) for g, i in zip(groups, first, strict=False)}
        self.metrics = tuple(  # type: ignore[misc]
            m._replace(shape=(self.num_seats,)) if m.name.startswith(OWN) else m
            for m in (*type(self).metrics, AGENT_REWARD)
        )
        seen = {k: seat_space(s, n) for k, s, n in self._parts("observation_space")}
        if not all(g.is_fixed for g in groups):
            seen[ALIVE] = spaces.Box(0.0, 1.0, (self.num_seats,), np.float32)
        moved = {k: seat_space(s, n) for k, s, n in self._parts("action_space")}
        flat_seen, flat_moved = flat_space(seen), flat_space(moved)
        can_be_flat = isinstance(flat_seen, spaces.Box) and flat_moved is not None
        if self._joint_wanted == "flat" and not can_be_flat:
            raise OptionsError("joint='flat': the agents' spaces do not mix; allowed: 'dict'")
        self.joint: Joint = self._joint_wanted or ("flat" if can_be_flat else "dict")
        self._moved = {k: cast("tuple[int, ...]", s.shape) for k, s in moved.items()}
        self._seen = {k: cast("tuple[int, ...]", s.shape) for k, s in seen.items()}
        is_flat = self.joint == "flat"
        self.observation_space = cast("Any", flat_seen) if is_flat else spaces.Dict(seen)
        self.action_space = cast("Any", flat_moved) if is_flat else spaces.Dict(moved)

    def _parts(self, kind: str) -> list[tuple[str, gym.Space[Any], int]]:
        """The plain spaces of the groups: key, space of one agent, seats."""
        parts: list[tuple[str, gym.Space[Any], int]] = []
        for group in self.groups:
            space = getattr(group, kind)
            inner = space.items() if isinstance(space, spaces.Dict) else [(None, space)]
            keys = [(group.name if k is None else f"{group.name}.{k}", s) for k, s in inner]
            parts += [(key, part, group.seats) for key, part in keys]
        return parts

    # ------------------------------------------------------------------- the game

    @abstractmethod
    def play(self, state: S, moves: Moves, noise: Draws) -> tuple[S, GameStep]:
        """One step of every row; pure.

        Args:
            state: tensors (rows, ...), not changed.
            moves: of all groups, within their spaces; those of empty seats must not matter.
            noise: drawn by ``step_draws``.
        """

    @abstractmethod
    def perceive(self, state: S, moves: Moves) -> dict[str, Tensor]:
        """What every seat sees, as in `Moves`; of empty seats anything within the space.

        Args:
            state: tensors (rows, ...).
            moves: of the groups whose turn is over in this step; empty before the first turn.
        """

    def agent_ids(self, state: S) -> Tensor:
        """(rows, agents) int64: who sits on each seat, -1 where nobody does.

        Numbers count from 0 in each group and are below ``Group.agents``; one that has left never
        comes back in its episode. The base seats agent i on seat i for good.
        """
        one = [torch.arange(g.seats, device=self.device) for g in self.groups]
        return torch.cat(one).expand(state[0].shape[0], -1)

    def allowed(self, state: S, moves: Moves) -> dict[str, Tensor]:
        """Masks of the masked groups: (rows, seats, choices) bool, choices of all parts in a row.

        Args:
            state: tensors (rows, ...).
            moves: of the groups whose turn is over in this step.
        """
        return {}

    def hear(self, seen: Moves, moves: Moves) -> dict[str, Tensor]:
        """What is seen once some have moved, from what was seen before: `perceive` without a state.

        A policy that moves for all has no state to ask. Where nobody sees another's move of the
        same step nothing changes, as in the base.

        Args:
            seen: from `perceive` before those moves.
            moves: of the groups whose turn is over.
        """
        return dict(seen)

    def tell(self, state: S, moves: Moves, group: str, place: int) -> dict[str, Any]:
        """What else ``infos`` of an agent by name holds; plain values, the keys never change.

        Args:
            state: of one row.
            moves: of the groups whose turn is over in this step.
            group: the agent's.
            place: its seat within the group.
        """
        return {}

    def central_reward(self, reward: Tensor) -> Tensor:
        """What one controller of all agents is paid, (rows,): here the sum over the agents."""
        return reward.sum(1)

    def alive(self, state: S) -> Tensor:
        """(rows, agents) bool: which seats are taken."""
        return self.agent_ids(state) >= 0

    # ---------------------------------------------------- as the system of one controller

    def advance(self, state: S, action: Action, noise: Draws) -> tuple[S, Step]:
        """One step with the moves of all agents in one action."""
        new, step = self.play(state, self.moves(action), noise)
        metrics = {**step.metrics, AGENT_REWARD.name: step.reward}
        return new, Step(self.central_reward(step.reward), step.terminated, metrics)

    def observe(self, state: S) -> Observation:
        """What all agents see before anybody has moved, and who is there."""
        return self._seen_by_all(state) if self.joint == "dict" else self._overview(state)

    def overview(self, state: S) -> Tensor:
        """(rows, n) float32: what a critic of all agents may see; here what they see together."""
        return self._overview(state)

    def _overview(self, state: S) -> Tensor:
        parts = self._seen_by_all(state).values()
        return torch.cat([part.flatten(1).to(torch.float32) for part in parts], 1)

    def _seen_by_all(self, state: S) -> dict[str, Tensor]:
        seen = self.perceive(state, {})
        if all(g.is_fixed for g in self.groups):
            return seen
        return {**seen, ALIVE: self.alive(state).to(torch.float32)}

    def action_mask(self, state: S) -> Tensor | None:
        """(rows, choices of all seats) bool before anybody has moved; None without masks."""
        if not any(g.is_masked for g in self.groups):
            return None
        masks = self.allowed(state, {})
        rows = state[0].shape[0]
        parts = [
            masks[g.name].flatten(1)
            if g.is_masked
            else torch.ones(rows, g.seats * choices(g.action_space), device=self.device).bool()
            for g in self.groups
        ]
        return torch.cat(parts, 1)

    def seen(self, observation: Observation) -> dict[str, Tensor]:
        """The parts of a joint observation of this game's layout: the reverse of `observe`.

        Args:
            observation: (rows, ...).

        Returns:
            What `perceive` gave, (rows, seats, ...), and ``alive`` where agents come and go.
        """
        if isinstance(observation, dict):
            return observation
        widths = [math.prod(shape) for shape in self._seen.values()]
        pieces = observation[:, : sum(widths)].split(widths, 1)
        return {
            key: piece.unflatten(1, shape)
            for (key, shape), piece in zip(self._seen.items(), pieces, strict=True)
        }

    def joint_action(self, moves: Moves) -> Action:
        """A joint action of this game's layout from the groups' moves: the reverse of `moves`."""
        if self.joint == "dict":
            return {key: moves[key] for key in self._moved}
        return torch.cat([moves[key].flatten(1) for key in self._moved], 1)

    def moves(self, action: Action) -> Moves:
        """The groups' moves in a joint action of this game's layout."""
        if isinstance(action, dict):
            return action
        widths = [math.prod(shape) for shape in self._moved.values()]
        pieces = zip(self._moved.items(), action.split(widths, 1), strict=True)
        return {key: piece.unflatten(1, shape) for (key, shape), piece in pieces}


def part_of(values: Mapping[str, Tensor], group: Group, kind: str) -> Observation:
    """One group's share of `Moves` or of what is perceived: a tensor, or a dictionary by part.

    Args:
        values: by key.
        group: whose.
        kind: ``"observation_space"`` or ``"action_space"``, which tells the parts.
    """
    space = getattr(group, kind)
    if isinstance(space, spaces.Dict):
        return {k: values[f"{group.name}.{k}"] for k in space}
    return values[group.name]


def keyed(value: Observation, group: Group) -> dict[str, Tensor]:
    """The reverse of `part_of`: a group's tensors under their keys in `Moves`."""
    if isinstance(value, dict):
        return {f"{group.name}.{k}": v for k, v in value.items()}
    return {group.name: value}


def choices(space: gym.Space[Any]) -> int:
    """Length of the mask of a discrete space."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    raise OptionsError(f"masks: {type(space).__name__}; allowed only for discrete actions")


def seat_space(space: gym.Space[Any], seats: int) -> gym.Space[Any]:
    """The space of all seats of a group, with a leading axis of seats."""
    if isinstance(space, spaces.MultiDiscrete):  # Gymnasium makes a Box of integers of these two
        return spaces.MultiDiscrete(
            np.stack([space.nvec] * seats), start=np.stack([space.start] * seats)
        )
    if isinstance(space, spaces.MultiBinary):
        return spaces.MultiBinary([seats, *space.shape])
    return batch_space(space, seats)


def flat_space(parts: Mapping[str, gym.Space[Any]]) -> gym.Space[Any] | None:
    """One Box of Boxes of floats, one MultiDiscrete of discrete spaces; None of a mixture."""
    values = list(parts.values())
    if all(isinstance(s, spaces.Box) and s.dtype == np.float32 for s in values):
        boxes = cast("list[spaces.Box]", values)
        low = np.concatenate([s.low.ravel() for s in boxes])
        high = np.concatenate([s.high.ravel() for s in boxes])
        return spaces.Box(low, high, dtype=np.float32)
    if all(isinstance(s, spaces.MultiDiscrete) for s in values):
        discrete = cast("list[spaces.MultiDiscrete]", values)
        counts = np.concatenate([s.nvec.ravel() for s in discrete])
        start = np.concatenate([s.start.ravel() for s in discrete])
        return spaces.MultiDiscrete(counts, start=start)
    return None
