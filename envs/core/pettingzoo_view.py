"""A game as PettingZoo's ``ParallelEnv`` and ``AECEnv``: agents by name, who join and leave.

Both views stand on one `Table`, so that they tell one story for the same seed and moves. In a game
of several turns the AEC order is that of the turns, and a step of the parallel view is one turn:
only the moves of the groups whose turn it is count, all others may be left out, and rewards come
with the last turn. ``infos[agent]["turn"]`` says whose turn is next.

With ``fixed_agents=True`` the agents are the seats: all are listed from the first to the last step,
and ``infos[agent]["active"]`` says whether anybody sits there.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from pettingzoo import AECEnv, ParallelEnv

from sixgym.envs.core.errors import ActionError, OptionsError, StateError
from sixgym.envs.core.game import Game
from sixgym.envs.core.make import make_system
from sixgym.envs.core.registry import entry, load_system
from sixgym.envs.core.render import Screen, render_modes
from sixgym.envs.core.table import Ended, Table


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

    def state(self) -> NDArray[np.float32]:
        """What a critic of all agents may see, (n,) float32; see `Game.overview`."""
        return self.table.overview()

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
        render_mode: ``"rgb_array"``, ``"human"``, ``"ansi"`` or None.
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
            options: those of the game, for this episode; others are ignored, as PettingZoo's tests
                want it.

        Raises:
            SeedError: the seed is negative or not an integer.
            OptionsError: the value of an option of the game is not allowed.
        """
        self.agents = self.table.reset(seed, options)
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
        self._last: dict[str, Any] = {}

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode; see `SixgymParallelEnv.reset`."""
        self.agents = self.table.reset(seed, options)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {a: self.table.info(a) for a in self.agents}
        self._last = {}
        self._actions: dict[str, Any] = {}
        self._waiting = self.table.movers()
        self._skip_agent_selection = None
        self.agent_selection = self._waiting[0]

    def observe(self, agent: str) -> Any:
        """What an agent sees now; of one that has gone, the last it saw.

        Raises:
            StateError: nothing has been reset yet.
            OptionsError: there is no such agent.
        """
        is_gone = isinstance(agent, str) and agent in self._last
        return self._last[agent] if is_gone else self.table.observe(agent)

    def last(self, observe: bool = True) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """What PettingZoo tells of ``agent_selection``.

        Raises:
            StateError: nobody is there: before reset or after the end.
        """
        if not self.agents:
            raise StateError("last before reset or after the end: call reset() first")
        return super().last(observe)  # type: ignore[no-any-return]

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
            if action is not None:
                raise ActionError(f"action of {agent}: it is not there any more; allowed: None")
            self._was_dead_step(action)
            return
        self.table.check(agent, action)
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
        for name, value in known.parallel.items():
            kwargs.setdefault(name, value)
    own = {k: kwargs.pop(k) for k in list(kwargs) if k not in view}
    game = make_game(system, **own)
    return (game,)


def make_game(system: str | type[Game[Any, Any]], **kwargs: Any) -> Game[Any, Any]:
    """A game in the layout that agents by name need; see `make_system` for the arguments.

    Raises:
        OptionsError: the system is not a game.
    """
    cls = load_system(system) if isinstance(system, str) else system
    if not issubclass(cls, Game):
        raise OptionsError(f"system={cls.__name__}: allowed: a game")
    return cast("Game[Any, Any]", make_system(cls, joint="dict", **kwargs))
