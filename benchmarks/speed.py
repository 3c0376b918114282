"""Speed of every environment, beside CartPole's in the same run.

Run with ``make bench`` or ``python benchmarks/speed.py --quick``. One thread; CPU time of this
process; whole steps with observations, infos and resets; random actions made beforehand;
compilation timed apart, from an empty cache. A vector step counts its real transitions only: the
call in which a row is restarted (NextStep autoreset) costs time and counts nothing, as in
Gymnasium's own benchmark. A game is stepped by its central view: a step is one of all its agents
together. Every environment is measured in turns with CartPole of as many rows, so that the ratio
is of one moment of the machine.

A measurement is stored as soon as it is made. What does not fit into ``--minutes`` is left out and
named; ``--resume`` goes on where a run stopped.

Nothing here is asserted by tests: absolute numbers depend on the machine, so read the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fresh
import gymnasium as gym
import numpy as np
import torch
from timing import (
    CARTPOLE,
    NO_PARAMS,
    Cell,
    Effort,
    action_pool,
    calls_of,
    can_compile,
    ids_of,
    in_turns,
    machine,
    prepare,
    repeated,
)

from sixgym.agents.config import override
from sixgym.envs.core.registry import entry

ROWS = (1, 16, 256, 4096, 16_384)
QUICK_ROWS = (1, 256)
FULL = Effort(turns=5, turn_s=0.3)
QUICK = Effort(turns=2, turn_s=0.2)
FULL_MINUTES = 60.0
QUICK_MINUTES = 5.0
PPO_STEPS = 32
PPO_BATCH = 4096
FAST_STEPS = 200_000
"""Compiled steps per CPU second from which on an env should take little of a training."""
FAST_SHARE = 0.10
KEPT_MACHINE = ("cpu", "threads", "python", "torch", "gymnasium", "sixgym")
"""What must be the same for a run to be gone on with."""


@dataclass(frozen=True)
class Speed:
    """One measured cell."""

    env: str
    rows: int
    mode: str
    """``eager``, ``compiled``, ``aot`` (one row, bare steps), ``numpy`` for CartPole."""
    steps_per_cpu_s: float
    """Best turn: what the code can do when the machine lets it."""
    median_steps_per_cpu_s: float
    compile_wall_s: float
    """Time of the calls before steady state; 0 where nothing is compiled."""
    x_cartpole: float
    """Over CartPole's steps per CPU second in the same turns."""


