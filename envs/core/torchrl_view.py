"""The rows of a system as a TorchRL ``EnvBase`` (extra ``torchrl``): tensors in, tensors out.

Nothing leaves the device: actions are read as tensors, observations are the system's own. TorchRL
restarts rows by a mask (``_reset``), which is what rows know anyway, so there is no autoreset here.

=========================== ====================================================================
key                         what it holds, B rows first
=========================== ====================================================================
``observation``             of a Box or Discrete space; of a Dict space its parts by name below it
``action``                  the same of actions; discrete ones are categorical, not one-hot
``action_mask``             (B, n) bool, where the system has masks: see TorchRL's ``ActionMask``
``metrics``                 every level-0 metric of the step by name, (B, 1) each; 0 at a reset
``reward``, ``done``, ...   (B, 1)
=========================== ====================================================================
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Binary, Bounded, Categorical, Composite, MultiCategorical, Unbounded
from torchrl.envs import EnvBase

from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.make import make_system
from sixgym.envs.core.registry import entry
from sixgym.envs.core.rows import Outcome, Rows
from sixgym.envs.core.spaces import ActionReader
from sixgym.envs.core.system import Observation, System
from sixgym.envs.core.worlds import SEEDS, World, check_row_seed, row_seed

_FLAGS = ("done", "terminated", "truncated")


class RowsEnv(EnvBase):  # type: ignore[misc]  # TorchRL ships no types
    """What the views of systems and of games share: seeds, restarts, flags and metrics.

    Args:
        system: the dynamics.
        num_envs: rows, the batch size.
        max_episode_steps: time limit; None for none.
        seed: selects the row seeds, see ``set_seed``.
        world: the range of row seeds.
        compile: fuse the step with torch.compile.
    """

    def __init__(
        self,
        system: System[Any, Any],
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        seed: int = 0,
        world: World = "train",
        compile: bool = False,
    ) -> None:
        super().__init__(device=system.device, batch_size=torch.Size([num_envs]))
        self.system = system
        self.rows: Rows[Any, Any] = Rows(
            system, num_envs, max_episode_steps=max_episode_steps, compile=compile
        )
        self._world: World = world
        self._row_seeds: Tensor | None = None
        self.set_seed(seed)
        self.rows.start(seeds=self._row_seeds)  # what a first mask looks like is seen from a state

    def _shared_specs(self) -> dict[str, Any]:
        """Set the specs of the flags; gives those of the observation that all views have."""
        batch, device = self.batch_size, self.device
        flag = {"shape": (*batch, 1), "dtype": torch.bool, "device": device}
        self.done_spec = Composite({f: Binary(**flag) for f in _FLAGS}, shape=batch, device=device)
        if not self.rows.metric_names:
            return {}
        metric = {"shape": (*batch, 1), "dtype": self.system.dtype, "device": device}
        names = self.rows.metric_names
        return {"metrics": Composite({n: Unbounded(**metric) for n in names}, shape=batch)}

    def _set_seed(self, seed: int | None) -> None:
        """The next reset begins episode 0 of the rows of a seed's block.

        Args:
            seed: block k of the view's world, modulo the number of blocks (TorchRL makes seeds of
                its own for the copies of an environment); None draws one.

        Raises:
            SeedError: the seed is negative or not an integer.
        """
        k = int(np.random.default_rng().integers(2**16)) if seed is None else check_row_seed(seed)
        first = row_seed(self._world, k % SEEDS[self._world])
        count = torch.arange(self.batch_size[0], device=self.system.device)
        self._row_seeds = first + count

    def _begin(self, tensordict: TensorDictBase | None) -> None:
        """Begin episodes: in all rows, or in those of the mask ``_reset``.

        Raises:
            OptionsError: the mask is not of bool.
        """
        mask = None if tensordict is None else tensordict.get("_reset", None)
        if mask is not None and mask.dtype is not torch.bool:
            raise OptionsError(f"_reset: {mask.dtype}; allowed: a mask of torch.bool")
        if self._row_seeds is not None:
            self.rows.start(seeds=self._row_seeds)
            self._row_seeds = None
        elif mask is None:
            self.rows.start()
        else:
            chosen = mask.reshape(self.batch_size[0], -1).any(dim=1)
            self.rows.start(torch.nonzero(chosen)[:, 0])

    def _shared(self, out: Outcome | None) -> dict[str, Any]:
        """Flags and metrics of a step; of a reset, or between two turns, all zero."""
        rows, names = self.batch_size[0], self.rows.metric_names
        if out is None:
            zero = torch.zeros((rows, 1), device=self.system.device)
            told: dict[str, Any] = {name: zero.bool() for name in _FLAGS}
            metrics = zero.to(self.system.dtype).expand(-1, len(names))
        else:
            told = {"terminated": out.terminated[:, None], "truncated": out.truncated[:, None]}
            told["done"] = told["terminated"] | told["truncated"]
            metrics = out.metrics
        if names:
            columns = metrics[..., None].unbind(dim=1)
            told["metrics"] = self._nested(dict(zip(names, columns, strict=True)))
        return told

    def _nested(self, value: Observation, *more: int) -> Any:
        """A dictionary of tensors (rows, *more, ...) as TorchRL's kind of dictionary."""
        if not isinstance(value, dict):
            return value
        return TensorDict(dict(value), batch_size=(*self.batch_size, *more), device=self.device)


