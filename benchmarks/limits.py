"""What a step costs when it is written by hand: NumPy for one row, one C++ loop for many.

Run with ``python benchmarks/limits.py``. Both are of `sixgym/EventOffloadExit-v0`, are checked
against the environment on one trajectory first, and are timed in turns with it. The C++ loop is the
practical limit of the step: fused by hand, nothing else in it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from native_exit import NativeExit, compiled
from numpy_exit import NumpyExit
from timing import Block, Effort, in_turns, machine, repeated

from sixgym.envs.core.make import make_system
from sixgym.envs.core.registry import entry
from sixgym.envs.core.rows import Rows

ID = "sixgym/EventOffloadExit-v0"
ROWS = 4096
CHECKED_STEPS = 400
EFFORT = Effort(turns=7, turn_s=0.3)
CALLS = 200


def check_numpy(steps: int = CHECKED_STEPS) -> float:
    """Play the environment (in float64) and the NumPy version; the largest difference.

    Raises:
        AssertionError: they differ by more than rounding.
    """
    env: Any = gym.make(ID, dtype="float64", disable_env_checker=True).unwrapped
    env.reset(seed=3)
    twin = NumpyExit(env.system, env.rows.state)
    np.testing.assert_allclose(twin.observe(), env.rows.observation()[0].numpy(), rtol=1e-5)
    rng, worst = np.random.default_rng(0), 0.0
    for _ in range(steps):
        action = int(rng.integers(3))
        seen, reward, terminated, _, info = env.step(action)
        found = twin.step(action)
        np.testing.assert_allclose(found[0], seen, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found[1], reward, rtol=1e-9, atol=1e-12)
        assert found[2] == terminated
        assert found[4].keys() == info.keys()
        np.testing.assert_allclose(list(found[4].values()), list(info.values()), rtol=1e-9)
        worst = max(worst, float(np.abs(found[0] - seen).max()))
    return worst


def check_native(function: Any, rows: int = 64, steps: int = CHECKED_STEPS) -> float:
    """Play rows of the environment and the C++ loop; the largest difference of observations.

    Raises:
        AssertionError: they differ by more than rounding in float32.
    """
    batch = started(rows, False)
    twin = NativeExit(batch, function)
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for _ in range(steps):
        action = torch.randint(3, (rows,), generator=generator)
        out = batch.advance(action)
        twin.step(action)
        torch.testing.assert_close(twin.seen, out.observation, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(twin.reward, out.reward, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(twin.metrics, out.metrics, rtol=1e-3, atol=1e-4)
        assert torch.equal(twin.sample, batch.state.sample)
        assert torch.equal(twin.terminated, out.terminated)
        worst = max(worst, float((twin.seen - out.observation).abs().max()))
    return worst


def started(rows: int, compile: bool) -> Rows[Any, Any]:
    """Rows of the environment."""
    batch: Rows[Any, Any] = Rows(make_system(entry(ID).system), rows, compile=compile)
    batch.start(seeds=torch.arange(rows))
    return batch


def single_blocks(modes: tuple[Any, ...]) -> dict[str, Block]:
    """Bare steps of one row, in the modes of ``compile`` and by hand."""
    blocks: dict[str, Block] = {}
    actions = cycle(np.random.default_rng(0).integers(3, size=64).tolist())

    def stepped(step: Callable[[int], Any], restart: Callable[[], Any]) -> Block:
        def run() -> tuple[int, float]:
            for _ in range(CALLS):
                if step(next(actions))[2]:
                    restart()
            return CALLS, 0.0

        return run

    for mode in modes:
        env: Any = gym.make(ID, compile=mode, disable_env_checker=True).unwrapped
        env.reset(seed=0)
        env.step(0)
        blocks[{False: "eager", True: "compiled"}.get(mode, mode)] = stepped(env.step, env.reset)
    env = gym.make(ID, disable_env_checker=True).unwrapped
    env.reset(seed=0)
    twin = NumpyExit(env.system, env.rows.state)
    begun = dict(twin.__dict__)
    blocks["numpy by hand"] = stepped(twin.step, lambda: twin.__dict__.update(begun))
    return blocks


def batch_blocks(rows: int, function: Any, modes: tuple[bool, ...]) -> dict[str, Block]:
    """Steps of many rows, tensors in and tensors out."""
    action = torch.randint(3, (rows,), generator=torch.Generator().manual_seed(0))
    calls = max(1, 2**17 // rows)
    blocks: dict[str, Block] = {}
    for mode in modes:
        batch = started(rows, mode)
        batch.advance(action)
        name = "compiled" if mode else "eager"
        blocks[name] = repeated(lambda b=batch: b.advance(action), calls, rows)  # type: ignore[misc]
    twin = NativeExit(started(rows, False), function)
    blocks["C++ by hand"] = repeated(lambda: twin.step(action), calls, rows)
    return blocks


def timed(blocks: dict[str, Block], effort: Effort) -> dict[str, float]:
    """Steps per CPU second, the best turns."""
    found = in_turns(list(blocks.values()), effort)
    return {name: max(rates) for name, rates in zip(blocks, found, strict=True)}


def main() -> int:
    """Check, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the C++ loop")
    parser.add_argument("--quick", action="store_true", help="eager only, short turns")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/limits.json"), help="JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    effort = Effort(turns=2, turn_s=0.05) if options.quick else EFFORT
    print(f"NumPy by hand differs from the environment by {check_numpy():.1g} at most")
    function = compiled()
    print(f"C++ by hand differs from the environment by {check_native(function):.1g} at most")
    single = timed(single_blocks((False,) if options.quick else (False, True, "aot")), effort)
    modes = (False,) if options.quick else (False, True)
    many = timed(batch_blocks(options.rows, function, modes), effort)
    for rows, rates, limit in ((1, single, "numpy by hand"), (options.rows, many, "C++ by hand")):
        for name, rate in rates.items():
            share = rate / rates[limit]
            print(f"{rows:>6} rows  {name:<16}{rate:>14,.0f} steps/CPU s  {share:.3f} of {limit}")
    report = {
        "machine": machine(),
        "method": asdict(effort),
        "env": ID,
        "rows": options.rows,
        "single": single,
        "batch": many,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
