"""Long random play of every environment: finite, inside its spaces, flat in memory, conserving.

Run with ``make soak`` or ``python benchmarks/soak.py --minutes 1 --env sixgym/LlmMac-v0``. Each id
plays `STEPS` environment steps, or as many as fit into its CPU time; the table says how many. The
actions are drawn over the whole space and its corners. Looked at are

- in every step: rewards and observations are finite;
- every few steps: observations lie in their space, all metrics are finite, and the identities of
  `soak_identities` hold;
- memory: a straight line through the resident set after warming up grows less than `GROWTH_MB`.

Exits 1 if anything was found. Each id runs in a process of its own, ``--jobs`` of them at a time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from soak_identities import BOOKS, PARAMS, Array, Books, Identity, Seen

import sixgym
from sixgym.agents.config import override
from sixgym.envs.core.registry import entries

STEPS = 10_000_000
"""Environment steps of an id, where the CPU time allows them."""
MINUTES = 5.0
"""CPU time of an id."""
ROWS = 256
STRIDE = 25
"""Calls between two looks at spaces, metrics and identities."""
LEAST_STRIDE = 5
"""Calls between two looks where episodes end in between: an end is worth a look of its own."""
GROWTH_MB = 16.0
"""Growth of the resident set that is a leak. An allocator's own moods stay below it."""
SAMPLES = 200
"""Looks at the memory."""
WARM_SHARE = 0.25
"""Share of a run that the straight line leaves out."""
KEPT_FAULTS = 3
"""Faults of one kind that are told in full."""
PERIOD = 50
"""Calls in which a row keeps its way of acting."""
WAYS = ("inside", "corners", "low", "high", "edges", "held")


# ------------------------------------------------------------------------------------- actions


class Mixture:
    """Batches of actions from the whole of a space, in `WAYS` that each row keeps for a while.

    Inside, a corner (each component at one end), all low, all high, some components at their ends,
    or one action held.

    Args:
        space: of one row: Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of them.
        rows: of a batch.
        seed: of the drawing.
    """

    def __init__(self, space: gym.Space[Any], rows: int, seed: int = 0) -> None:
        self.space = space
        self.rows = rows
        self.random = np.random.default_rng(seed)
        self._calls = 0
        self._held: dict[str, NDArray[np.float32]] = {}
        self._way = self._ways()

    def __call__(self) -> Any:
        """The next batch."""
        if self._calls % PERIOD == 0:
            self._way = self._ways()
            self._held = {}
        self._calls += 1
        return self._of(self.space, "")

    def _ways(self) -> NDArray[np.int64]:
        return self.random.integers(0, len(WAYS), self.rows)

    def _of(self, space: gym.Space[Any], name: str) -> Any:
        if isinstance(space, spaces.Dict):
            return {k: self._of(s, f"{name}.{k}") for k, s in space.spaces.items()}
        unit = self._unit(space.shape or (), name)
        if isinstance(space, spaces.Box):
            value = space.low + unit * (space.high - space.low)
            return np.clip(value, space.low, space.high).astype(space.dtype)
        if isinstance(space, spaces.MultiBinary):
            return (unit >= 0.5).astype(np.int8)
        if isinstance(space, spaces.MultiDiscrete):
            return _index(unit, space.nvec) + space.start
        if isinstance(space, spaces.Discrete):
            return _index(unit, space.n) + space.start
        raise TypeError(f"{name or 'action'}: {type(space).__name__} is not drawn here")

    def _unit(self, shape: tuple[int, ...], name: str) -> NDArray[np.float32]:
        """Numbers in [0, 1], (rows, *shape)."""
        unit = self.random.random((self.rows, *shape), dtype=np.float32)
        held = self._held.setdefault(name, unit.copy())
        ends = np.round(unit)
        at_end = self.random.random(unit.shape, dtype=np.float32) < 0.2
        found = (unit, ends, np.zeros_like(unit), np.ones_like(unit), np.where(at_end, ends, unit))
        way = self._way.reshape(-1, *(1,) * len(shape))
        return np.select([way == i for i in range(len(found))], found, held)