class Report:
    """The results so far, on disk after every measurement.

    Args:
        path: JSON file.
        method: how is measured; with the machine it must be that of a report to go on with.
        resume: keep what the file holds.

    Raises:
        SystemExit: the file is of another machine or method.
    """

    def __init__(self, path: Path, method: Mapping[str, Any], *, resume: bool) -> None:
        self.path = path
        self.data: dict[str, Any] = {"machine": machine(), "method": dict(method)}
        self.data |= {"imports": {}, "fresh": {}, "speeds": [], "sb3_view": {}, "ppo": {}}
        if resume and path.exists():
            self._take(json.loads(path.read_text()))

    def _take(self, before: dict[str, Any]) -> None:
        kept = [before.get("method") == self.data["method"]]
        kept += [before.get("machine", {}).get(k) == self.data["machine"][k] for k in KEPT_MACHINE]
        if not all(kept):
            raise SystemExit(f"{self.path}: of another machine, version or method: cannot resume")
        self.data |= {k: v for k, v in before.items() if k != "machine"}

    def has_rows(self, id: str, rows: int) -> bool:
        """Whether an environment was measured at a number of rows."""
        return any((s["env"], s["rows"]) == (id, rows) for s in self.data["speeds"])

    def save(self) -> None:
        """Write the file, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        half = self.path.with_suffix(".part")
        half.write_text(json.dumps(self.data, indent=1) + "\n")
        half.replace(self.path)


def modes_of(id: str, rows: int, compiled: bool) -> list[str]:
    """The ways in which an environment is stepped."""
    if not compiled or not can_compile(id):
        return ["eager"]
    return ["eager", "compiled", "aot"] if rows == 1 else ["eager", "compiled"]


def measure_rows(
    id: str, rows: int, effort: Effort, compiled: bool, params: Mapping[str, Any] = NO_PARAMS
) -> list[Speed]:
    """CartPole and an id in every mode at one number of rows, in turns."""
    names = [(CARTPOLE, "numpy"), *((id, mode) for mode in modes_of(id, rows, compiled))]
    cells: list[Cell] = [prepare(name, rows, mode, params) for name, mode in names]
    rates = in_turns([cell.block for cell in cells], effort)
    base = max(rates[0])
    speeds = []
    for (name, mode), cell, found in zip(names, cells, rates, strict=True):
        warm_s = cell.warm_s if mode in ("compiled", "aot") else 0.0
        best = cell.rate(max(found))
        median = cell.rate(float(np.median(found)))
        speeds.append(Speed(name, rows, mode, best, median, warm_s, best / base))
        line = f"{rows:>6}  {name:<29}{mode:<10}{best:>12,.0f}{best / base:>12.3f}"
        print(line + (f"{warm_s:>11.1f}" if warm_s else f"{'-':>11}"), flush=True)
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
    blocks = [
        repeated(lambda: native.step(next(actions)), calls, rows),
        repeated(lambda: view.step(next(actions)), calls, rows),
    ]
    # The difference is far below what the machine's mood does to either: pairs, short and many.
    pairs = Effort(turns=5 * effort.turns, turn_s=effort.turn_s / 2)
    alone, viewed = in_turns(blocks, pairs)
    return float(np.median(np.divide(alone, viewed))) - 1.0


def ppo_share(id: str, rows: int, batch_size: int, iterations: int, compiled: bool) -> Any:
    """CPU time spent in the env, as a share of a PPO run of Stable-Baselines3.

    Returns:
        ``share``, ``steps_per_cpu_s`` of the whole run, ``env_steps_per_cpu_s`` of its environment
        part, and ``rows``, ``batch_size``, ``compiled``.
    """
    from stable_baselines3 import PPO

    from sixgym.sb3 import make_vec_env

    env = make_vec_env(id, rows, seed=0, compile=compiled)
    spent = 0.0
    step_wait = env.step_wait

    def timed() -> Any:
        nonlocal spent
        began = time.process_time()
        result = step_wait()
        spent += time.process_time() - began
        return result

    env.step_wait = timed  # type: ignore[method-assign]
    policy = "MultiInputPolicy" if isinstance(env.observation_space, gym.spaces.Dict) else None
    model = PPO(
        policy or "MlpPolicy",
        env,
        n_steps=PPO_STEPS,
        batch_size=min(batch_size, rows * PPO_STEPS),
        seed=0,
        device="cpu",
    )
    model.learn(rows * PPO_STEPS)  # the first iteration pays for what is done once
    spent = 0.0
    began = time.process_time()
    model.learn(rows * PPO_STEPS * iterations, reset_num_timesteps=False)
    total = time.process_time() - began
    steps = rows * PPO_STEPS * iterations
    return {
        "share": spent / total,
        "steps_per_cpu_s": steps / total,
        "env_steps_per_cpu_s": steps / spent,
        "rows": rows,
        "batch_size": batch_size,
        "compiled": compiled,
    }


Job = tuple[str, Callable[[], None]]
"""Its name and what to do; jobs whose results are stored are not made."""


def process_jobs(report: Report, ids: Sequence[str], repeats: int) -> Iterator[Job]:
    """Imports, and what each environment costs a fresh process."""
    if not report.data["imports"]:

        def do_imports() -> None:
            found = report.data["imports"] = fresh.imports(repeats)
            for name, cost in found.items():
                print(f"{name}: {cost['cpu_s']:.2f} CPU s, {cost['wall_s']:.2f} s", flush=True)

        yield "imports", do_imports
    for id in ids:
        if id in report.data["fresh"]:
            continue

        def do_fresh(id: str = id) -> None:
            found = report.data["fresh"][id] = fresh.in_fresh_process(id)
            first = found["make_s"] + found["reset_s"] + found["first_step_s"]
            print(
                f"{id}: first step after {1e3 * first:.0f} ms, "
                f"{found['rss_bytes'] / 2**20:.0f} MiB at one row, "
                f"{found['row_bytes'] / 1024:.1f} KiB a row of {fresh.MEMORY_ROWS:,}",
                flush=True,
            )

        yield f"a fresh process of {id}", do_fresh


def speed_jobs(
    report: Report,
    ids: Sequence[str],
    rows: Sequence[int],
    effort: Effort,
    compiled: bool,
    params: Mapping[str, Any],
) -> Iterator[Job]:
    """Steps per CPU second, few rows first."""
    for count in rows:
        for id in ids:
            if report.has_rows(id, count):
                continue

            def do(id: str = id, count: int = count) -> None:
                found = [asdict(s) for s in measure_rows(id, count, effort, compiled, params)]
                if report.has_rows(CARTPOLE, count):  # its ratios are kept; of itself one suffices
                    found = found[1:]
                report.data["speeds"] += found

            yield f"{id} at {count:,} rows", do


def learning_jobs(
    report: Report, ids: Sequence[str], effort: Effort, compiled: bool, quick: bool
) -> Iterator[Job]:
    """What Stable-Baselines3's view adds, and the share of a PPO run that is the env."""
    rows = 256 if quick else 1024
    for id in ids:
        if id not in report.data["sb3_view"]:

            def do_view(id: str = id) -> None:
                added = sb3_overhead(id, 256, effort)
                report.data["sb3_view"][id] = {"overhead": added}
                text = f"{id}: the Stable-Baselines3 view adds {added:.1%} at 256 rows"
                print(text, flush=True)

            yield f"{id} in the Stable-Baselines3 view", do_view
        if id not in report.data["ppo"]:

            def do_ppo(id: str = id) -> None:
                fused = compiled and can_compile(id)
                found = ppo_share(id, rows, PPO_BATCH, 1 if quick else 2, fused)
                report.data["ppo"][id] = found
                is_fast = fused and found["env_steps_per_cpu_s"] >= FAST_STEPS
                is_over = is_fast and found["share"] >= FAST_SHARE
                print(
                    f"{id}: {found['share']:.1%} of a PPO run ({rows:,} rows, batch "
                    f"{PPO_BATCH:,}) is the {'compiled' if fused else 'eager'} env; "
                    f"{found['steps_per_cpu_s']:,.0f} steps per CPU second in all"
                    + (f"; over {FAST_SHARE:.0%}" if is_over else ""),
                    flush=True,
                )

            yield f"{id} in PPO", do_ppo


