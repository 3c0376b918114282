"""One row of a game with its agents by name: what both PettingZoo views stand on."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from sixgym.envs.core.errors import ActionError, ActionTypeError, OptionsError, StateError
from sixgym.envs.core.game import AGENT_REWARD, OWN, Game, Group, choices, keyed, part_of
from sixgym.envs.core.rows import Rows, check_mapping
from sixgym.envs.core.spaces import ActionReader, row_of, to_numpy
from sixgym.envs.core.worlds import check_row_seed

_SEED_RANGE = 2**31
"""A table that is never seeded draws its row seed below this."""


class Seat(NamedTuple):
    """Where an agent sits."""

    group: Group
    place: int
    """Within the group."""
    axis: int
    """On the agent axis of the game."""


class Ended(NamedTuple):
    """What the last turn of a step did to the agents."""

    rewards: dict[str, float]
    """Of everybody who was there."""
    left: set[str]
    """Who has gone, or was there when the episode terminated."""
    truncated: set[str]
    """Who was there when the time limit was reached, and has not left."""
    joined: list[str]
    observations: dict[str, Any]
    """Last observations of those who have gone or were truncated."""


class Table:
    """One row of a game, with its agents by name.

    Args:
        game: in the layout ``"dict"``.
        max_episode_steps: time limit in steps of the game; None for none.
        fixed_agents: whether agents are seats.
        flatten: whether Dict observations are handed out as one Box.
    """

    def __init__(
        self,
        game: Game[Any, Any],
        max_episode_steps: int | None,
        fixed_agents: bool,
        flatten: bool,
    ) -> None:
        if game.joint != "dict":
            raise OptionsError(f"joint={game.joint!r}: allowed for agents by name: 'dict'")
        self.game = game
        self.fixed_agents = fixed_agents
        self.flatten = flatten
        self.rows: Rows[Any, Any] = Rows(game, 1, max_episode_steps=max_episode_steps)
        self.names = [
            f"{g.name}_{i}"
            for g in game.groups
            for i in range(g.seats if fixed_agents else g.agents)
        ]
        self._groups = {g.name: g for g in game.groups}
        self._readers = {
            g.name: ActionReader(g.action_space, dtype=game.dtype, device=game.device)
            for g in game.groups
        }
        self._known = frozenset(self.names)
        self._spaces = {
            (kind, group.name): self._space(kind, group)
            for group in game.groups
            for kind in ("observation_space", "action_space")
        }
        self.seats: dict[str, Seat] = {}
        self.turn = 0
        self.metrics: dict[str, Any] = {}
        names = [m.name for m in game.metrics_up_to(game.info_level) if m.name.startswith(OWN)]
        self._own_names = [name for name in names if name != AGENT_REWARD.name]
        self._own: dict[str, list[Any]] = {}
        self._moves: dict[str, Tensor] = {}
        self._seen: dict[str, Tensor] | None = None
        self._gone: set[str] = set()

    def space(self, kind: str, agent: str) -> gym.Space[Any]:
        """The space of an agent: one object a group, so that seeding it also seeds who joins later.

        Raises:
            OptionsError: there is no such agent.
        """
        if not isinstance(agent, str) or agent not in self._known:
            raise OptionsError(f"agent={agent!r}: allowed: {self.names[0]} ... {self.names[-1]}")
        return self._spaces[kind, agent.rpartition("_")[0]]

    def _space(self, kind: str, group: Group) -> gym.Space[Any]:
        space = copy.deepcopy(getattr(group, kind))
        if kind == "action_space":
            return space  # type: ignore[no-any-return]
        if self.flatten:
            space = _flat(space)
        if not group.is_masked:
            return space  # type: ignore[no-any-return]
        return spaces.Dict(observation=space, action_mask=_mask_space(group.action_space))

    def reset(self, seed: int | None, options: Mapping[str, Any] | None = None) -> list[str]:
        """Begin an episode; returns the agents.

        Args:
            seed: of episode 0, or None for the next episode.
            options: of the game; those that it does not know are ignored.

        Raises:
            SeedError: the seed is negative or not an integer.
            OptionsError: the options are no dictionary, or the value of a known one is not allowed.
        """
        check_mapping(options)
        device = self.game.device
        seeds = None if seed is None else torch.tensor([check_row_seed(seed)], device=device)
        if seeds is None and not self.rows.started:
            drawn = int(np.random.default_rng().integers(_SEED_RANGE))
            seeds = torch.tensor([drawn], device=device)
        known = {k: v for k, v in (options or {}).items() if k in self.game.reset_options}
        self.rows.start(seeds=seeds, options=known)
        self.turn, self._moves, self._seen, self._gone = 0, {}, None, set()
        self._forget_metrics()
        self.seats = self._seated()
        return list(self.seats)

    def _forget_metrics(self) -> None:
        """Zeros, as after a reset or between the turns of a step."""
        self.metrics = dict.fromkeys(self.rows.metric_names, 0.0)
        self._own = {n.removeprefix(OWN): [0.0] * self.game.num_seats for n in self._own_names}

    def _seated(self) -> dict[str, Seat]:
        """Who sits where now, in the order of turns, then of seats."""
        ids = self.game.agent_ids(self.rows.state)[0].tolist()
        seated = {}
        for name in (name for turn in self.game.turns for name in turn):
            group, first = self._groups[name], self.game.seats[name].start
            for place in range(group.seats):
                number = place if self.fixed_agents else ids[first + place]
                if number >= 0:
                    seated[f"{name}_{number}"] = Seat(group, place, first + place)
        return seated

    def movers(self) -> list[str]:
        """The agents whose turn it is."""
        turn = self.game.turns[self.turn]
        return [name for name, seat in self.seats.items() if seat.group.name in turn]

    def seat(self, agent: str) -> Seat:
        """Where an agent sits.

        Raises:
            StateError: nothing has been reset yet.
            OptionsError: there is no such agent now.
        """
        if not self.rows.started:
            raise StateError("observe before reset: call reset() first")
        if not isinstance(agent, str) or agent not in self.seats:
            raise OptionsError(f"agent={agent!r}: is not there; allowed: {list(self.seats)}")
        return self.seats[agent]

    # ------------------------------------------------------------- observations

    def observe(self, agent: str) -> Any:
        """What an agent sees now, with its mask where its group has one.

        Raises:
            StateError: nothing has been reset yet.
            OptionsError: there is no such agent now.
        """
        seat = self.seat(agent)
        if self._seen is None:
            with torch.no_grad():
                state = self.rows.state
                self._seen = self.game.perceive(state, self._moves)
                self._masks = self.game.allowed(state, self._moves)
                self._alive = self.game.alive(state)[0].tolist()
        if not self._alive[seat.axis]:
            return self.blank(agent)
        seen = part_of(self._seen, seat.group, "observation_space")
        observation = _copied(row_of(row_of(to_numpy(seen), 0), seat.place))
        if self.flatten and isinstance(observation, dict):
            observation = spaces.flatten(seat.group.observation_space, observation)
        if not seat.group.is_masked:
            return observation
        mask = self._masks[seat.group.name][0, seat.place].cpu().numpy().astype(np.int8)
        return {"observation": observation, "action_mask": _mask(seat.group.action_space, mask)}

    def overview(self) -> NDArray[np.float32]:
        """What a critic of all agents may see, (n,)."""
        with torch.no_grad():
            whole = self.game.overview(self.rows.state)[0]
        return whole.cpu().numpy().astype(np.float32)

    def blank(self, agent: str) -> Any:
        """What nobody sees: zeros, or the nearest to them in the space, and a full mask."""
        return _blank(self.space("observation_space", agent))

    def info(self, agent: str) -> dict[str, Any]:
        """An agent's info: its seat, whether it is taken, the turn and the step's metrics.

        Of a metric with a number for each agent it holds the agent's own.
        """
        seat = self.seats[agent]
        active = bool(self.game.alive(self.rows.state)[0, seat.axis]) and agent not in self._gone
        own = {name: values[seat.axis] for name, values in self._own.items()}
        known = {"seat": seat.place, "active": active, "turn": self.turn, **self.metrics, **own}
        return known | self.game.tell(self.rows.state, self._moves, seat.group.name, seat.place)

    # -------------------------------------------------------------------- moves

    def move(self, actions: Mapping[str, Any]) -> Ended | None:
        """Take the moves of the agents whose turn it is.

        Args:
            actions: of at least all of them; those of others are ignored.

        Returns:
            What the step did, if this was its last turn.

        Raises:
            ActionError: an action is missing or not in its space, or its agent is not there;
                nothing is changed then.
        """
        if not isinstance(actions, Mapping):
            kind = type(actions).__name__
            raise ActionTypeError(f"actions: {kind}; allowed: a dictionary of agents' actions")
        strangers = [name for name in actions if name not in self.seats]
        if strangers:
            raise ActionError(f"actions: {strangers[0]} is not there; allowed: {list(self.seats)}")
        movers = self.movers()
        missing = [name for name in movers if name not in actions]
        if missing:
            raise ActionError(f"actions: {missing[0]} is missing; allowed: {movers}")
        moves = self._gather({name: actions[name] for name in movers})
        self._moves = {**self._moves, **moves}
        self._seen = None
        self.turn += 1
        if self.turn < len(self.game.turns):
            self._forget_metrics()
            return None
        return self._finish()

    def _gather(self, actions: Mapping[str, Any]) -> dict[str, Tensor]:
        """Moves of the groups whose turn it is; empty seats move with the first of their space."""
        moves: dict[str, Tensor] = {}
        for name in self.game.turns[self.turn]:
            group = self._groups[name]
            idle = self._readers[name].read(_blank(group.action_space), None)
            read = [idle] * group.seats
            for agent, action in actions.items():
                if self.seats[agent].group is group:
                    read[self.seats[agent].place] = self._read(agent, action)
            if isinstance(read[0], dict):
                parts = cast("list[dict[str, Tensor]]", read)
                stacked: Any = {k: torch.stack([p[k] for p in parts], 1) for k in parts[0]}
            else:
                stacked = torch.stack(cast("list[Tensor]", read), 1)
            moves |= keyed(stacked, group)
        return moves

    def _finish(self) -> Ended:
        """Advance the game, and see who has gone and who has come."""
        before = self.seats
        out = self.rows.advance(self._moves)
        self.turn, self._moves, self._seen = 0, {}, None
        self.metrics = dict(zip(self.rows.metric_names, out.metrics[0].tolist(), strict=True))
        told = out.diagnostics
        self._own = {n.removeprefix(OWN): told[n][0].tolist() for n in self._own_names}
        paid = told[AGENT_REWARD.name][0].tolist()
        self.seats = self._seated()
        over = bool(out.terminated.item())
        limit = bool(out.truncated.item())
        self._gone = gone = {name for name in before if name not in self.seats}
        left = set(before) if over else gone
        truncated = set(before) - left if limit else set()
        last = {name: self.blank(name) for name in gone}
        last |= {name: self.observe(name) for name in before if name not in gone}
        joined = [] if over or limit else [n for n in self.seats if n not in before]
        if over or limit:
            self.seats = {name: seat for name, seat in self.seats.items() if name in before}
        self.seats |= {name: before[name] for name in gone}
        return Ended({n: paid[s.axis] for n, s in before.items()}, left, truncated, joined, last)

    def check(self, agent: str, action: Any) -> None:
        """Refuse a wrong action of an agent before anything is changed.

        Raises:
            ActionError: the action is not in the agent's space.
        """
        self._read(agent, action)

    def _read(self, agent: str, action: Any) -> Tensor | dict[str, Tensor]:
        reader = self._readers[self.seats[agent].group.name]
        reader.name = f"action of {agent}"
        return reader.read(action, None)

    def remove(self, agents: Iterable[str]) -> None:
        """Forget agents that have gone."""
        for agent in agents:
            self.seats.pop(agent, None)


def _mask_space(space: gym.Space[Any]) -> gym.Space[Any]:
    if isinstance(space, spaces.MultiDiscrete):
        return spaces.Tuple([spaces.Box(0, 1, (int(n),), np.int8) for n in space.nvec.ravel()])
    return spaces.Box(0, 1, (choices(space),), np.int8)


def _mask(space: gym.Space[Any], flat: Any) -> Any:
    """A mask as ``space.sample`` takes it: a tuple of arrays for a MultiDiscrete space."""
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(np.split(flat, np.cumsum(space.nvec.ravel())[:-1]))
    return flat


def _blank(space: gym.Space[Any]) -> Any:
    if isinstance(space, spaces.Dict):
        return {k: _full(s) if k == "action_mask" else _blank(s) for k, s in space.spaces.items()}
    if isinstance(space, spaces.Box):
        return np.clip(np.zeros(space.shape), space.low, space.high).astype(space.dtype)
    if isinstance(space, spaces.Discrete):
        return space.dtype.type(space.start)
    if isinstance(space, spaces.MultiDiscrete):
        return space.start.astype(space.dtype)
    return np.zeros(space.shape or (), space.dtype)


def _full(space: gym.Space[Any]) -> Any:
    if isinstance(space, spaces.Tuple):
        return tuple(_full(part) for part in space.spaces)
    return np.ones(space.shape or (), np.int8)


def _flat(space: gym.Space[Any]) -> gym.Space[Any]:
    return spaces.flatten_space(space) if isinstance(space, spaces.Dict) else space


def _copied(value: Any) -> Any:
    return {k: v.copy() for k, v in value.items()} if isinstance(value, dict) else value.copy()
