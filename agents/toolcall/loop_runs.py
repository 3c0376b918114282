"""From one YAML to served slots: tables, record, picture and the edge agent that came of it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sixgym.agents.logs import CsvTable, now, write_json
from sixgym.agents.runs import origin, torch_threads
from sixgym.agents.toolcall.figure import draw_loop
from sixgym.agents.toolcall.files import save
from sixgym.agents.toolcall.grading import Examiner, Report
from sixgym.agents.toolcall.loop import Loop, Slot
from sixgym.agents.toolcall.loop_config import LoopConfig
from sixgym.agents.toolcall.model import ToolNet
from sixgym.agents.toolcall.runs import (
    progress_bar,
    run_folder,
    supervised_start,
)

PART = 5
"""First and last fifth of the slots are compared. [our choice]"""


class Service(NamedTuple):
    """Means over the requests of some slots; None where there are none."""

    requests: int
    offload: float | None
    offload_mix: float | None
    score: float | None
    success: float | None
    valid: float | None
    draft_success: float | None
    draft_valid: float | None
    latency: float | None
    price: float | None
    utility: float | None

    @classmethod
    def of(cls, slots: Sequence[Slot]) -> Service:
        """Of slots, each with the weight of its requests."""
        busy = [s for s in slots if s.requests]
        total = sum(s.requests for s in busy)
        sums = {n: sum(s.requests * getattr(s, n) for s in busy) for n in cls._fields[1:]}
        return cls(total, **{n: v / total if total else None for n, v in sums.items()})


class LoopResult(NamedTuple):
    """One finished loop of one seed."""

    seed: int
    folder: Path
    """``slots.csv``, ``fifths.csv``, ``updates.csv``, ``run.json``, ``scorer.json``, ``edge`` with
    its card."""
    slots: list[Slot]
    first: Service
    """The first fifth of the slots."""
    last: Service
    """The last fifth."""
    start: Report | None
    """The supervised start on the frozen sets; None of an endpoint edge."""
    end: Report | None
    """The edge as it is after the last slot."""
    seconds: float
    """Wall time."""
    figure: Path
    """Offload share, success and schema-correctness of all seeds over time."""


def run_loop_from_config(
    name_or_path: str | Path, overrides: Sequence[str] = (), output: Path | None = None
) -> list[LoopResult]:
    """Run every seed of a closed loop.

    Args:
        name_or_path: a YAML file or a shipped one (``default``).
        overrides: ``a.b=value`` each, the value in YAML.
        output: replaces the configuration's folder of all runs.

    Raises:
        ConfigError: the configuration is malformed.
        EndpointError: an endpoint has no key, or refuses.
        PolicyError: the supervised start that it names cannot be read.
    """
    return run_loop(LoopConfig.load(name_or_path, overrides), output)


def run_loop(config: LoopConfig, output: Path | None = None) -> list[LoopResult]:
    """Run every seed of a closed loop; see `run_loop_from_config`."""
    folder = run_folder(config, output, "loop")
    results: list[LoopResult] = []
    with torch_threads(config.threads):
        for seed in config.seeds:
            results.append(_run_seed(config, seed, folder / f"seed_{seed}"))
            served = {r.seed: r.slots for r in results}
            draw_loop(results[0].figure, served, config.name)
    return results


def told(results: Sequence[LoopResult]) -> list[str]:
    """What a terminal shows of loops, line by line."""
    lines = []
    for result in results:
        lines.append(f"seed {result.seed}: {result.folder}, {result.seconds:.0f} s")
        for name, service in (("first fifth", result.first), ("last fifth", result.last)):
            lines.append(f"  {name}: {_numbers(service._asdict())}")
        for name, report in (("start", result.start), ("end", result.end)):
            if report is not None:
                lines.append(f"  {name}: {_numbers(report._asdict())}")
    if len(results) > 1:
        lines.append(f"change from first to last fifth, {len(results)} seeds:")
        lines += [f"  {name}: {change}" for name, change in changes(results).items()]
    return [*lines, f"over time: {results[-1].figure}"]


class Change(NamedTuple):
    """A mean over seeds with its 95 % interval by Student's t, as seeds are few."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def change_of(values: Sequence[float]) -> Change:
    """The mean of at least two seeds.

    Args:
        values: one a seed.
    """
    from scipy import stats

    mean, count = statistics.fmean(values), len(values)
    half = float(stats.t.ppf(0.975, count - 1)) * statistics.stdev(values) / math.sqrt(count)
    return Change(mean, mean - half, mean + half)