class SixgymTorchRLEnv(RowsEnv):
    """All rows of a system as one batch-locked environment of TorchRL; arguments as `RowsEnv`."""

    def __init__(self, system: System[Any, Any], num_envs: int = 1, **kwargs: Any) -> None:
        super().__init__(system, num_envs, **kwargs)
        self._reader = ActionReader(system.action_space, dtype=system.dtype, device=system.device)
        mask = self.rows.action_mask()
        self._masked = mask is not None
        batch, device = self.batch_size, self.device
        parts: dict[str, Any] = {"observation": space_spec(system.observation_space, batch, device)}
        if mask is not None:
            parts["action_mask"] = Binary(shape=mask.shape, dtype=torch.bool, device=device)
        parts |= self._shared_specs()
        self.observation_spec = Composite(parts, shape=batch, device=device)
        action = {"action": space_spec(system.action_space, batch, device)}
        self.action_spec = Composite(action, shape=batch, device=device)
        self.reward_spec = Unbounded(shape=(*batch, 1), dtype=torch.float32, device=device)

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        """Begin episodes: in all rows, or in those of the mask ``_reset``."""
        self._begin(tensordict)
        return self._told(self.rows.observation(), None)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        """One step of every row."""
        action = plain(tensordict.get("action"))
        out = self.rows.advance(self._reader.read(action, self.batch_size[0]))
        told = self._told(out.observation, out)
        told.set("reward", out.reward[:, None].to(torch.float32))
        return told

    def _told(self, observation: Observation, out: Outcome | None) -> TensorDictBase:
        told = {"observation": self._nested(observation), **self._shared(out)}
        if self._masked:
            told["action_mask"] = self.rows.action_mask()
        return TensorDict(told, batch_size=self.batch_size, device=self.device)


def plain(action: Any) -> Any:
    """An action as a tensor, or as a dictionary of tensors."""
    return action.to_dict() if isinstance(action, TensorDictBase) else action


def space_spec(space: gym.Space[Any], batch: torch.Size, device: torch.device | None) -> Any:
    """TorchRL's spec of a batch of a space.

    Raises:
        OptionsError: the space has none here.
    """
    spaces = gym.spaces
    if isinstance(space, spaces.Dict):
        parts = {key: space_spec(part, batch, device) for key, part in space.items()}
        return Composite(parts, shape=batch, device=device)
    shape = (*batch, *(space.shape or ()))
    if isinstance(space, spaces.Box):
        kind = torch.from_numpy(np.zeros(0, dtype=space.dtype)).dtype
        low, high = (torch.as_tensor(x, device=device) for x in (space.low, space.high))
        if not space.is_bounded():
            return Unbounded(shape=shape, dtype=kind, device=device)
        return Bounded(
            low.expand(shape), high.expand(shape), shape=shape, dtype=kind, device=device
        )
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return Categorical(int(space.n), shape=batch, dtype=torch.int64, device=device)
    if isinstance(space, spaces.MultiDiscrete) and not space.start.any() and space.nvec.ndim == 1:
        return MultiCategorical(space.nvec.tolist(), shape=shape, dtype=torch.int64, device=device)
    if isinstance(space, spaces.MultiBinary):
        return Binary(shape=shape, dtype=torch.int8, device=device)
    raise OptionsError(
        f"TorchRL: no spec for {space}; allowed: spaces that count from 0, Box, Dict"
    )


def make_torchrl_env(
    id: str,
    num_envs: int = 1,
    *,
    seed: int = 0,
    world: World = "train",
    compile: bool = False,
    **kwargs: Any,
) -> SixgymTorchRLEnv:
    """The rows of an id for TorchRL, with its registered time limit.

    Args:
        id: of a system.
        num_envs: rows.
        seed: block of row seeds; see `sixgym.envs.core.worlds`.
        world: the range of row seeds.
        compile: fuse the step with torch.compile.
        **kwargs: parameters, and what `sixgym.envs.core.make.make_system` takes;
            ``max_episode_steps`` replaces the registered limit.

    Raises:
        UnknownIdError: no such system.
        ParamsError: a parameter is unknown or out of range.
    """
    found = entry(id)
    limit = kwargs.pop("max_episode_steps", found.max_episode_steps)
    return SixgymTorchRLEnv(
        make_system(found.load_system(), **kwargs),
        num_envs,
        max_episode_steps=limit,
        seed=seed,
        world=world,
        compile=compile,
    )
