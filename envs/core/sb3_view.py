"""The rows of a system as a Stable-Baselines3 ``VecEnv``.

The wrapper writes what SB3 wants and nothing else: final observations, time-limit flags and episode
statistics in the ``info`` of rows that ended; all other rows share one empty ``info``, because a
dictionary a row and step would cost more than the physics.
"""

from __future__ import annotations

import operator
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvObs, VecEnvStepReturn
from torch import Tensor

from sixgym.envs.core.errors import NoAttributeError, OptionsError
from sixgym.envs.core.registry import entry
from sixgym.envs.core.rows import Outcome, check_mapping
from sixgym.envs.core.spaces import all_allowed, row_of, to_numpy
from sixgym.envs.core.vector_view import SixgymVectorEnv, split_saved
from sixgym.envs.core.worlds import World, row_seed

RENDERED_ROWS = 4
"""``render`` tiles the pictures of this many rows at most."""


class RowsVecEnv(VecEnv):
    """What SB3's views of rows share: seeds by world, attributes, pictures.

    Args:
        env: the rows.
        world: which range of row seeds ``seed`` selects from.
        num_envs: how many environments SB3 shall see.
        observation_space: of one of them.
        action_space: of one of them.
    """

    def __init__(
        self,
        env: SixgymVectorEnv,
        world: World,
        num_envs: int,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
    ) -> None:
        self.env = env
        self.world: World = world
        self._row_seeds: list[int] | None = None
        self._actions: Any = None
        self._started = time.time()
        self._nothing: dict[str, Any] = {}
        super().__init__(num_envs, observation_space, action_space)
        self.metadata = env.metadata

    def seed(self, seed: int | None = None) -> Sequence[int]:
        """Let the next ``reset`` begin episode 0 of the rows of a seed's block.

        Args:
            seed: block k of this view's world; None draws one.

        Returns:
            The row seeds.

        Raises:
            SeedError: the seed is not an integer, or the world has no such block.
        """
        k = int(np.random.default_rng().integers(2**16)) if seed is None else seed
        first = row_seed(self.world, k)
        self._row_seeds = [first + i for i in range(self.env.num_envs)]
        return self._row_seeds

    def _begin(self) -> Any:
        """Reset the rows: their first episode after ``seed``, the next one otherwise."""
        if self._row_seeds is None and not self.env.rows.started:
            self.seed(None)
        options = self._options[0] or None
        self._reset_options()
        observation, _ = self.env.reset(seed=self._row_seeds, options=options)
        self._row_seeds = None
        return observation

    def set_options(self, options: Any = None) -> None:
        """Options of the next ``reset``: of the system, for the rows together.

        Args:
            options: a dictionary, or a list of as many that are all the same.

        Raises:
            OptionsError: they are something else, or would restart some rows only.
        """
        is_many = isinstance(options, Sequence) and not isinstance(options, str | bytes)
        given = list(options) if is_many else [options]
        for one in given:
            check_mapping(one)
            if "reset_mask" in (one or {}):
                raise OptionsError("options: reset_mask; allowed: options of the system")
        if is_many and (len(given) != self.num_envs or not _all_same(given)):
            raise OptionsError(
                f"options: {len(given)} of them; allowed: one, or {self.num_envs} that are the same"
            )
        super().set_options(dict(given[0] or {}))

    def _elapsed(self) -> float:
        """Seconds since the view was made, as SB3's ``Monitor`` counts them."""
        return round(time.time() - self._started, 6)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def close(self) -> None:
        """Close the window, if any."""
        self.env.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Pictures of the first rows, at most `RENDERED_ROWS`."""
        if self.render_mode != "rgb_array":
            return [None for _ in range(self.num_envs)]
        return [self.env.render_row(i) for i in range(min(self.env.num_envs, RENDERED_ROWS))]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the environment, once for each row asked for.

        Raises:
            NoAttributeError: it has none of that name.
            OptionsError: there are no such rows.
        """
        value = self._attribute(attr_name)
        return [value] * len(self._get_indices(indices))

    def _attribute(self, name: str) -> Any:
        try:
            return getattr(self.env, name)
        except (AttributeError, TypeError) as error:
            kind = type(self.env).__name__
            raise NoAttributeError(f"attribute={name!r}: {kind} has none: {error}") from error

    def _get_indices(self, indices: Any) -> list[int]:
        """Places of environments, of what SB3 allows: None, a place, or several.

        Raises:
            OptionsError: they are something else, or there are no such environments.
        """
        if indices is None:
            return list(range(self.num_envs))
        try:
            many = [indices] if isinstance(indices, int | np.integer) else indices
            found = [operator.index(i) for i in many]
        except TypeError:
            found = [self.num_envs]
        if not all(-self.num_envs <= i < self.num_envs for i in found):
            raise OptionsError(f"indices={indices!r}: allowed: None, or below {self.num_envs}")
        return found

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the environment; rows are not separate objects.

        Raises:
            OptionsError: only some rows were named.
            NoAttributeError: the name is none.
        """
        if len(self._get_indices(indices)) != self.num_envs:
            raise OptionsError(f"indices={indices!r}: allowed: None, attributes are of all rows")
        if not isinstance(attr_name, str):
            raise NoAttributeError(f"attribute={attr_name!r}: allowed: a name")
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method; ``action_masks`` is answered row by row from one tensor.

        Raises:
            NoAttributeError: there is no such method.
            OptionsError: there are no such rows.
        """
        rows = self._get_indices(indices)
        if method_name == "action_masks":
            masks = self._action_masks()
            if masks is None:
                return [all_allowed(self.action_space) for _ in rows]
            return [masks[i] for i in rows]
        method = self._attribute(method_name)
        if not callable(method):
            raise NoAttributeError(f"method={method_name!r}: allowed: what can be called")
        return [method(*args, **kwargs)] * len(rows)

    def _action_masks(self) -> NDArray[np.bool_] | None:
        """(num_envs, n) bool, or None where everything is always allowed."""
        return self.env.action_masks()

    def has_attr(self, attr_name: str) -> bool:
        """Whether ``get_attr`` would find it."""
        return isinstance(attr_name, str) and hasattr(self.env, attr_name)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """True for SB3's ``Monitor``, whose episode statistics this view gives itself."""
        return [issubclass(wrapper_class, Monitor)] * len(self._get_indices(indices))

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that decides how the rows and the running episode statistics go on.

        Raises:
            StateError: nothing has been reset yet.
        """
        saved = self.env.state_dict()
        for name, value in self._totals().items():
            saved[f"episode.{name}"] = torch.from_numpy(value.copy())
        return saved

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue exactly from `state_dict`.

        Raises:
            StateError: the tensors do not fit; nothing is changed then.
        """
        totals = {f"episode.{name}": torch.from_numpy(t) for name, t in self._totals().items()}
        mine, rest = split_saved(saved, totals)
        self.env.load_state_dict(rest)
        for name, total in totals.items():
            total.copy_(mine[name])

    @abstractmethod
    def _totals(self) -> dict[str, NDArray[Any]]:
        """The running episode statistics by name, to be saved and written into."""


