"""Small systems for the tests of the core, with every feature that views must carry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.backend.rng import Draws
from sixgym.envs.core.params import Params, param
from sixgym.envs.core.render import Canvas
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


class GateParams(Params):
    """Parameters of `Gate`."""

    doors: int = param(4, unit="1", source="ours", description="Doors.", ge=2, le=8)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}, "wide": {"doors": 6}}


class GateState(NamedTuple):
    """Which door was drawn, and how often it was missed."""

    open: Tensor  # (rows,) int64
    missed: Tensor  # (rows,) int64


class Gate(System[GateParams, GateState]):
    """Discrete: go through the open door; three misses end the episode; the door above is shut."""

    params_type = GateParams
    metrics = (Metric("miss", "1", "Whether a wrong door was tried."),)

    def __init__(self, params: GateParams, **kwargs: object) -> None:
        super().__init__(params, **kwargs)  # type: ignore[arg-type]
        self.observation_space = spaces.Box(0.0, 1.0, (params.doors,), np.float32)
        self.action_space = spaces.Discrete(params.doors)
        self.start_draws = self.draw_table({"door": ("uniform", ())})
        self.step_draws = self.start_draws

    def _door(self, noise: Draws) -> Tensor:
        return (noise["door"] * self.params.doors).to(torch.int64)

    def start(self, noise: Draws) -> GateState:
        door = self._door(noise)
        return GateState(door, torch.zeros_like(door))

    def advance(self, state: GateState, action: Tensor, noise: Draws) -> tuple[GateState, Step]:
        miss = action != state.open
        new = GateState(self._door(noise), state.missed + miss)
        paid = 1.0 - miss.to(self.dtype)
        return new, Step(paid, new.missed >= 3, {"miss": miss.to(self.dtype)})

    def observe(self, state: GateState) -> Tensor:
        return torch.nn.functional.one_hot(state.open, self.params.doors).to(torch.float32)

    def action_mask(self, state: GateState) -> Tensor:
        door = torch.arange(self.params.doors)
        return door != (state.open[:, None] + 1) % self.params.doors


class TankState(NamedTuple):
    """A water level."""

    level: Tensor  # (rows, 2)
    valve: Tensor  # (rows,) int64, the last setting


class Tank(System[Params, TankState]):
    """Dict observation and Dict action, a picture, no end of its own."""

    params_type = Params
    metrics = (Metric("spilt", "m3", "Water over the rim."),)

    def __init__(self, params: Params, **kwargs: object) -> None:
        super().__init__(params, **kwargs)  # type: ignore[arg-type]
        self.observation_space = spaces.Dict(
            level=spaces.Box(0.0, 1.0, (2,), np.float32), valve=spaces.Discrete(3)
        )
        self.action_space = spaces.Dict(
            pump=spaces.Box(0.0, 1.0, (2,), np.float32), valve=spaces.Discrete(3)
        )
        self.start_draws = self.draw_table({"rain": ("uniform", (2,))})
        self.step_draws = self.draw_table({"rain": ("exponential", (2,))})

    def start(self, noise: Draws) -> TankState:
        level = noise["rain"]
        return TankState(level, torch.zeros(level.shape[0], dtype=torch.int64))

    def advance(
        self, state: TankState, action: dict[str, Tensor], noise: Draws
    ) -> tuple[TankState, Step]:
        drained = 0.1 * action["valve"].to(self.dtype)[:, None]
        level = state.level + 0.1 * (action["pump"] + noise["rain"]) - drained
        spilt = (level - 1.0).clamp_min(0.0).sum(1)
        new = TankState(level.clamp(0.0, 1.0), action["valve"].clone())
        ended = torch.zeros_like(spilt, dtype=torch.bool)
        return new, Step(-spilt, ended, {"spilt": spilt})

    def observe(self, state: TankState) -> dict[str, Tensor]:
        return {"level": state.level.to(torch.float32).clone(), "valve": state.valve.clone()}

    def draw(self, state: TankState, row: int, canvas: Canvas) -> None:
        for i, level in enumerate(state.level[row].tolist()):
            canvas.box((200 + 100 * i, 300 - 200 * level), (80, 200 * level))
