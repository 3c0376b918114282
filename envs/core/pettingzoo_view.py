"""A game as PettingZoo's ``ParallelEnv`` and ``AECEnv``: agents by name, who join and leave.

Both views stand on one `Table`, so that they tell one story for the same seed and moves. In a game
of several turns the AEC order is that of the turns, and a step of the parallel view is one turn:
only the moves of the groups whose turn it is count, all others may be left out, and rewards come
with the last turn. ``infos[agent]["turn"]`` says whose turn is next.

With ``fixed_agents=True`` the agents are the seats: all are listed from the first to the last step,
and ``infos[agent]["active"]`` says whether anybody sits there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from pettingzoo import AECEnv, ParallelEnv
from torch import Tensor

from sixgym.envs.core.errors import ActionError, OptionsError, StateError
from sixgym.envs.core.game import AGENT_REWARD, Game, Group, choices, keyed, part_of
from sixgym.envs.core.make import make_system
from sixgym.envs.core.registry import entry
from sixgym.envs.core.render import Screen, render_modes
from sixgym.envs.core.rows import Rows
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
        self._moves: dict[str, Tensor] = {}
        self._seen: dict[str, Tensor] | None = None
        self._gone: set[str] = set()

    def space(self, kind: str, agent: str) -> gym.Space[Any]:
        """The space of an agent: one object a group, so that seeding it also seeds who joins later.

        Raises:
            OptionsError: there is no such agent.
        """
        if agent not in self._known:
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

    def reset(self, seed: int | None) -> list[str]:
        """Begin an episode; returns the agents."""
        device = self.game.device
        seeds = None if seed is None else torch.tensor([check_row_seed(seed)], device=device)
        if seeds is None and not self.rows.started:
            drawn = int(np.random.default_rng().integers(_SEED_RANGE))
            seeds = torch.tensor([drawn], device=device)
        self.rows.start(seeds=seeds)
        self.turn, self._moves, self._seen, self._gone = 0, {}, None, set()
        self.metrics = dict.fromkeys(self.rows.metric_names, 0.0)
        self.seats = self._seated()
        return list(self.seats)

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

    # ------------------------------------------------------------- observations

    def observe(self, agent: str) -> Any:
        """What an agent sees now, with its mask where its group has one."""
        if self._seen is None:
            with torch.no_grad():
                state = self.rows.state
                self._seen = self.game.perceive(state, self._moves)
                self._masks = self.game.allowed(state, self._moves)
                self._alive = self.game.alive(state)[0].tolist()
        seat = self.seats[agent]
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

    def blank(self, agent: str) -> Any:
        """What nobody sees: zeros, or the nearest to them in the space, and a full mask."""
        return _blank(self.space("observation_space", agent))

    def info(self, agent: str) -> dict[str, Any]:
        """An agent's info: its seat, whether it is taken, the turn and the step's metrics."""
        seat = self.seats[agent]
        active = bool(self.game.alive(self.rows.state)[0, seat.axis]) and agent not in self._gone
        return {"seat": seat.place, "active": active, "turn": self.turn, **self.metrics}

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
            self.metrics = dict.fromkeys(self.rows.metric_names, 0.0)
            return None
        return self._finish()

    def _gather(self, actions: Mapping[str, Any]) -> dict[str, Tensor]:
        """Moves of the groups whose turn it is; empty seats move with the first of their space."""
        moves: dict[str, Tensor] = {}
        for name in self.game.turns[self.turn]:
            group, reader = self._groups[name], self._readers[name]
            idle = _blank(group.action_space)
            read = [reader.read(idle, None)] * group.seats
            for agent, action in actions.items():
                if self.seats[agent].group is group:
                    reader.name = f"action of {agent}"
                    read[self.seats[agent].place] = reader.read(action, None)
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
        paid = out.diagnostics[AGENT_REWARD.name][0].tolist()
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


class _View:
    """What the two views share: the table, the picture, the spaces."""

    metadata: dict[str, Any]

    def _seat(
        self,
        game: Game[Any, Any],
        max_episode_steps: int | None,
        fixed_agents: bool,
        flatten: bool,
        render_mode: str | None,
        name: str,
    ) -> None:
        self.table = Table(game, max_episode_steps, fixed_agents, flatten)
        self.possible_agents = list(self.table.names)
        self.agents: list[str] = []
        self.render_mode = render_mode
        self.metadata = {
            "name": name or type(game).__name__,
            "render_modes": render_modes(game),
            "render_fps": 10,
            "is_parallelizable": len(game.turns) == 1,
        }
        self._screen = Screen(game, render_mode, self.metadata["render_fps"])

    @property
    def game(self) -> Game[Any, Any]:
        """The dynamics."""
        return self.table.game

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """The observation space of an agent: the same object each time."""
        return self.table.space("observation_space", agent)

    def action_space(self, agent: str) -> gym.Space[Any]:
        """The action space of an agent: the same object each time."""
        return self.table.space("action_space", agent)

    def render(self) -> Any:
        """The picture of the current state: (height, width, 3) uint8 for ``"rgb_array"``."""
        return self._screen.show(self.table.rows.state, 0)

    def close(self) -> None:
        """Close the window, if any; can be called again."""
        self._screen.close()


class SixgymParallelEnv(_View, ParallelEnv[str, Any, Any]):  # type: ignore[misc]
    """A game in which all agents whose turn it is move at once.

    The dictionaries of a step hold exactly the agents alive before it and those who joined in it.

    Args:
        game: the dynamics, in the layout ``"dict"``.
        max_episode_steps: time limit in steps of the game (a step of a game of k turns takes k
            calls); None for none.
        fixed_agents: list all seats always, see the module.
        flatten: hand out Dict observations as one Box (PettingZoo's own test fails where agents
            see dictionaries and arrays); False: as the group's space has them.
        render_mode: ``"rgb_array"``, ``"human"`` or None.
        name: in ``metadata``.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]

    def __init__(
        self,
        game: Game[Any, Any],
        *,
        max_episode_steps: int | None = None,
        fixed_agents: bool = False,
        flatten: bool = True,
        render_mode: str | None = None,
        name: str = "",
    ) -> None:
        self._seat(game, max_episode_steps, fixed_agents, flatten, render_mode, name)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Begin an episode: episode 0 of a seed, or the next one.

        Args:
            seed: a non-negative integer or None.
            options: ignored, as PettingZoo's tests want it.

        Raises:
            SeedError: the seed is negative or not an integer.
        """
        self.agents = self.table.reset(seed)
        table = self.table
        return ({a: table.observe(a) for a in self.agents}, {a: table.info(a) for a in self.agents})

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[
        dict[str, Any],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """One turn (with one turn a step: one step) of the game.

        Raises:
            ActionError: see `Table.move`.
            StateError: nobody is there: before reset or after the end.
        """
        if not self.agents:
            raise StateError("step before reset or after the end: call reset() first")
        ended = self.table.move(actions)
        if ended is None:
            ended = Ended(dict.fromkeys(self.agents, 0.0), set(), set(), [], {})
        told = [*self.agents, *ended.joined]
        last, table = ended.observations, self.table
        observations = {a: last[a] if a in last else table.observe(a) for a in told}
        infos = {a: table.info(a) for a in told}
        gone = ended.left | ended.truncated
        table.remove(gone)
        self.agents = [a for a in table.seats if a not in gone]
        if self.render_mode == "human":
            self.render()
        return (
            observations,
            {a: ended.rewards.get(a, 0.0) for a in told},
            {a: a in ended.left for a in told},
            {a: a in ended.truncated for a in told},
            infos,
        )


class SixgymAECEnv(_View, AECEnv[str, Any, Any]):  # type: ignore[misc]
    """A game in which agents move one after the other, in the order of turns, then of seats.

    Those of one turn do not see each other's moves; those of a later turn see all earlier turns.
    Arguments as of `SixgymParallelEnv`.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]

    def __init__(
        self,
        game: Game[Any, Any],
        *,
        max_episode_steps: int | None = None,
        fixed_agents: bool = False,
        flatten: bool = True,
        render_mode: str | None = None,
        name: str = "",
    ) -> None:
        super().__init__()
        self._seat(game, max_episode_steps, fixed_agents, flatten, render_mode, name)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode; see `SixgymParallelEnv.reset`."""
        self.agents = self.table.reset(seed)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {a: self.table.info(a) for a in self.agents}
        self._last: dict[str, Any] = {}
        self._actions: dict[str, Any] = {}
        self._waiting = self.table.movers()
        self._skip_agent_selection = None
        self.agent_selection = self._waiting[0]

    def observe(self, agent: str) -> Any:
        """What an agent sees now; of one that has gone, the last it saw."""
        return self._last[agent] if agent in self._last else self.table.observe(agent)

    def step(self, action: Any) -> None:
        """The move of ``agent_selection``.

        Raises:
            ActionError: the action is not in the agent's space; it may try again.
            StateError: nobody is there: before reset or after the end.
        """
        if not self.agents:
            raise StateError("step before reset or after the end: call reset() first")
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        self._check(agent, action)
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        self._actions[agent] = action
        self._waiting.remove(agent)
        if not self._waiting:
            self._close_turn()
        self.agent_selection = self._waiting[0] if self._waiting else self.agents[0]
        self._accumulate_rewards()
        self._deads_step_first()
        if self.render_mode == "human":
            self.render()

    def _check(self, agent: str, action: Any) -> None:
        """Refuse a wrong action before anything is changed."""
        group = self.table.seats[agent].group
        reader = self.table._readers[group.name]
        reader.name = f"action of {agent}"
        reader.read(action, None)

    def _close_turn(self) -> None:
        """Hand the turn's moves to the table; a turn of nobody passes at once."""
        actions, self._actions = self._actions, {}
        ended = self.table.move(actions)
        while ended is None and not self.table.movers():
            ended = self.table.move({})
        if ended is not None:
            self._settle(ended)
        self.infos = {a: self.table.info(a) for a in self.agents}
        self.table.remove(self._last)
        self._waiting = self.table.movers()

    def _settle(self, ended: Ended) -> None:
        """After the last turn: pay, end and seat agents."""
        self.agents += ended.joined
        self.rewards = {a: ended.rewards.get(a, 0.0) for a in self.agents}
        self._cumulative_rewards |= dict.fromkeys(ended.joined, 0.0)
        self.terminations = {a: a in ended.left for a in self.agents}
        self.truncations = {a: a in ended.truncated for a in self.agents}
        self._last = {a: ended.observations[a] for a in ended.left | ended.truncated}


