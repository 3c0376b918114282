"""Speed of every environment on a GPU: wall time of whole steps, tensors in and tensors out.

Run with ``python benchmarks/gpu.py``. The rows of the vector environment with ``device="cuda"`` and
``output="torch"``, random actions that lie on the GPU, in autoreset mode Disabled, so that nothing
has to be known on the host; the clock stops when the GPU has finished. A restart of all rows at the
end of every episode is included. Without a GPU it says so and exits 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import sixgym
from sixgym.envs.core.make import make_vector_env
from sixgym.envs.core.registry import entries, entry
from sixgym.envs.core.spaces import ActionReader
from sixgym.envs.core.system import Action

ROWS = (1, 256, 4096, 65_536, 262_144)
LEAST_S = 1.0
"""Seconds of a measurement."""


@dataclass(frozen=True)
class Cell:
    """One measured cell."""

    env: str
    rows: int
    mode: str
    """``eager`` or ``compiled``."""
    steps_per_s: float
    step_s: float
    """Wall time of one call."""
    first_s: float
    """Until the first steps were done: compilation, where there is one."""
    peak_bytes: int
    """Most memory that tensors took on the GPU."""


def action_on(env: Any, rows: int) -> Action:
    """Random actions of all rows, on the GPU."""
    env.action_space.seed(0)
    system = env.system
    reader = ActionReader(system.action_space, dtype=torch.float32, device=torch.device("cpu"))
    read = reader.read(env.action_space.sample(), rows)
    if isinstance(read, dict):
        return {k: v.to(system.device) for k, v in read.items()}
    return read.to(system.device)


def measure(id: str, rows: int, mode: str) -> Cell:
    """One cell; whole episodes, or as many steps as fill the time where they are long."""
    torch.cuda.reset_peak_memory_stats()
    limit = entry(id).max_episode_steps
    env: Any = make_vector_env(
        entry(id).system,
        rows,
        max_episode_steps=limit,
        autoreset_mode="Disabled",
        output="torch",
        device="cuda",
        compile=mode == "compiled",
    )
    action = action_on(env, rows)
    began = time.perf_counter()
    seeds = torch.arange(rows, device="cuda")
    env.rows.start(seeds=seeds)
    for _ in range(3):
        env.rows.advance(action)
    torch.cuda.synchronize()
    first_s = time.perf_counter() - began
    steps, episode = 0, min(limit or 200, 200)
    began = time.perf_counter()
    while True:
        env.rows.start()
        for _ in range(episode):
            env.rows.advance(action)
        torch.cuda.synchronize()
        steps += episode
        took = time.perf_counter() - began
        if took >= LEAST_S:
            break
    peak = torch.cuda.max_memory_allocated()
    return Cell(id, rows, mode, steps * rows / took, took / steps, first_s, peak)


def table(ids: Sequence[str], rows: Sequence[int], modes: Sequence[str]) -> list[dict[str, Any]]:
    """All cells; one that fails is reported and does not end the run."""
    found = []
    for id in ids:
        for count in rows:
            for mode in modes:
                try:
                    cell = asdict(measure(id, count, mode))
                    line = f"{cell['steps_per_s']:>14,.0f}{1e3 * cell['step_s']:>10.3f} ms"
                    line += f"{cell['first_s']:>9.1f} s{cell['peak_bytes'] / 2**20:>9.0f} MiB"
                except Exception as error:
                    cell = {"env": id, "rows": count, "mode": mode, "error": repr(error)[:300]}
                    line = f"  {cell['error']}"
                found.append(cell)
                print(f"{count:>7}  {id:<32}{mode:<10}{line}", flush=True)
    return found


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", action="append", help="an id; may be repeated; default: all")
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS), help="rows to measure")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/gpu.json"), help="JSON")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU here", file=sys.stderr)
        return 1
    ids = options.env or [e.id for e in entries() if not e.load_system().contains_solver]
    modes = ["eager"] if options.eager else ["eager", "compiled"]
    cells = table(ids, options.rows, modes)
    report = {
        "machine": {
            "gpu": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "sixgym": sixgym.__version__,
        },
        "cells": cells,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