def changes(results: Sequence[LoopResult]) -> dict[str, Change]:
    """From the first to the last fifth of the slots, what every seed has a value of."""
    found = {}
    for name in Service._fields[1:]:
        ends = [(getattr(r.first, name), getattr(r.last, name)) for r in results]
        if all(None not in pair for pair in ends):
            found[name] = change_of([last - first for first, last in ends])
    return found


def _numbers(values: dict[str, Any]) -> str:
    shown = {k: v for k, v in values.items() if isinstance(v, float)}
    return ", ".join(f"{k} {v:.3f}" for k, v in shown.items())


def _run_seed(config: LoopConfig, seed: int, folder: Path) -> LoopResult:
    began = time.monotonic()
    about = origin(config.plain(), seed)
    record = {**about, "started": now()}
    write_json(folder / "run.json", {**record, "finished": None})

    start = None if config.edge.endpoint else supervised_start(config, config.start, seed)
    loop = Loop(config, seed, start)
    _serve(config, loop, folder)
    loop.world.close()

    before, after = _graded(config, start, loop.net)
    reports = {"start": before and before._asdict(), "end": after and after._asdict()}
    if loop.net is not None:
        save(loop.net, folder / "edge", {**about, "report": reports["end"]})
    write_json(folder / "scorer.json", loop.scorer.model_dump(mode="json"))
    parts = fifths(loop.slots)
    first, last = parts[0], parts[-1]
    table = CsvTable(folder / "fifths.csv")
    for k, part in enumerate(parts):
        table.add(k, part._asdict())
    seconds = time.monotonic() - began
    done = {
        "finished": now(),
        "seconds": round(seconds, 1),
        "first_fifth": first._asdict(),
        "last_fifth": last._asdict(),
        "rounds": [r._asdict() for r in _rounds(loop.slots)],
        "updates": [u._asdict() for u in loop.updates],
        "usage": {name: vars(usage) for name, usage in loop.usage.items()},
    }
    write_json(folder / "run.json", {**record, **done, **reports})
    figure = folder.parent / "loop.png"
    return LoopResult(seed, folder, loop.slots, first, last, before, after, seconds, figure)


def _serve(config: LoopConfig, loop: Loop, folder: Path) -> None:
    """All slots and the updates between them, written as they come."""
    slots, updates = CsvTable(folder / "slots.csv"), CsvTable(folder / "updates.csv")
    with progress_bar(config.slots, f"{config.name} seed {loop.seed}: slots") as bar:
        for step in range(config.slots):
            if loop.is_due():
                bar.set_postfix_str("update")
                update = loop.update()
                updates.add(len(loop.updates), update._asdict())
            slots.add(step, loop.serve()._asdict())
            bar.update()
            if (step + 1) % config.update_every == 0:
                recent = Service.of(loop.slots[-config.update_every :])
                bar.set_postfix_str(f"offload {recent.offload:.3f} success {recent.success:.3f}"
                                    if recent.requests else "")  # fmt: skip


def _graded(
    config: LoopConfig, start: ToolNet | None, net: ToolNet | None
) -> tuple[Report | None, Report | None]:
    """Supervised start and final edge on the frozen sets."""
    if start is None or net is None:
        return None, None
    examiner = Examiner(config.evaluation, start)
    return examiner.report(start), examiner.report(net)


def fifths(slots: Sequence[Slot]) -> list[Service]:
    """Service in `PART` parts of equal length; a few slots in the middle may be in none."""
    size = max(1, len(slots) // PART)
    starts = [k * (len(slots) - size) // (PART - 1) for k in range(PART)]
    return [Service.of(slots[k : k + size]) for k in starts]


def _rounds(slots: Sequence[Slot]) -> list[Service]:
    """Service between updates."""
    last = slots[-1].updates
    return [Service.of([s for s in slots if s.updates == k]) for k in range(last + 1)]