def parallel_env(system: str | type[Game[Any, Any]], **kwargs: Any) -> SixgymParallelEnv:
    """The parallel view of a game.

    Args:
        system: a registered id, ``"module:Class"``, or the class.
        **kwargs: parameters and options, as for ``gymnasium.make``, and those of the view.

    Raises:
        OptionsError: the system is not a game.
    """
    return SixgymParallelEnv(*_made(system, kwargs), **kwargs)


def env(system: str | type[Game[Any, Any]], **kwargs: Any) -> SixgymAECEnv:
    """The view of a game in which agents move in turn; see `parallel_env`."""
    return SixgymAECEnv(*_made(system, kwargs), **kwargs)


def _made(system: str | type[Game[Any, Any]], kwargs: dict[str, Any]) -> tuple[Game[Any, Any]]:
    """The game, leaving in the keywords those of the view."""
    view = {"max_episode_steps", "fixed_agents", "flatten", "render_mode", "name"}
    if isinstance(system, str) and ":" not in system:
        known = entry(system)
        system = cast("Any", known.system)
        kwargs.setdefault("max_episode_steps", known.max_episode_steps)
        kwargs.setdefault("name", known.id)
    own = {k: kwargs.pop(k) for k in list(kwargs) if k not in view}
    game = make_game(system, **own)
    return (game,)


def make_game(system: str | type[Game[Any, Any]], **kwargs: Any) -> Game[Any, Any]:
    """A game in the layout that agents by name need; see `make_system` for the arguments.

    Raises:
        OptionsError: the system is not a game.
    """
    from sixgym.envs.core.registry import load_system

    cls = load_system(system) if isinstance(system, str) else system
    if not issubclass(cls, Game):
        raise OptionsError(f"system={cls.__name__}: allowed: a game")
    return cast("Game[Any, Any]", make_system(cls, joint="dict", **kwargs))