class SixgymSB3VecEnv(RowsVecEnv):
    """A `SixgymVectorEnv` in mode SameStep, as SB3's ``VecEnv``.

    ``info["episode"]`` (r, l, t) and ``info["episode_metrics"]`` (sums of the level-0 metrics) are
    given for rows that ended, so that no ``VecMonitor`` is needed. ``seed(k)`` selects block k of
    the world, never the plain row seeds: training and evaluation cannot meet.

    Args:
        env: the rows, in autoreset mode SameStep and with NumPy output.
        world: which range of row seeds ``seed`` selects from.
        finite_horizon: tell SB3 that the time limit is an end like any other, so that nothing is
            worth anything after it; for observations that tell the time.

    Raises:
        OptionsError: the environment is in another mode.
    """

    def __init__(
        self, env: SixgymVectorEnv, *, world: World = "train", finite_horizon: bool = False
    ) -> None:
        if env.autoreset_mode is not AutoresetMode.SAME_STEP or env.output != "numpy":
            raise OptionsError(
                f"autoreset_mode={env.autoreset_mode.value!r}, output={env.output!r}: "
                "allowed for SB3: 'SameStep', 'numpy'"
            )
        self.finite_horizon = finite_horizon
        self._returns = np.zeros(env.num_envs)
        self._lengths = np.zeros(env.num_envs, dtype=np.int64)
        self._sums = np.zeros((env.num_envs, len(env.rows.metric_names)))
        spaces = env.single_observation_space, env.single_action_space
        super().__init__(env, world, env.num_envs, *spaces)

    def reset(self) -> VecEnvObs:
        """Begin the next episode of every row (or the first, after ``seed``)."""
        observation = self._begin()
        for total in (self._returns, self._lengths, self._sums):
            total[:] = 0
        return observation  # type: ignore[no-any-return]

    def step_wait(self) -> VecEnvStepReturn:
        """Advance all rows; rows that ended return the first observation of their next episode.

        Raises:
            ActionError: the actions are not in the space.
        """
        out, observation, _ = self.env.transition(self._actions)
        # A copy: SB3 adds the value of a truncated state to the rewards in place.
        rewards = out.reward.to("cpu", torch.float32, copy=True).numpy()
        terminated, truncated = out.terminated.cpu().numpy(), out.truncated.cpu().numpy()
        dones = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        self._sums += out.metrics.cpu().numpy()
        infos = [self._nothing] * self.num_envs
        if dones.any():
            self._close_episodes(infos, np.flatnonzero(dones), out)
        return to_numpy(observation), rewards, dones, infos

    def _close_episodes(
        self, infos: list[dict[str, Any]], ended: NDArray[np.int64], out: Outcome
    ) -> None:
        final = to_numpy(out.observation)
        cut = (out.truncated & ~out.terminated).cpu().numpy() & (not self.finite_horizon)
        elapsed = self._elapsed()
        names = self.env.rows.metric_names
        for i in ended.tolist():
            infos[i] = {
                "terminal_observation": row_of(final, i),
                "TimeLimit.truncated": bool(cut[i]),
                "episode": {
                    "r": float(self._returns[i]),
                    "l": int(self._lengths[i]),
                    "t": elapsed,
                },
                "episode_metrics": dict(zip(names, self._sums[i].tolist(), strict=True)),
            }
        for total in (self._returns, self._lengths, self._sums):
            total[ended] = 0

    def _totals(self) -> dict[str, NDArray[Any]]:
        return {"returns": self._returns, "lengths": self._lengths, "sums": self._sums}


