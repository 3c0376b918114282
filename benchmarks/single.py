"""Where the microseconds of a step of the single environment go, compiled ahead of time.

Run with ``python benchmarks/single.py``. Of ``gym.make(id, compile="aot").unwrapped`` at work:

    raw       the library's run call alone: physics, random numbers, its buffers
    advance   with what hands its state from one call to the next and parts its results
    read      checking and converting the action
    step      the whole ``step``, with observation and info in NumPy, without ``reset``

The cache of libraries is used, so the first run compiles them (``first``, wall seconds).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from timing import (
    Effort,
    action_pool,
    can_compile,
    ids_of,
    in_turns,
    machine,
    repeated,
    steps_block,
)

from sixgym.envs.core.aot import Kernel

WANTED = 20_000
"""Bare steps per second of one row."""
CALLS = 200
EFFORT = Effort(turns=9, turn_s=0.1)


def profile(id: str, effort: Effort) -> dict[str, float]:
    """Microseconds of CPU time, the best turns, and how many tensors cross.

    Raises:
        RuntimeError: there is no kernel.
    """
    env: Any = gym.make(id, compile="aot", disable_env_checker=True).unwrapped
    actions = action_pool(env.action_space)
    env.reset(seed=0)
    began = time.perf_counter()
    env.step(next(actions))
    first_s = time.perf_counter() - began
    env.reset()
    rows, kernel = env.rows, env.rows._fused
    if not isinstance(kernel, Kernel):
        raise RuntimeError("no kernel could be made")
    value = next(actions)
    action = env._reader.read(value, None)
    carried = (*rows.state, rows.step, rows._key)
    run, inputs = kernel.run, kernel.inputs(kernel.hold(carried), action)
    blocks = {
        "raw": repeated(lambda: run(inputs), CALLS),
        "advance": repeated(lambda: rows.advance_arrays(action), CALLS),
        "read": repeated(lambda: env._reader.read(value, None), CALLS),
        "step": steps_block(env, actions, CALLS),
    }
    found = in_turns(list(blocks.values()), effort)
    spent = {f"{k}_us": 1e6 / max(rates) for k, rates in zip(blocks, found, strict=True)}
    rate = 1e6 / spent["step_us"]
    tensors = {
        "inputs": len(inputs),
        "outputs": len(run(inputs)),
        "metrics": len(rows.metric_names),
    }
    return {"steps_per_cpu_s": rate, "first_s": first_s, **spent, **tensors}


def main() -> int:
    """Measure, print and write after every id; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", action="append", help="an id; may be repeated; default: all")
    parser.add_argument("--quick", action="store_true", help="short turns")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/single.json"), help="JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    effort = Effort(turns=2, turn_s=0.02) if options.quick else EFFORT
    report: dict[str, Any] = {"machine": machine(), "wanted": WANTED, "steps": {}}
    print(f"{'environment':<32}{'steps/CPU s':>12}{'step us':>9}{'raw':>7}{'advance':>9}", end="")
    print(f"{'read':>7}{'in':>5}{'out':>5}{'first s':>9}")
    failed = False
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for id in ids_of(options.env):
        if not can_compile(id):
            continue
        try:
            found = report["steps"][id] = profile(id, effort)
        except Exception as error:
            failed = True
            print(f"{id}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            continue
        line = f"{id:<32}{found['steps_per_cpu_s']:>12,.0f}{found['step_us']:>9.1f}"
        line += f"{found['raw_us']:>7.1f}{found['advance_us']:>9.1f}{found['read_us']:>7.1f}"
        line += f"{found['inputs']:>5}{found['outputs']:>5}{found['first_s']:>9.1f}"
        is_short = found["steps_per_cpu_s"] < WANTED
        print(line + (f"  below {WANTED:,}" if is_short else ""), flush=True)
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(options.out)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