def do_all(report: Report, jobs: Iterator[Job], minutes: float) -> list[str]:
    """Do the jobs one after another while there is time; the names of those left out.

    One that fails is stored with its error and does not end the run.
    """
    end = time.monotonic() + 60.0 * minutes
    left = []
    for name, do in jobs:
        if time.monotonic() > end:
            left.append(name)
            continue
        try:
            do()
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            report.data.setdefault("failed", {})[name] = text
            print(f"{name}: failed: {text}", file=sys.stderr, flush=True)
        report.save()
    return left


@contextmanager
def empty_caches(keep: bool) -> Iterator[None]:
    """Folders of their own for what is compiled, so that its time is that of the first time."""
    if keep:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="sixgym-bench-") as folder:
        before = {k: os.environ.get(k) for k in ("TORCHINDUCTOR_CACHE_DIR", "XDG_CACHE_HOME")}
        os.environ.update(dict.fromkeys(before, folder))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="few rows, short turns, no compilation: 5 minutes"
    )
    parser.add_argument("--env", action="append", help="an id; may be repeated; default: all")
    parser.add_argument("--rows", type=int, nargs="+", help="rows to measure")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE of the envs")
    parser.add_argument("--steps-only", action="store_true", help="only steps per CPU second")
    parser.add_argument("--minutes", type=float, help="begin nothing after so many minutes")
    parser.add_argument("--resume", action="store_true", help="go on with the JSON")
    parser.add_argument(
        "--warm", action="store_true", help="use what was compiled before; compile times are void"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench/speed.json"), help="JSON to write"
    )
    return parser.parse_args()


def main() -> int:
    """Measure, print and write; 1 if a measurement failed, 2 if some were left out."""
    options = arguments()
    torch.set_num_threads(1)
    quick = options.quick
    effort = QUICK if quick else FULL
    ids = ids_of(options.env)
    for id in ids:
        entry(id)  # an unknown one is refused before anything is measured
    rows = tuple(options.rows or (QUICK_ROWS if quick else ROWS))
    compiled = not (quick or options.eager)
    params: dict[str, Any] = {}
    for text in options.set:
        override(params, text)
    method = {**asdict(effort), "compiled": compiled, "cold": not options.warm, "params": params}
    report = Report(options.out, method, resume=options.resume)
    report.data.pop("failed", None)

    def jobs() -> Iterator[Job]:
        if not options.steps_only:
            yield from process_jobs(report, ids, repeats=2 if quick else 5)
        print(f"{'rows':>6}  {'environment':<29}{'mode':<10}{'steps/CPU s':>12}", end="")
        print(f"{'x CartPole':>12}{'compile s':>11}")
        yield from speed_jobs(report, ids, rows, effort, compiled, params)
        if not options.steps_only:
            yield from learning_jobs(report, ids, effort, compiled, quick)

    minutes = options.minutes or (QUICK_MINUTES if quick else FULL_MINUTES)
    with empty_caches(options.warm):
        left = do_all(report, jobs(), minutes)
    report.save()
    if left:
        print(f"left out for time, for --resume: {'; '.join(left)}", file=sys.stderr)
    print(options.out)
    return 1 if report.data.get("failed") else 2 if left else 0


if __name__ == "__main__":
    sys.exit(main())
