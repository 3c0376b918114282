"""One group of a game as a Stable-Baselines3 ``VecEnv``: every (row, seat) pair is an environment.

So SB3 trains one policy that all agents of the group share. The other groups, if any, move by
partner policies, before or after the group as the game's turns have it.

A seat is an environment for as long as the view lives. Its episodes are the stays of agents: one
ends when the agent leaves, when the game ends, and, for an empty seat, when somebody sits down on
it, so that no value flows from one agent to the next. Steps of an empty seat are paid 0 and cannot
be hidden from SB3; ``get_attr("active")`` tells them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import Tensor

from sixgym.envs.core.errors import OptionsError, StateError
from sixgym.envs.core.game import AGENT_REWARD, Game, Group, Moves, keyed, part_of
from sixgym.envs.core.pettingzoo_view import make_game
from sixgym.envs.core.registry import entry
from sixgym.envs.core.rollout import Policy
from sixgym.envs.core.rows import tree_map
from sixgym.envs.core.sb3_view import RowsVecEnv
from sixgym.envs.core.spaces import ActionReader, row_of, to_numpy
from sixgym.envs.core.system import Observation
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.envs.core.worlds import World


class _Flags(NamedTuple):
    """What a step did to the pairs, (pairs,) bool each."""

    ended: NDArray[np.bool_]
    over: NDArray[np.bool_]
    """The row's episode is over."""
    truncated: NDArray[np.bool_]
    """By the time limit, with the agent still there."""
    was_there: NDArray[np.bool_]
    """Somebody sat there before the step."""


