"""Speed beside other suites, as ratios measured in one run.

Run with ``make bench-peers``, which makes the virtual environment ``.venv-peers`` with mobile-env,
gym-d2d and VMAS in it, or ``python benchmarks/peers.py --python PATH``. Their problems are other
problems, so the ratios are for scale only. Each peer plays in a process of its own interpreter and
waits between its turns; one of ours plays in turn with it. A step is one of the whole environment
with observations and resets; VMAS counts one for each of its rows.

    mobile-env 2.1.0   mobile-medium-central-v0: 3 base stations, 15 users      1 row
    gym-d2d 0.0.3      its default cell, all transmitters acting                1 row
    vmas               balance with 3 agents                                    1, 256, 4,096 rows
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PEERS = {"mobile-env": (1,), "gym-d2d": (1,), "vmas": (1, 256, 4096)}
OURS = ("sixgym/EventOffload-v0", "sixgym/RisNoma-v0")
TURNS = 5
TURN_S = 0.5
CALLS = 20
DEFAULT_PYTHON = Path(".venv-peers") / "bin" / "python"


def mobile_env(rows: int) -> Callable[[], int]:
    """Steps of one mobile-env."""
    import gymnasium
    import mobile_env  # noqa: F401 - registers its ids

    env: Any = gymnasium.make("mobile-medium-central-v0")
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(8)]

    def block() -> int:
        for i in range(CALLS):
            _, _, terminated, truncated, _ = env.step(actions[i % len(actions)])
            if terminated or truncated:
                env.reset()
        return CALLS

    return block


def gym_d2d(rows: int) -> Callable[[], int]:
    """Steps of one gym-d2d, of the older interface of Gym."""
    from gym_d2d.envs import D2DEnv

    env: Any = D2DEnv()
    seen = env.reset()
    spaces = env.action_space
    kinds = {"mbs": "mbs", "cue": "cue", "due": "due"}

    def sample(name: str) -> Any:
        kind = next((k for k in kinds if name.startswith(k)), "due")
        return spaces[kind].sample()

    actions = [{name: sample(name) for name in seen} for _ in range(8)]

    def block() -> int:
        for i in range(CALLS):
            done = env.step(actions[i % len(actions)])[2]
            if done["__all__"] if isinstance(done, dict) else done:
                env.reset()
        return CALLS

    return block


def vmas(rows: int) -> Callable[[], int]:
    """Steps of VMAS's rows."""
    import torch
    from vmas import make_env

    torch.set_num_threads(1)
    env: Any = make_env("balance", num_envs=rows, device="cpu", seed=0, max_steps=100)
    env.reset()
    actions = [[env.get_random_action(agent) for agent in env.agents] for _ in range(8)]

    def block() -> int:
        for i in range(CALLS):
            done = env.step(actions[i % len(actions)])[2]
            if bool(done.all()):
                env.reset()
        return CALLS * rows

    return block


MAKERS = {"mobile-env": mobile_env, "gym-d2d": gym_d2d, "vmas": vmas}


def child(name: str, rows: int) -> None:
    """In a peer's interpreter: a turn for every line on stdin, its rate on stdout."""
    from importlib.metadata import version

    block = MAKERS[name](rows)
    block()
    print(json.dumps({"version": version(name)}), flush=True)
    for line in sys.stdin:
        least_s, steps, began = float(line), 0, time.process_time()
        while (took := time.process_time() - began) < least_s:
            steps += block()
        print(json.dumps({"rate": steps / took}), flush=True)


@contextmanager
def peer(python: Path, name: str, rows: int) -> Iterator[tuple[str, Callable[[float], float]]]:
    """A peer at work: its version, and what plays one turn of it.

    Raises:
        RuntimeError: it does not start or stops on the way.
    """
    command = [str(python), __file__, "--child", name, "--rows", str(rows)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def answer() -> dict[str, Any]:
        assert process.stdout is not None
        for line in process.stdout:  # what a peer itself prints is passed over
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        _, errors = process.communicate()
        reason = errors.strip().splitlines()[-1:] or ["no word"]
        raise RuntimeError(f"{name}: {reason[0][:300]}")

    def turn(least_s: float) -> float:
        assert process.stdin is not None
        process.stdin.write(f"{least_s}\n")
        process.stdin.flush()
        return float(answer()["rate"])

    try:
        yield answer()["version"], turn
    finally:
        process.kill()
        process.communicate()


def compare(python: Path, name: str, rows: int, compiled: bool) -> dict[str, Any]:
    """One peer at one number of rows beside ours in turns."""
    from timing import one_turn, prepare

    mode = "compiled" if compiled else "eager"
    cells = {id: prepare(id, rows, mode) for id in OURS}
    rates: dict[str, list[float]] = {key: [] for key in (name, *OURS)}
    with peer(python, name, rows) as (version, turn):
        for _ in range(TURNS):
            rates[name].append(turn(TURN_S))
            for id, cell in cells.items():
                rates[id].append(cell.rate(one_turn(cell.block, TURN_S)))
    best = {key: max(found) for key, found in rates.items()}
    return {
        "peer": name,
        "version": version,
        "rows": rows,
        "mode": mode,
        "steps_per_cpu_s": best,
        "ratios": {id: best[id] / best[name] for id in OURS},
    }


def main() -> int:
    """Measure, print and write; 1 if a peer could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--python", type=Path, default=DEFAULT_PYTHON, help="the peers' interpreter"
    )
    parser.add_argument("--only", choices=sorted(PEERS), help="one peer")
    parser.add_argument("--rows", type=int, help="only so many rows")
    parser.add_argument("--eager", action="store_true", help="do not compile ours")
    parser.add_argument("--child", choices=sorted(PEERS), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/peers.json"), help="JSON")
    options = parser.parse_args()
    if options.child:
        child(options.child, options.rows)
        return 0
    if not options.python.exists():
        print(f"{options.python}: not there; make bench-peers makes it", file=sys.stderr)
        return 1
    import torch
    from timing import machine

    torch.set_num_threads(1)
    report: dict[str, Any] = {"machine": machine(), "peers": [], "failed": {}}
    for name in [options.only] if options.only else PEERS:
        for rows in [options.rows] if options.rows else PEERS[name]:
            try:
                found = compare(options.python, name, rows, not options.eager)
            except RuntimeError as error:
                report["failed"][name] = str(error)
                print(error, file=sys.stderr, flush=True)
                break
            report["peers"].append(found)
            rate = found["steps_per_cpu_s"][name]
            print(f"{rows:>6} rows  {name} {found['version']}: {rate:,.0f} steps/CPU s", flush=True)
            for id, ratio in found["ratios"].items():
                print(f"{'':>12}{id} ({found['mode']}): {ratio:.3g} times that", flush=True)
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(options.out)
    return int(bool(report["failed"]))


if __name__ == "__main__":
    sys.exit(main())
