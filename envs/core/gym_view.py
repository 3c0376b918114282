"""The single Gymnasium environment: one row, NumPy in and out."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
import torch

from sixgym.envs.core.errors import StateError
from sixgym.envs.core.render import Screen, render_modes
from sixgym.envs.core.rows import Compile, Rows
from sixgym.envs.core.spaces import ActionReader, all_allowed, copied, row_of, to_numpy
from sixgym.envs.core.system import System
from sixgym.envs.core.worlds import check_row_seed

_SEED_RANGE = 2**31
"""An environment that is never seeded draws its row seed below this."""


class SixgymEnv(gym.Env[Any, Any]):
    """One row of a system as a `gymnasium.Env`.

    ``reset(seed=s)`` begins episode 0 of row seed s; ``reset()`` begins the next episode, so a run
    is reproducible from its first seed. ``terminated`` comes from the system; ``truncated`` from
    the ``TimeLimit`` that ``gym.make`` wraps around.

    Args:
        system: the dynamics.
        compile: True fuses the step; ``"aot"`` makes a library of it that is kept; see `Rows`.
        render_mode: ``"rgb_array"``, ``"human"``, ``"ansi"`` or None.

    Raises:
        OptionsError: a render mode that the system does not offer.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium's name and type; instances copy it
        "render_modes": [],
        "render_fps": 10,
    }

    def __init__(
        self, system: System[Any, Any], *, compile: Compile = False, render_mode: str | None = None
    ) -> None:
        self.metadata = {**type(self).metadata, "render_modes": render_modes(system)}
        self._screen = Screen(system, render_mode, self.metadata["render_fps"])
        self.render_mode = render_mode
        self.system = system
        self.rows: Rows[Any, Any] = Rows(system, 1, compile=compile)
        self.observation_space = system.observation_space
        self.action_space = system.action_space
        if system.reward_parts:
            self.reward_space = system.reward_space
            self.reward_dim = len(system.reward_parts)
        self._reader = ActionReader(self.action_space, dtype=system.dtype, device=system.device)
        self._ended = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: a non-negative integer begins episode 0 of that row seed; None the next episode.
            options: those of the system, for this episode; most know none.

        Raises:
            SeedError: the seed is negative or not an integer.
            OptionsError: an unknown option, or a value that is not allowed.
        """
        if seed is not None:
            seed = check_row_seed(seed)
        super().reset(seed=seed)
        if seed is None and not self.rows.started:
            seed = int(self.np_random.integers(_SEED_RANGE))
        seeds = None if seed is None else torch.tensor([seed], device=self.system.device)
        observation = self.rows.start(seeds=seeds, options=options)
        self._ended = False
        if self.render_mode == "human":
            self.render()
        return row_of(to_numpy(observation), 0), self._no_info()

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Advance by one step; ``info`` holds the metrics of the step by name.

        The reward is a number, or (parts,) float32 where the system has ``reward_parts``.

        Raises:
            ActionError: the action is not in the space.
            StateError: called before ``reset`` or after the episode terminated.
        """
        if self._ended:
            when = "after the end" if self.rows.started else "before reset"
            raise StateError(f"step {when}: call reset() first")
        out = self.rows.advance_arrays(self._reader.read(action, None))
        self._ended = bool(out.terminated[0])
        numbers = out.metrics[0].tolist()
        info: dict[str, Any] = dict(zip(self.rows.metric_names, numbers, strict=True))
        for name, value in out.diagnostics.items():
            info[name] = value[0]
        if self.render_mode == "human":
            self.render()
        reward: Any = float(out.reward[0])
        if self.system.reward_parts:
            reward = np.array([info[name] for name in self.system.reward_parts], np.float32)
        # Copied: else one that is kept would keep all of the step alive.
        return copied(row_of(out.observation, 0)), reward, self._ended, False, info

    def _no_info(self) -> dict[str, Any]:
        """The info of a reset: the keys and shapes of a step's, all zero."""
        info: dict[str, Any] = dict.fromkeys(self.rows.metric_names, 0.0)
        for metric in self.system.metrics_up_to(self.system.info_level):
            if metric.name not in info:
                info[metric.name] = torch.zeros(metric.shape, dtype=self.system.dtype).numpy()
        return info

    def action_masks(self) -> Any:
        """The discrete actions allowed now, (n,) bool; all where the system has no mask."""
        mask = self.rows.action_mask()
        return all_allowed(self.action_space) if mask is None else mask[0].cpu().numpy()

    def render(self) -> Any:
        """The picture of the current state: (height, width, 3) uint8 for ``"rgb_array"``."""
        return self._screen.show(self.rows.state, 0)

    def close(self) -> None:
        """Close the window, if any."""
        self._screen.close()