def _index(unit: NDArray[np.float32], count: Any) -> NDArray[np.int64]:
    return np.minimum((unit * count).astype(np.int64), np.asarray(count) - 1)


# ----------------------------------------------------------------------------------------- memory


def resident_mb() -> float:
    """The resident set of this process; its peak where the system does not tell."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        return int(pages.read_text().split()[1]) * resource.getpagesize() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


@dataclass
class Memory:
    """The resident set along a run."""

    steps: list[int] = field(default_factory=list)
    mb: list[float] = field(default_factory=list)

    def look(self, steps: int) -> None:
        """Note the memory after so many environment steps."""
        self.steps.append(steps)
        self.mb.append(resident_mb())

    def growth(self) -> tuple[float, float]:
        """Growth along the line after warming up: MB in all, and MB per million steps."""
        start = int(len(self.mb) * WARM_SHARE)
        x, y = np.array(self.steps[start:], float), np.array(self.mb[start:])
        if len(x) < 3:
            return 0.0, 0.0
        slope = float(np.polyfit(x - x[0], y, 1)[0])
        return slope * float(x[-1] - x[0]), slope * 1e6


# --------------------------------------------------------------------------------------- one run


@dataclass
class Held:
    """How well an identity held."""

    name: str
    tolerance: float
    checks: int = 0
    """Rows looked at."""
    largest: float = 0.0
    """Difference of the sides over the larger of them."""


@dataclass
class Report:
    """What a run of one id found."""

    env: str
    rows: int
    params: dict[str, Any]
    steps: int = 0
    episodes: int = 0
    cpu_s: float = 0.0
    looks: int = 0
    identities: list[Held] = field(default_factory=list)
    memory_mb: float = 0.0
    growth_mb: float = 0.0
    growth_mb_per_million: float = 0.0
    faults: list[str] = field(default_factory=list)

    def fault(self, kind: str, text: str) -> None:
        """Note a fault; of each kind only the first few in full."""
        if sum(f.startswith(kind) for f in self.faults) < KEPT_FAULTS:
            self.faults.append(f"{kind}: {text}")


@dataclass(frozen=True)
class Effort:
    """When a run ends: what comes first."""

    steps: int = STEPS
    cpu_s: float = MINUTES * 60.0
    stride: int = STRIDE


class Ledger:
    """What every row held as its episode began, and the sums since then.

    Args:
        books: of the system.
        env: the vector environment, after its first reset.
    """

    def __init__(self, books: Books, env: Any) -> None:
        self.books = books
        self.env = env
        self.first = self.stocks()
        self.sums = {name: np.zeros(env.num_envs) for name in books.sums}
        self.held = [Held(i.name, i.tolerance) for i in books.identities]

    def stocks(self) -> dict[str, Array]:
        """What every row holds now."""
        found = self.books.stocks(self.env.system, self.env.rows.state)
        return {k: v.cpu().numpy().astype(np.float64) for k, v in found.items()}

    def add(self, infos: Mapping[str, Any]) -> None:
        """Count a step."""
        for name, total in self.sums.items():
            total += infos[name]

    def restart(self, rows: NDArray[np.bool_]) -> None:
        """Begin anew in some rows."""
        for name, now in self.stocks().items():
            self.first[name][rows] = now[rows]
        for total in self.sums.values():
            total[rows] = 0.0

    def check(self, infos: Mapping[str, Any], report: Report) -> None:
        """Compare the sides of all identities."""
        step = {
            k: np.asarray(v, dtype=np.float64) for k, v in infos.items() if not k.startswith("_")
        }
        seen = Seen(self.env.system, self.first, self.stocks(), self.sums, step)
        for identity, held in zip(self.books.identities, self.held, strict=True):
            worst, row = _difference(identity, seen)
            held.checks += report.rows
            held.largest = max(held.largest, worst)
            if not worst <= identity.tolerance:  # also where it is NaN
                left, right = (np.ravel(side)[row] for side in identity.sides(seen))
                report.fault(
                    identity.name,
                    f"{left:.9g} and {right:.9g} in row {row} after {report.steps:,} steps",
                )


def _difference(identity: Identity, seen: Seen) -> tuple[float, int]:
    """The largest relative difference of the sides, and its row."""
    left, right = identity.sides(seen)
    scale = np.maximum(np.maximum(np.abs(left), np.abs(right)), 1e-30)
    error = np.ravel(np.abs(left - right) / scale)
    row = int(np.argmax(error))  # the first NaN, if there is one
    return float(error[row]), row


def soak(
    id: str,
    books: Books | None = None,
    *,
    rows: int = ROWS,
    effort: Effort | None = None,
    make: Callable[[], Any] | None = None,
    params: Mapping[str, Any] | None = None,
) -> Report:
    """Play one id and report.

    Args:
        id: of the environment.
        books: its identities; None: those of `BOOKS`, or none.
        rows: of the batch.
        effort: when it ends.
        make: gives the vector environment, in autoreset mode Disabled, in place of `make_env`.
        params: of the environment.
    """
    effort = effort or Effort()
    books = books or BOOKS.get(id) or Books(lambda system, state: {}, (), ())
    kwargs = {**PARAMS.get(id, {}), **(params or {})}
    env = make() if make else make_env(id, rows, kwargs)
    report, memory = Report(id, rows, kwargs), Memory()
    env.reset(seed=0)
    ledger, mixture = Ledger(books, env), Mixture(env.single_action_space, rows)
    began, last_look, next_sample = time.process_time(), -effort.stride, 0.0
    for call in _until(report, effort, began):
        observation, reward, terminated, truncated, infos = env.step(mixture())
        report.steps += rows
        ended = terminated | truncated
        ledger.add(infos)
        _finite(report, observation, reward)
        since = call - last_look
        if since >= effort.stride or (since >= LEAST_STRIDE and ended.any()):
            last_look = call
            _look(report, env, observation, infos)
            ledger.check(infos, report)
        if ended.any():
            report.episodes += int(ended.sum())
            env.reset(options={"reset_mask": ended})
            ledger.restart(ended)
        done = _share(report, effort, began)
        if done >= next_sample:
            next_sample += 1.0 / SAMPLES
            memory.look(report.steps)
    report.cpu_s = time.process_time() - began
    report.identities = ledger.held
    report.memory_mb = resident_mb()
    report.growth_mb, report.growth_mb_per_million = memory.growth()
    if report.growth_mb > GROWTH_MB:
        report.fault(
            "memory",
            f"grows by {report.growth_mb:.1f} MB in {report.steps:,} steps; "
            f"allowed: {GROWTH_MB} MB",
        )
    env.close()
    return report


def make_env(id: str, rows: int, params: Mapping[str, Any]) -> Any:
    """The vector environment with all its metrics; rows that end wait to be restarted."""
    kwargs = {"info_level": 1, "autoreset_mode": "Disabled", **params}
    return gym.make_vec(id, rows, vectorization_mode="vector_entry_point", **kwargs)


def _share(report: Report, effort: Effort, began: float) -> float:
    return max(report.steps / effort.steps, (time.process_time() - began) / effort.cpu_s)


def _until(report: Report, effort: Effort, began: float) -> Iterator[int]:
    call = 0
    while _share(report, effort, began) < 1.0:
        yield call
        call += 1


def _finite(report: Report, observation: Any, reward: Any) -> None:
    parts = observation.values() if isinstance(observation, dict) else (observation,)
    if not all(np.isfinite(part).all() for part in parts):
        report.fault("observation", f"not finite after {report.steps:,} steps")
    if not np.isfinite(reward).all():
        report.fault("reward", f"not finite after {report.steps:,} steps")


def _look(report: Report, env: Any, observation: Any, infos: Mapping[str, Any]) -> None:
    report.looks += 1
    if not env.observation_space.contains(observation):
        report.fault("observation", f"outside its space after {report.steps:,} steps")
    for name, value in infos.items():
        if not name.startswith("_") and not np.isfinite(value).all():
            report.fault(f"metric {name}", f"not finite after {report.steps:,} steps")


# ------------------------------------------------------------------------------------------ command


def play(id: str, rows: int, effort: Effort, params: Mapping[str, Any]) -> dict[str, Any]:
    """One id in a process of its own, as plain data."""
    torch.set_num_threads(1)
    return asdict(soak(id, rows=rows, effort=effort, params=params))


def line_of(found: Mapping[str, Any]) -> str:
    """A row of the table."""
    worst = max((i["largest"] for i in found["identities"]), default=0.0)
    return (
        f"{found['env']:<29}{found['steps']:>12,}{found['episodes']:>10,}{found['cpu_s']:>8.0f}"
        f"{found['memory_mb']:>8.0f}{found['growth_mb']:>8.2f}"
        f"{len(found['identities']):>6}{worst:>10.1e}  {len(found['faults']) or 'none'}"
    )


def stored(path: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The report of an earlier run of the same versions and effort, or nothing."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return found if all(found.get(key) == value for key, value in asked.items()) else {}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--env", action="append", help="an id; may be repeated; default: all")
    parser.add_argument("--steps", type=int, default=STEPS, help="of an id, at most")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="CPU time of an id")
    parser.add_argument("--rows", type=int, default=ROWS, help="of the batch")
    parser.add_argument("--jobs", type=int, default=1, help="ids at a time")
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE of the envs")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/soak/soak.json"), help="JSON to write"
    )
    parser.add_argument(
        "--resume", action="store_true", help="play only what --out lacks or had faults in"
    )
    return parser.parse_args()


def main() -> int:
    """Play, print and write."""
    options = arguments()
    params: dict[str, Any] = {}
    for text in options.set:
        override(params, text)
    ids = options.env or [e.id for e in entries()]
    effort = Effort(options.steps, options.minutes * 60.0)
    print(
        f"{'environment':<29}{'steps':>12}{'episodes':>10}{'CPU s':>8}{'MB':>8}{'growth':>8}",
        end="",
    )
    print(f"{'laws':>6}{'worst':>10}  faults", flush=True)
    began = time.perf_counter()
    asked = {
        "sixgym": sixgym.__version__,
        "torch": torch.__version__,
        "rows": options.rows,
        "steps": options.steps,
        "minutes": options.minutes,
        "params": params,
        "growth_limit_mb": GROWTH_MB,
    }
    before = stored(options.out, asked) if options.resume else {}
    report = {**asked, "wall_s": before.get("wall_s", 0.0), "runs": before.get("runs", [])}
    runs = {run["env"]: run for run in report["runs"] if not run["faults"] and run["env"] in ids}
    for run in runs.values():
        print(line_of(run), "(before)")
    spawn = multiprocessing.get_context("spawn")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(options.jobs, mp_context=spawn, max_tasks_per_child=1) as pool:
        played = [
            pool.submit(play, id, options.rows, effort, params) for id in ids if id not in runs
        ]
        for future in played:
            run = future.result()
            runs[run["env"]] = run
            print(line_of(run), flush=True)
            for fault in run["faults"]:
                print(f"    {fault}", flush=True)
            now = time.perf_counter()
            report["wall_s"] += now - began
            began = now
            report["runs"] = [runs[id] for id in ids if id in runs]
            options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(options.out)
    return int(any(run["faults"] for run in runs.values()))


if __name__ == "__main__":
    sys.exit(main())