def _all_same(many: Sequence[Any]) -> bool:
    try:
        return all(one == many[0] for one in many)
    except ValueError:  # of arrays, which do not say
        return all(one is many[0] for one in many)


def make_vec_env(
    id: str,
    num_envs: int,
    *,
    seed: int | None = None,
    world: World = "train",
    max_episode_steps: int | None = None,
    finite_horizon: bool = False,
    **kwargs: Any,
) -> SixgymSB3VecEnv:
    """The rows of a registered id, ready for Stable-Baselines3.

    Args:
        id: a registered id, as ``"sixgym/RisNoma-v0"``.
        num_envs: rows.
        seed: block of row seeds within the world; SB3's own ``seed`` argument selects it too.
        world: ``"train"``, ``"tuning"``, ``"validation"`` or ``"evaluation"``.
        max_episode_steps: time limit; None is the registered one.
        finite_horizon: see `SixgymSB3VecEnv`.
        **kwargs: parameters and options, as for ``gymnasium.make_vec``.

    Raises:
        UnknownIdError: no such id.
        ParamsError: a wrong parameter.
    """
    from sixgym.envs.core.make import make_vector_env

    known = entry(id)
    limit = known.max_episode_steps if max_episode_steps is None else max_episode_steps
    env = make_vector_env(
        known.system, num_envs, max_episode_steps=limit, autoreset_mode="SameStep", **kwargs
    )
    view = SixgymSB3VecEnv(env, world=world, finite_horizon=finite_horizon)
    if seed is not None:
        view.seed(seed)
    return view
