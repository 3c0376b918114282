"""Small systems for the tests of the core, with every feature that views must carry."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.backend.rng import Draws
from sixgym.envs.core.params import Params, param
from sixgym.envs.core.system import Metric, Score, Step, System


class CounterParams(Params):
    """Parameters of `Counter`."""

    end: int = param(7, unit="1", source="ours", description="Mean length of an episode.", ge=2)
    gain: float = param(0.5, unit="1", source="ours", description="Of the action.", ge=0.0, le=2.0)


class CounterState(NamedTuple):
    """A walk that ends at random."""

    value: Tensor  # (rows,)
    slot: Tensor  # (rows,) int64


class Counter(System[CounterParams, CounterState]):
    """A random walk pushed by the action, which ends with probability 1 / end a step."""

    params_type = CounterParams
    metrics = (
        Metric("moved", "1", "How far the walk moved."),
        Metric("bias", "1", "The action's share of it."),
        Metric("noise", "1", "The draw.", level=1, shape=(2,)),
    )
    scores = (Score("mean_move", "1", "moved", "steps"), Score("return", "1", "reward"))

    def __init__(self, params: CounterParams, **kwargs: object) -> None:
        super().__init__(params, **kwargs)  # type: ignore[arg-type]
        self.observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.start_draws = self.draw_table({"walk": ("normal", (2,))})
        self.step_draws = self.draw_table({"walk": ("normal", (2,)), "end": ("uniform", ())})

    def start(self, noise: Draws) -> CounterState:
        walk = noise["walk"][:, 0]
        return CounterState(walk, torch.zeros_like(walk, dtype=torch.int64))

    def advance(
        self, state: CounterState, action: Tensor, noise: Draws
    ) -> tuple[CounterState, Step]:
        bias = self.params.gain * action[:, 0]
        moved = bias + noise["walk"][:, 0]
        new = CounterState(state.value + moved, state.slot + 1)
        ended = noise["end"] < 1.0 / self.params.end
        metrics = {"moved": moved, "bias": bias}
        if self.info_level:
            metrics["noise"] = noise["walk"]
        return new, Step(-new.value.abs(), ended, metrics)

    def observe(self, state: CounterState) -> Tensor:
        both = torch.stack((torch.tanh(state.value), state.slot.to(self.dtype) / 1000), dim=1)
        return both.clamp(-1.0, 1.0).to(torch.float32)
