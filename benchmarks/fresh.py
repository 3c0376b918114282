"""What a fresh process costs: imports, the command line, the first step, memory.

Every figure is of a process of its own. Run by ``benchmarks/speed.py``; by hand
``python benchmarks/fresh.py ID`` prints what one environment costs as JSON.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STATEMENTS = {
    "python": "pass",
    "torch + gymnasium": "import torch, gymnasium",
    "sixgym": "import sixgym",
    "sixgym with its environments": "import sixgym, sixgym.envs.core.make",
    "sixgym --help": "import sys; sys.argv = ['sixgym', '--help']\n"
    "from sixgym.cli.main import main\nmain()",
}
"""What is timed in a fresh interpreter."""
MEMORY_ROWS = 16_384
MEMORY_STEPS = 3


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def process_s(code: str, repeats: int) -> dict[str, float]:
    """Wall and CPU time of a fresh interpreter that runs some code, the best of a few.

    Raises:
        RuntimeError: it fails.
    """
    walls, cpus = [], []
    for _ in range(repeats):
        before, began = os.times(), time.perf_counter()
        done = _run("-c", code)
        walls.append(time.perf_counter() - began)
        after = os.times()
        if done.returncode:
            raise RuntimeError(f"{code!r} failed: {done.stderr.strip()[-300:]}")
        cpus.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    return {"wall_s": min(walls), "cpu_s": min(cpus)}


def imports(repeats: int) -> dict[str, dict[str, float]]:
    """Each of `STATEMENTS`."""
    return {name: process_s(code, repeats) for name, code in STATEMENTS.items()}


def in_fresh_process(id: str) -> dict[str, float]:
    """`footprint` of an id in a process of its own.

    Raises:
        RuntimeError: it fails.
    """
    done = _run(str(Path(__file__)), id)
    if done.returncode:
        raise RuntimeError(f"{id}: {done.stderr.strip()[-300:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def footprint(id: str) -> dict[str, float]:
    """First-step time and memory of one environment, eager.

    Returns:
        ``make_s``, ``reset_s`` and ``first_step_s`` of the single environment, wall seconds, all
        imports done before; ``rss_bytes`` after it, the most that the process ever held; and
        ``row_bytes``: by how much that grew for the vector environment, over its rows.
    """
    import gymnasium as gym
    import torch

    import sixgym.envs.core.make  # noqa: F401 - what gym.make would import
    from sixgym.envs.core.registry import entry

    torch.set_num_threads(1)
    entry(id).load_system()
    began = time.perf_counter()
    env: Any = gym.make(id, disable_env_checker=True)
    made = time.perf_counter()
    env.reset(seed=0)
    reset = time.perf_counter()
    env.step(env.action_space.sample())
    stepped = time.perf_counter()
    single = peak_bytes()
    many: Any = gym.make_vec(id, MEMORY_ROWS, vectorization_mode="vector_entry_point")
    many.reset(seed=0)
    for _ in range(MEMORY_STEPS):
        many.step(many.action_space.sample())
    return {
        "make_s": made - began,
        "reset_s": reset - made,
        "first_step_s": stepped - reset,
        "rss_bytes": single,
        "row_bytes": (peak_bytes() - single) / MEMORY_ROWS,
    }


def peak_bytes() -> int:
    """The most memory that this process has held.

    Linux's own mark starts anew with a program; ``ru_maxrss`` keeps that of the parent.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    if found:
        return 1024 * int(found.group(1))
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps(footprint(sys.argv[1])))
