"""Speed of every environment, beside CartPole's in the same run.

Run with ``make bench`` or ``python benchmarks/speed.py --quick``. One thread; CPU time of this
process; whole steps with observations, infos and resets; random actions made beforehand;
compilation timed apart. A vector step counts its real transitions only: the call in which a row is
restarted (NextStep autoreset) costs time and counts nothing, as in Gymnasium's own benchmark. A
game is stepped by its central view: a step is one of all its agents together.

What shares the processor slows a process down even by CPU time, so everything that is compared is
measured in turns, a fraction of a second each, and a figure is the best turn.

Nothing here is asserted by tests: absolute numbers depend on the machine, so read the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

import sixgym
from sixgym.agents.config import override
from sixgym.envs.core.registry import entries, entry

CARTPOLE = "CartPole-v1"
ROWS = (1, 16, 256, 1024, 4096)
QUICK_ROWS = (1, 256)
POOL = 8
"""Different batches of actions that are played in turn."""
NO_PARAMS: Mapping[str, Any] = {}
WARM_UP = 3
"""Calls before the clock starts (after compilation)."""


@dataclass(frozen=True)
class Speed:
    """One measured cell."""

    env: str
    rows: int
    mode: str
    """``eager``, ``compiled``, or ``numpy`` for CartPole."""
    steps_per_cpu_s: float
    """Best turn: what the code can do when the machine lets it."""
    median_steps_per_cpu_s: float
    compile_wall_s: float
    """Time of the calls before steady state; 0 where nothing is compiled."""


@dataclass(frozen=True)
class Effort:
    """How long to measure: turns of each cell, and CPU seconds of a turn at least."""

    turns: int
    turn_s: float


FULL = Effort(turns=7, turn_s=0.5)
QUICK = Effort(turns=2, turn_s=0.2)

Block = Callable[[], int]
"""Plays whole episodes with their restarts and returns the transitions."""


def one_turn(run_block: Block, turn_s: float) -> float:
    """Transitions per CPU second over as many blocks as it takes."""
    transitions = 0
    began = time.process_time()
    while True:
        transitions += run_block()
        took = time.process_time() - began
        if took >= turn_s:
            return transitions / took


def in_turns(cells: Sequence[Block], effort: Effort) -> list[list[float]]:
    """Rates of each cell, all cells measured in turn."""
    rates: list[list[float]] = [[] for _ in cells]
    for _ in range(effort.turns):
        for cell, found in zip(cells, rates, strict=True):
            found.append(one_turn(cell, effort.turn_s))
    return rates


def single_block(env: gym.Env[Any, Any], actions: Iterator[Any], calls: int) -> Block:
    """``calls`` steps of one env, with ``reset`` whenever an episode ends."""

    def run() -> int:
        for _ in range(calls):
            _, _, terminated, truncated, _ = env.step(next(actions))
            if terminated or truncated:
                env.reset()
        return calls

    return run


def vector_block(
    env: gym.vector.VectorEnv[Any, Any, Any], actions: Iterator[Any], calls: int
) -> Block:
    """``calls`` steps of a NextStep vector env; rows being restarted count nothing."""
    waiting = np.zeros(env.num_envs, dtype=bool)

    def run() -> int:
        nonlocal waiting
        transitions = 0
        for _ in range(calls):
            _, _, terminated, truncated, _ = env.step(next(actions))
            transitions += env.num_envs - int(waiting.sum())
            waiting = np.asarray(terminated) | np.asarray(truncated)
        return transitions

    return run


def action_pool(space: gym.Space[Any]) -> Iterator[Any]:
    """Random actions, made before the clock starts."""
    space.seed(0)
    return cycle([space.sample() for _ in range(POOL)])


def prepare(
    id: str, rows: int, mode: str, params: Mapping[str, Any] = NO_PARAMS
) -> tuple[Block, float]:
    """A cell, warm, and the time that took: one row is the single env, more the vector env."""
    kwargs: dict[str, Any] = dict(params) if id != CARTPOLE else {}
    if mode == "compiled":
        kwargs["compile"] = True
    env: Any
    if rows == 1:
        env = gym.make(id, disable_env_checker=True, **kwargs)
        make_block = single_block
    else:
        env = gym.make_vec(id, rows, vectorization_mode="vector_entry_point", **kwargs)
        make_block = vector_block
    actions = action_pool(env.action_space)
    began = time.perf_counter()
    env.reset(seed=0)
    for _ in range(WARM_UP):
        env.step(next(actions))
    return make_block(env, actions, calls_of(id, rows)), time.perf_counter() - began


def calls_of(id: str, rows: int) -> int:
    """Calls in a block: whole episodes with their restart, so that each block pays for resets.

    Where only the system ends an episode (CartPole's random play, or thousands of steps) a block is
    just many calls, and resets come as they come.
    """
    steps = entry(id).max_episode_steps if id != CARTPOLE else None
    return 200 if steps is None else steps + (rows > 1)


def modes_of(id: str, compiled: bool) -> list[str]:
    """A step that contains a solver is not compiled."""
    if compiled and not entry(id).load_system().contains_solver:
        return ["eager", "compiled"]
    return ["eager"]


def measure_rows(
    ids: list[str],
    rows: int,
    effort: Effort,
    compiled: bool,
    params: Mapping[str, Any] = NO_PARAMS,
) -> list[Speed]:
    """CartPole and every id in every mode at one number of rows."""
    names = [(CARTPOLE, "numpy")]
    names += [(id, mode) for id in ids for mode in modes_of(id, compiled)]
    cells = [prepare(id, rows, mode, params) for id, mode in names]
    rates = in_turns([block for block, _ in cells], effort)
    speeds = []
    for (id, mode), (_, warm_s), found in zip(names, cells, rates, strict=True):
        compile_s = warm_s if mode == "compiled" else 0.0
        speed = Speed(id, rows, mode, max(found), float(np.median(found)), compile_s)
        speeds.append(speed)
        ratio = speed.steps_per_cpu_s / speeds[0].steps_per_cpu_s
        line = f"{rows:>5}  {id:<29}{mode:<10}{speed.steps_per_cpu_s:>12,.0f}{ratio:>12.3f}"
        print(line + (f"{compile_s:>11.1f}" if compile_s else f"{'-':>11}"), flush=True)
    return speeds


def sb3_overhead(id: str, rows: int, effort: Effort) -> float:
    """CPU time that the Stable-Baselines3 view adds to a step of the vector env, as a share."""
    from sixgym.sb3 import make_vec_env

    native: Any = gym.make_vec(id, rows, autoreset_mode="SameStep")
    view = make_vec_env(id, rows, seed=0)
    actions = action_pool(native.action_space)
    native.reset(seed=0)
    view.reset()
    calls = calls_of(id, 1)

    def of(step: Callable[[Any], Any]) -> Block:
        def run() -> int:
            for _ in range(calls):
                step(next(actions))
            return calls * rows

        return run

    # The difference is far below what the machine's mood does to either: pairs, short and many.
    pairs = Effort(turns=5 * effort.turns, turn_s=effort.turn_s / 2)
    alone, viewed = in_turns([of(native.step), of(view.step)], pairs)
    return float(np.median(np.divide(alone, viewed))) - 1.0


def ppo_share(id: str, rows: int, batch_size: int, iterations: int) -> dict[str, float]:
    """CPU time spent in the env, as a share of a PPO run of Stable-Baselines3."""
    from stable_baselines3 import PPO

    from sixgym.sb3 import make_vec_env

    env = make_vec_env(id, rows, seed=0)
    spent = 0.0
    step_wait = env.step_wait

    def timed() -> Any:
        nonlocal spent
        began = time.process_time()
        result = step_wait()
        spent += time.process_time() - began
        return result

    env.step_wait = timed  # type: ignore[method-assign]
    n_steps = 64
    model = PPO("MlpPolicy", env, n_steps=n_steps, batch_size=batch_size, seed=0, device="cpu")
    model.learn(rows * n_steps)  # the first iteration pays for what is done once
    spent = 0.0
    began = time.process_time()
    model.learn(rows * n_steps * iterations, reset_num_timesteps=False)
    total = time.process_time() - began
    return {"share": spent / total, "steps_per_cpu_s": rows * n_steps * iterations / total}


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


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="few rows, short blocks, no compilation"
    )
    parser.add_argument("--env", action="append", help="an id; may be repeated; default: all")
    parser.add_argument("--rows", type=int, nargs="+", help="rows to measure")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE of the envs")
    parser.add_argument("--steps-only", action="store_true", help="leave Stable-Baselines3 out")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench/speed.json"), help="JSON to write"
    )
    return parser.parse_args()


def main() -> None:
    """Measure, print and write."""
    options = arguments()
    torch.set_num_threads(1)
    quick = options.quick
    effort = QUICK if quick else FULL
    ids = options.env or [e.id for e in entries()]
    rows = tuple(options.rows or (QUICK_ROWS if quick else ROWS))
    compiled = not (quick or options.eager)
    print(f"{'rows':>5}  {'environment':<29}{'mode':<10}{'steps/CPU s':>12}", end="")
    print(f"{'x CartPole':>12}{'compile s':>11}")
    params: dict[str, Any] = {}
    for text in options.set:
        override(params, text)
    speeds = [speed for n in rows for speed in measure_rows(ids, n, effort, compiled, params)]
    views = {}
    trained = [] if options.steps_only else ids
    for id in trained:
        views[id] = {"overhead": sb3_overhead(id, 256, effort)}
        print(f"{id}: the Stable-Baselines3 view adds {views[id]['overhead']:.1%} at 256 rows")
    ppo = {}
    for id in trained:
        ppo[id] = ppo_share(id, rows=256, batch_size=4096, iterations=1 if quick else 4)
        print(
            f"{id}: {ppo[id]['share']:.1%} of a PPO run (256 rows, batch 4096) is the env; "
            f"{ppo[id]['steps_per_cpu_s']:,.0f} steps per CPU second in all"
        )
    report = {
        "machine": machine(),
        "speeds": [asdict(speed) for speed in speeds],
        "sb3_view": views,
        "ppo": ppo,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(options.out)


if __name__ == "__main__":
    main()
