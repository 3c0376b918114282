"""What the speed measurements share: environments at work, in turns, by processor time.

What shares the processor slows a process down even by CPU time, so everything that is compared is
measured in turns, a fraction of a second each, and a figure is the best turn.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

import sixgym
from sixgym.envs.core.registry import entries, entry

CARTPOLE = "CartPole-v1"
POOL = 8
"""Different batches of actions that are played in turn."""
NO_PARAMS: Mapping[str, Any] = {}
WARM_UP = 3
"""Calls before the clock starts (after compilation)."""

Block = Callable[[], tuple[int, float]]
"""Plays, and returns the transitions with the CPU seconds in between that are not to be counted."""


@dataclass(frozen=True)
class Effort:
    """How long to measure: turns of each cell, and CPU seconds of a turn at least."""

    turns: int
    turn_s: float


def one_turn(run_block: Block, turn_s: float) -> float:
    """Transitions per CPU second over as many blocks as it takes."""
    transitions, uncounted = 0, 0.0
    began = time.process_time()
    while True:
        played, aside = run_block()
        transitions += played
        uncounted += aside
        took = time.process_time() - began - uncounted
        if took >= turn_s:
            return transitions / took


def in_turns(cells: Sequence[Block], effort: Effort) -> list[list[float]]:
    """Rates of each cell, all cells measured in turn."""
    rates: list[list[float]] = [[] for _ in cells]
    for _ in range(effort.turns):
        for cell, found in zip(cells, rates, strict=True):
            found.append(one_turn(cell, effort.turn_s))
    return rates


def repeated(call: Callable[[], Any], calls: int, worth: int = 1) -> Block:
    """A block of equal calls, each worth some transitions."""

    def run() -> tuple[int, float]:
        for _ in range(calls):
            call()
        return calls * worth, 0.0

    return run


def single_block(env: gym.Env[Any, Any], actions: Iterator[Any], calls: int) -> Block:
    """``calls`` steps of one env after a ``reset``, and another one whenever an episode ends."""

    def run() -> tuple[int, float]:
        has_ended = True
        for _ in range(calls):
            if has_ended:
                env.reset()
            _, _, terminated, truncated, _ = env.step(next(actions))
            has_ended = terminated or truncated
        return calls, 0.0

    return run


def steps_block(env: gym.Env[Any, Any], actions: Iterator[Any], calls: int) -> Block:
    """As `single_block`, but the time of ``reset`` is not counted."""

    def run() -> tuple[int, float]:
        has_ended, aside = True, 0.0
        for _ in range(calls):
            if has_ended:
                aside += _reset_s(env)
            _, _, has_ended, _, _ = env.step(next(actions))
        return calls, aside

    return run


def vector_block(
    env: gym.vector.VectorEnv[Any, Any, Any], actions: Iterator[Any], calls: int
) -> Block:
    """``calls`` steps of a NextStep vector env; rows being restarted count nothing."""
    waiting = np.zeros(env.num_envs, dtype=bool)

    def run() -> tuple[int, float]:
        nonlocal waiting
        transitions = 0
        for _ in range(calls):
            _, _, terminated, truncated, _ = env.step(next(actions))
            transitions += env.num_envs - int(waiting.sum())
            waiting = np.asarray(terminated) | np.asarray(truncated)
        return transitions, 0.0

    return run


def action_pool(space: gym.Space[Any]) -> Iterator[Any]:
    """Random actions, made before the clock starts."""
    space.seed(0)
    return cycle([space.sample() for _ in range(POOL)])


@dataclass(frozen=True)
class Cell:
    """An environment at work."""

    block: Block
    warm_s: float
    """Wall time until the first steps were done: compilation, where there is one."""
    restart_s: float
    """CPU seconds of a restart that belong to a transition and that the block does not pay."""

    def rate(self, found: float) -> float:
        """Steps per CPU second with what is missing of the restarts."""
        return 1.0 / (1.0 / found + self.restart_s)


def prepare(id: str, rows: int, mode: str, params: Mapping[str, Any] = NO_PARAMS) -> Cell:
    """A warm cell: one row is the single env, more the vector env.

    Mode ``aot`` is the bare steps of the single env: without Gymnasium's wrappers and resets.
    """
    kwargs: dict[str, Any] = dict(params) if id != CARTPOLE else {}
    if mode in ("compiled", "aot"):
        kwargs["compile"] = "aot" if mode == "aot" else True
    env: Any
    if rows == 1:
        env = gym.make(id, disable_env_checker=True, **kwargs)
        env = env.unwrapped if mode == "aot" else env
        make_block = steps_block if mode == "aot" else single_block
    else:
        env = gym.make_vec(id, rows, vectorization_mode="vector_entry_point", **kwargs)
        make_block = vector_block
    actions = action_pool(env.action_space)
    began = time.perf_counter()
    env.reset(seed=0)
    for _ in range(WARM_UP):
        ended = np.any(env.step(next(actions))[2:4])
        if ended and rows == 1:  # a vector env restarts by itself
            env.reset()
    warm_s = time.perf_counter() - began
    limit, calls = steps_of(id), calls_of(id, rows)
    missing = 0.0
    if rows > 1 and limit is not None and limit > calls:
        missing = min(_reset_s(env) for _ in range(3)) / (rows * limit)
    return Cell(make_block(env, actions, calls), warm_s, missing)


def _reset_s(env: Any) -> float:
    began = time.process_time()
    env.reset()
    return time.process_time() - began


MOST_CALLS = 200
"""Of a block: longer episodes are not waited for."""
MOST_TRANSITIONS = 2**20
"""Of a block of many rows."""


def steps_of(id: str) -> int | None:
    """The time limit; None where only the system ends an episode."""
    return entry(id).max_episode_steps if id != CARTPOLE else None


def calls_of(id: str, rows: int) -> int:
    """Calls in a block: an episode with its restart, or so many as a block of that size may have.

    The restarts of a vector env that a shorter block never meets are added to its time, see `Cell`;
    where only the system ends an episode they come as they come.
    """
    most = max(16, min(MOST_CALLS, MOST_TRANSITIONS // rows))
    steps = steps_of(id)
    return steps + (rows > 1) if steps is not None and steps <= most else most


def ids_of(chosen: Sequence[str] | None) -> list[str]:
    """The ids asked for, or all."""
    return list(chosen or [e.id for e in entries()])


def can_compile(id: str) -> bool:
    """A step that contains a solver is not compiled."""
    return not entry(id).load_system().contains_solver


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    names = [
        line.partition(":")[2].strip()
        for line in (
            Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        ).splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": names[0] if names else platform.processor(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gymnasium": gym.__version__,
        "sixgym": sixgym.__version__,
    }