class SeatsVecEnv(RowsVecEnv):
    """What views of seats share: stays of agents as episodes, rewards by seat, their statistics.

    Args:
        env: rows of a game in the layout ``"dict"``, in autoreset mode Disabled (the view restarts
            rows itself, after their last observations), with NumPy output.
        seats: the part of the game's agent axis that is seen.
        observation_space: of one seat.
        action_space: of one seat.
        world: which range of row seeds ``seed`` selects from.
        finite_horizon: whether the time limit ends an episode for good, so that nobody bootstraps.
    """

    def __init__(
        self,
        env: SixgymVectorEnv,
        seats: slice,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *,
        world: World,
        finite_horizon: bool,
    ) -> None:
        self.game = game_of(env)
        self._axis = seats
        self._finite_horizon = finite_horizon
        self._readers = {
            g.name: ActionReader(
                g.action_space, dtype=self.game.dtype, device=self.game.device, name="actions"
            )
            for g in self.game.groups
        }
        pairs = env.num_envs * (seats.stop - seats.start)
        self._fresh = np.ones((env.num_envs, self.game.num_seats), dtype=np.bool_)
        self._returns = np.zeros(pairs)
        self._lengths = np.zeros(pairs, dtype=np.int64)
        super().__init__(env, world, pairs, observation_space, action_space)

    def reset(self) -> VecEnvObs:
        """Begin the next episode of every row (or the first, after ``seed``)."""
        self._begin()
        self._returns[:] = 0
        self._lengths[:] = 0
        self._fresh[:] = True
        return self._look()  # type: ignore[no-any-return]

    def step_wait(self) -> VecEnvStepReturn:
        """Advance all rows by one step of the game.

        Raises:
            ActionError: the actions are not in the space.
            StateError: before the first reset.
        """
        rows = self.env.rows
        if not rows.started:
            raise StateError("step before reset: call reset() first")
        seated = self.game.agent_ids(rows.state).cpu()
        moves = self._all_moves()
        with torch.no_grad():
            out = rows.advance(moves)
        changed = seated != self.game.agent_ids(rows.state).cpu()
        self._fresh = changed.numpy().copy()
        before, changed = seated[:, self._axis], changed[:, self._axis]
        over = (out.terminated | out.truncated).cpu()
        ended = changed | over[:, None]
        reward = out.diagnostics[AGENT_REWARD.name][:, self._axis].cpu()
        rewards = reward.masked_fill(before < 0, 0.0).flatten().to(torch.float32).numpy().copy()
        self._returns += rewards
        self._lengths += 1
        final = None
        if bool(over.any()):
            final = self._look(remember=False)
            rows.start(torch.nonzero(over)[:, 0].to(self.game.device))
            self._fresh |= over.numpy()[:, None]
        observation = self._look()
        limit = (out.truncated & ~out.terminated).cpu()[:, None] & ~changed & (before >= 0)
        if self._finite_horizon:
            limit = torch.zeros_like(limit)
        everywhere = over[:, None].expand_as(ended)
        told = (t.flatten().numpy() for t in (ended, everywhere, limit, before >= 0))
        flags = _Flags(*told)
        return observation, rewards, flags.ended, self._infos(flags, final, observation)

    @abstractmethod
    def _all_moves(self) -> dict[str, Tensor]:
        """The moves of every group, from the actions that are kept."""

    @abstractmethod
    def _look(self, remember: bool = True) -> Any:
        """What the seats see, (pairs, ...); with ``remember`` false nothing is kept."""

    def _infos(self, flags: _Flags, final: Any, observation: Any) -> list[dict[str, Any]]:
        """One shared empty info, and the last words of the pairs that ended."""
        infos = [self._nothing] * self.num_envs
        for i in np.flatnonzero(flags.ended).tolist():
            info: dict[str, Any] = {
                # Of whoever has left there is no last sight, and nothing is made of it.
                "terminal_observation": self._last_sight(
                    final if flags.over[i] else observation, i
                ),
                "TimeLimit.truncated": bool(flags.truncated[i]),
            }
            if flags.was_there[i]:
                told = {"r": float(self._returns[i]), "l": int(self._lengths[i])}
                info["episode"] = {**told, "t": self._elapsed()}
            infos[i] = info
        self._returns[flags.ended] = 0
        self._lengths[flags.ended] = 0
        return infos

    def _last_sight(self, seen: Any, pair: int) -> Any:
        """The last observation of a pair, of what all see."""
        return row_of(seen, pair)

    @torch.no_grad()
    def _seen(self, group: Group, moves: Moves) -> Observation:
        """What a group sees after some moves, (pairs, ...)."""
        seen = part_of(self.game.perceive(self.env.rows.state, moves), group, "observation_space")
        return tree_map(lambda t: t.flatten(0, 1), seen)

    @property
    def active(self) -> NDArray[np.bool_]:
        """(pairs,) bool: on which seats somebody sits."""
        alive = self.game.alive(self.env.rows.state)[:, self._axis]
        return alive.flatten().cpu().numpy()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the environment, once a pair; ``active`` is each pair's own."""
        if attr_name == "active":
            return [bool(self.active[i]) for i in self._get_indices(indices)]
        return super().get_attr(attr_name, indices)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """True for SB3's ``Monitor`` where nobody comes or goes.

        Elsewhere SB3's ``evaluate_policy`` would wait for episodes of seats that stay empty, so it
        must count by itself.
        """
        stay = all(g.is_fixed for g in self.game.groups if self._sees(g))
        gives_statistics = stay and issubclass(wrapper_class, Monitor)
        return [gives_statistics] * len(self._get_indices(indices))

    def _sees(self, group: Group) -> bool:
        """Whether a group sits on the seats of this view."""
        own = self.game.seats[group.name]
        return bool(self._axis.start <= own.start and own.stop <= self._axis.stop)

    def _totals(self) -> dict[str, NDArray[Any]]:
        return {"returns": self._returns, "lengths": self._lengths}


