"""What the workers of the engine's tests do. Imported by them, so it needs nothing of pytest."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def add(a: float, b: float) -> list[float]:
    return [a, a + b]


def echo(value: Any) -> Any:
    return value


def note(path: str) -> int:
    """Count the calls in a file."""
    with Path(path).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return len(Path(path).read_text().splitlines())


def die(path: str, times: int) -> str:
    """Be killed in the first so many calls."""
    if note(path) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def fail(path: str) -> None:
    note(path)
    raise KeyError("spoon")


def refuse() -> None:
    from sixgym.envs.core.errors import OptionsError

    raise OptionsError("spoon=3: allowed:\n a fork")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def leave() -> None:
    sys.exit(3)


def print_much() -> str:
    print("x" * 100_000)
    os.write(1, b"[not an answer]\n")
    return "printed"


def doors(id: str) -> int:
    import gymnasium as gym

    env = gym.make(id)
    return int(env.action_space.n)  # type: ignore[attr-defined]


def threads() -> int:
    import torch

    return torch.get_num_threads()


def wait(path: str, until: str) -> str:
    """Say that it is there, and stay until a file is."""
    note(path)
    while not Path(until).exists():
        time.sleep(0.02)
    return "waited"


def node(path: str, until: str) -> str:
    """As `wait`; returns the node of Ray that it was on."""
    import ray

    where = str(ray.get_runtime_context().get_node_id())
    with Path(path).open("a") as file:
        file.write(f"{where} {os.getpid()}\n")
    while not Path(until).exists():
        time.sleep(0.02)
    return where
