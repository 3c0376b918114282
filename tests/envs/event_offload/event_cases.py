"""Shared by the tests of `sixgym/EventOffload-v0`: batches, plain loops, a trace file in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sixgym.envs.core.make import make_vector_env
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.envs.event_offload.system import EventOffload

Floats = NDArray[Any]


def batch(rows: int = 64, *, steps: int = 200, **kwargs: Any) -> SixgymVectorEnv:
    """Rows of the system as a vector environment."""
    kwargs.setdefault("budget_mode", "average")
    return make_vector_env(EventOffload, rows, max_episode_steps=steps, **kwargs)


def play(
    env: SixgymVectorEnv, pair: tuple[float, float] | Floats, slots: int, **reset: Any
) -> dict[str, Floats]:
    """(slots, rows) of each metric and of the reward under one pair."""
    env.reset(seed=3, **reset)
    if env.system.params.action_mode == "pairs":
        action = np.full(env.num_envs, 0)
    else:
        action = np.broadcast_to(np.asarray(pair, np.float32), (env.num_envs, 2))
    seen: dict[str, list[Floats]] = {}
    for _ in range(slots):
        _, reward, _, _, info = env.step(action)
        values = {"reward": reward} | {k: v for k, v in info.items() if not k.startswith("_")}
        for name, value in values.items():
            seen.setdefault(name, []).append(np.array(value))
    return {name: np.stack(values) for name, values in seen.items()}


def total(seen: dict[str, Floats], name: str) -> float:
    """Sum of a metric over slots and rows, in double precision."""
    return float(seen[name].sum(dtype=np.float64))


def trace_file(
    path: Path, conf: Floats, y: Floats, server: Floats, macs: Floats | None = None
) -> str:
    """A trace file in which calibration and test alternate within a class."""
    split = np.zeros(len(y), np.int8)
    for label in np.unique(y):
        split[np.flatnonzero(y == label)[1::2]] = 1
    cost = np.arange(1, conf.shape[1] + 1) * 1e8 if macs is None else macs
    np.savez(
        path,
        conf=conf.astype(np.float32),
        server=server.astype(np.float32),
        y=y.astype(np.int8),
        split=split,
        macs=cost.astype(np.float64),
        meta=np.array(json.dumps({"name": "test"})),
    )
    return str(path)


def perfect_server(y: Floats, classes: int) -> Floats:
    """Probabilities of a server that is never wrong."""
    return np.eye(classes + 1)[y]