class MultiAgentVecEnv(SeatsVecEnv):
    """The agents of one group of a game as SB3's ``VecEnv``; pair ``row * seats + seat``.

    Args:
        env: see `SeatsVecEnv`.
        group: the group that learns; None where the game has only one.
        partners: a policy for every other group. It is given the observations of all its pairs,
            (rows * seats, ...), and ``action_masks`` where its group is masked.
        world: which range of row seeds ``seed`` selects from.

    Raises:
        OptionsError: the environment is not of a game, in another mode or layout, the group does
            not exist, or a partner is missing or one too many.
    """

    def __init__(
        self,
        env: SixgymVectorEnv,
        group: str | None = None,
        partners: Mapping[str, Policy] | None = None,
        *,
        world: World = "train",
    ) -> None:
        game = game_of(env)
        self.partners = dict(partners or {})
        self.group = _chosen(game, group, self.partners)
        self._groups = {g.name: g for g in game.groups}
        self._memory: dict[str, Any] = dict.fromkeys(self.partners)
        self._moves: dict[str, Tensor] = {}
        super().__init__(
            env,
            game.seats[self.group.name],
            self.group.observation_space,
            self.group.action_space,
            world=world,
            finite_horizon=False,
        )

    def reset(self) -> VecEnvObs:
        """Begin the next episode of every row (or the first, after ``seed``)."""
        self._memory = dict.fromkeys(self.partners)
        return super().reset()

    def _all_moves(self) -> dict[str, Tensor]:
        own = self._readers[self.group.name].read(self._actions, self.num_envs)
        moves = {**self._moves, **keyed(self._by_row(own), self.group)}
        self._play_turns(moves, after=True)
        return moves

    # ---------------------------------------------------------------------- turns

    @torch.no_grad()
    def _look(self, remember: bool = True) -> Any:
        """Let the partners of earlier turns move, then see what the group sees: (pairs, ...).

        With ``remember`` false nothing is kept: a look at a state that will not be played on.
        """
        moves: dict[str, Tensor] = {}
        kept = dict(self._memory)
        self._play_turns(moves, after=False)
        if remember:
            self._moves = moves
        else:
            self._memory = kept
        return to_numpy(self._seen(self.group, moves))

    def _play_turns(self, moves: dict[str, Tensor], *, after: bool) -> None:
        """Add the partners' moves of the turns before the group's, or of its own and later ones."""
        own = next(i for i, turn in enumerate(self.game.turns) if self.group.name in turn)
        turns = self.game.turns[own:] if after else self.game.turns[:own]
        for turn in turns:
            # Those of one turn do not see each other's moves.
            hidden = {key for name in turn for key in moves if key.partition(".")[0] == name}
            visible = {k: v for k, v in moves.items() if k not in hidden}
            for name in turn:
                if name != self.group.name:
                    moves |= self._ask(self._groups[name], visible)

    def _ask(self, group: Group, moves: Moves) -> dict[str, Tensor]:
        """The moves of a partner, on all its pairs."""
        policy = self.partners[group.name]
        seen = to_numpy(self._seen(group, moves))
        start = self._fresh[:, self.game.seats[group.name]].ravel()
        kwargs: dict[str, Any] = {}
        if group.is_masked:
            kwargs["action_masks"] = self._masks(group, moves)
        action, memory = policy.predict(
            seen, state=self._memory[group.name], episode_start=start, **kwargs
        )
        self._memory[group.name] = memory
        pairs = self.env.num_envs * group.seats
        read = self._readers[group.name].read(action, pairs)
        return keyed(tree_map(lambda t: t.unflatten(0, (-1, group.seats)), read), group)

    @torch.no_grad()
    def _masks(self, group: Group, moves: Moves) -> NDArray[np.bool_]:
        masks = self.game.allowed(self.env.rows.state, moves)[group.name]
        return masks.flatten(0, 1).cpu().numpy()

    def _by_row(self, action: Observation) -> Observation:
        return tree_map(lambda t: t.unflatten(0, (-1, self.group.seats)), action)

    def _action_masks(self) -> NDArray[np.bool_] | None:
        return self._masks(self.group, self._moves) if self.group.is_masked else None

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue exactly from ``state_dict``; partners with a memory begin with none.

        Raises:
            StateError: the tensors do not fit; nothing is changed then.
        """
        super().load_state_dict(saved)
        self._memory = dict.fromkeys(self.partners)
        self._fresh[:] = False
        self._look()


def game_of(env: SixgymVectorEnv) -> Game[Any, Any]:
    """The game of some rows that a view of seats can see.

    Raises:
        OptionsError: no game, or rows in another layout or mode.
    """
    game = env.system
    if not isinstance(game, Game):
        raise OptionsError(f"system={type(game).__name__}: allowed: a game")
    if game.joint != "dict":
        raise OptionsError(f"joint={game.joint!r}: allowed for agents of a group: 'dict'")
    if env.autoreset_mode is not AutoresetMode.DISABLED or env.output != "numpy":
        raise OptionsError(
            f"autoreset_mode={env.autoreset_mode.value!r}, output={env.output!r}: "
            "allowed for agents of a group: 'Disabled', 'numpy'"
        )
    return game


def _chosen(game: Game[Any, Any], name: str | None, partners: Mapping[str, Policy]) -> Group:
    """The group that learns, with a partner for each other one."""
    names = [g.name for g in game.groups]
    if name is None and len(names) > 1:
        raise OptionsError(f"group=None: allowed: {', '.join(names)}")
    chosen = names[0] if name is None else name
    if chosen not in names:
        raise OptionsError(f"group={name!r}: allowed: {', '.join(names)}")
    others = [n for n in names if n != chosen]
    if sorted(partners) != sorted(others):
        raise OptionsError(f"partners={sorted(partners)}: allowed: one for each of {others}")
    group = game.groups[names.index(chosen)]
    if isinstance(group.action_space, spaces.Dict):
        raise OptionsError(f"group={chosen!r}: its actions are a Dict, which SB3 does not know")
    return group


def game_rows(
    id: str,
    num_rows: int,
    *,
    max_episode_steps: int | None = None,
    compile: bool = False,
    render_mode: str | None = None,
    **kwargs: Any,
) -> SixgymVectorEnv:
    """Rows of a registered game as views of seats want them; see `make_multiagent_vec_env`."""
    known = entry(id)
    return SixgymVectorEnv(
        make_game(cast("Any", known.system), **kwargs),
        num_rows,
        max_episode_steps=max_episode_steps or known.max_episode_steps,
        autoreset_mode=AutoresetMode.DISABLED,
        render_mode=render_mode,
        compile=compile,
    )


def make_multiagent_vec_env(
    id: str,
    num_rows: int,
    group: str | None = None,
    partners: Mapping[str, Policy] | None = None,
    *,
    seed: int | None = None,
    world: World = "train",
    max_episode_steps: int | None = None,
    compile: bool = False,
    render_mode: str | None = None,
    **kwargs: Any,
) -> MultiAgentVecEnv:
    """The agents of one group of a registered game, ready for Stable-Baselines3.

    Args:
        id: a registered game.
        num_rows: rows; SB3 sees ``num_rows`` times the group's seats.
        group: the group that learns; None where there is only one.
        partners: a policy for every other group.
        seed: block of row seeds within the world.
        world: ``"train"``, ``"tuning"``, ``"validation"`` or ``"evaluation"``.
        max_episode_steps: time limit; None is the registered one.
        compile: fuse the step with torch.compile.
        render_mode: ``"rgb_array"``, ``"human"`` or None.
        **kwargs: parameters and options, as for ``gymnasium.make_vec``.

    Raises:
        UnknownIdError: no such id.
        OptionsError: not a game, no such group, or a partner missing or too many.
        ParamsError: a wrong parameter.
    """
    env = game_rows(
        id,
        num_rows,
        max_episode_steps=max_episode_steps,
        compile=compile,
        render_mode=render_mode,
        **kwargs,
    )
    view = MultiAgentVecEnv(env, group, partners, world=world)
    if seed is not None:
        view.seed(seed)
    return view
