"""Tables of the pages from stored measurements: speed, limits, long runs, faults, versions.

Each function gives Markdown; what is not stored is said, with the command that measures it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).resolve().parent / "measured"
"""What ``make measure`` wrote: the speed table, and the claims with their figures."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def speed() -> str:
    """The stored run of the speed benchmark."""
    report: dict[str, Any] = json.loads((MEASURED / "speed.json").read_text())
    base = {s["rows"]: s["steps_per_cpu_s"] for s in report["speeds"] if s["mode"] == "numpy"}
    rows = [
        [
            f"`{s['env']}`",
            s["mode"],
            f"{s['rows']:,}",
            f"{s['steps_per_cpu_s']:,.0f}",
            f"{s['steps_per_cpu_s'] / base[s['rows']]:.3f}",
            f"{s['compile_wall_s']:.0f}" if s["mode"] in ("compiled", "aot") else "",
        ]
        for s in report["speeds"]
    ]
    head = ["environment", "mode", "rows", "steps per CPU second", "x CartPole", "compile (s)"]
    machine = report["machine"]
    lines = [
        f"One thread of {machine['cpu']}, Python {machine['python']}, torch {machine['torch']}, "
        f"load average {machine['load_average']:.1f}. CartPole is Gymnasium's own, single at one "
        "row and its native vector env above.",
        "",
        table(head, rows),
        "",
    ]
    for id, share in report["ppo"].items():
        mode = "compiled" if share.get("compiled") else "eager"
        lines.append(
            f"- `{id}`: the Stable-Baselines3 view adds {report['sb3_view'][id]['overhead']:.0%} "
            f"to a step at 256 rows; {share['share']:.0%} of a PPO run ({share.get('rows', 256):,} "
            f"rows, batch 4,096) is spent in the {mode} env."
        )
    return "\n".join([*lines, "", *speed_of_processes(report)])


def speed_of_processes(report: dict[str, Any]) -> list[str]:
    """What a fresh process costs, where the stored run measured it."""
    costs = [
        [
            f"`{id}`",
            f"{1e3 * (f['make_s'] + f['reset_s'] + f['first_step_s']):.0f}",
            f"{f['rss_bytes'] / 2**20:.0f}",
            f"{f['row_bytes'] / 2**10:.1f}",
        ]
        for id, f in report.get("fresh", {}).items()
    ]
    head = ["environment", "make, reset, first step (ms)", "process (MiB)", "a row more (KiB)"]
    lines = [table(head, costs), ""] if costs else []
    return lines + [
        f"- `{name}` in a fresh interpreter: {cost['cpu_s']:.2f} CPU seconds"
        for name, cost in report.get("imports", {}).items()
    ]


def roofline() -> str:
    """The stored distances from the limits, where there are any."""
    path = MEASURED / "roofline.json"
    if not path.exists():
        return "Not measured for this version; `make bench-limits` does."
    report: dict[str, Any] = json.loads(path.read_text())
    peak = report["peak"]
    rows = [
        [
            f"`{id}`",
            f"{s['bytes']:,.0f}",
            f"{s['operations']:,.0f}",
            f"{s['special']:,.0f}",
            f"{s['step_ns']:,.0f}",
            f"{s['limit_ns']:,.0f} ({s['bound']})",
            f"{s['share_of_limit']:.1%}",
            f"{s['start_ns']:,.0f}",
        ]
        for id, s in report["steps"].items()
    ]
    head = ["environment", "bytes", "operations", "special", "step (ns)", "limit (ns)", "share"]
    head += ["start of an episode (ns)"]
    return (
        f"One core of {report['machine']['cpu']} copies {peak['copy_bytes_per_s'] / 1e9:.1f} GB/s "
        f"(read and written), computes {peak['flop_per_s'] / 1e9:.0f} GFLOP/s and "
        f"{peak['special_per_s'] / 1e9:.2f} G special functions (log, cos, sqrt) a second. All "
        f"columns are of one row of {next(iter(report['steps'].values()))['rows']:,}.\n\n"
        + table(head, rows)
    )


def limits() -> str:
    """The stored comparison with steps that were written by hand, where there is one."""
    path = MEASURED / "limits.json"
    if not path.exists():
        return "Not measured for this version; `make bench-limits` does."
    report: dict[str, Any] = json.loads(path.read_text())
    rows, parts = [], []
    for id, found in report["steps"].items():
        for count, rates, by_hand in (
            (1, found["single"], "numpy by hand"),
            (report["rows"], found["batch"], "C++ by hand"),
        ):
            rows += [
                [f"`{id}`", f"{count:,}", name, f"{rate:,.0f}", f"{rate / rates[by_hand]:.2f}"]
                for name, rate in rates.items()
            ]
        one = ", ".join(f"{name} {us:.1f}" for name, us in found["single_parts_us"].items())
        many = ", ".join(f"{name} {ns:,.0f}" for name, ns in found["batch_parts_ns"].items())
        parts += [
            f"- `{id}`: one row ahead of time, microseconds: {one}. {report['rows']:,} rows, "
            f"nanoseconds a row, each part compiled alone: {many}."
        ]
    head = ["environment", "rows", "written", "steps per CPU second", "of by hand"]
    return "\n".join([table(head, rows), "", *parts])


def single() -> str:
    """The stored profile of single steps compiled ahead of time, where there is one."""
    path = MEASURED / "single.json"
    if not path.exists():
        return "Not measured for this version; `make bench-limits` does."
    report: dict[str, Any] = json.loads(path.read_text())
    rows = [
        [
            f"`{id}`",
            f"{s['steps_per_cpu_s']:,.0f}",
            *(f"{s[f'{part}_us']:.1f}" for part in ("step", "raw", "advance", "read")),
        ]
        for id, s in report["steps"].items()
    ]
    head = ["environment", "steps per CPU second", "step (µs)", "library", "with state", "action"]
    return table(head, rows)


def soak() -> str:
    """The stored long run of every environment."""
    file = MEASURED / "soak.json"
    if not file.is_file():
        return "No run is stored; `make soak` makes one."
    report: dict[str, Any] = json.loads(file.read_text())
    rows = [
        [
            f"`{run['env']}`",
            f"{run['steps']:,}",
            f"{run['episodes']:,}",
            f"{run['cpu_s']:,.0f}",
            f"{run['growth_mb']:.1f}",
            str(len(run["identities"])),
            f"{max((i['largest'] for i in run['identities']), default=0.0):.0e}",
            "<br>".join(run["faults"]) or "none",
        ]
        for run in report["runs"]
    ]
    head = ["environment", "steps", "episodes", "CPU (s)", "growth (MB)", "identities"]
    head += ["largest error", "faults"]
    return f"{report['rows']:,} rows, torch {report['torch']}.\n\n{table(head, rows)}"


def faults() -> str:
    """The stored trials of bad input."""
    file = MEASURED / "faults.json"
    if not file.is_file():
        return "No run is stored; `make faults` makes one."
    report: dict[str, Any] = json.loads(file.read_text())
    rows = [
        [row["surface"], row["outcome"], f"{row['trials']:,}", row["verdict"], f"`{row['input']}`"]
        for row in report["rows"]
    ]
    found = table(["surface", "outcome", "trials", "verdict", "for instance"], rows)
    return f"{report['trials']:,} trials, {len(report['wrong'])} of them wrong.\n\n{found}"


def versions() -> str:
    """The stored matrix of Pythons and libraries."""
    file = MEASURED / "versions.json"
    if not file.is_file():
        return "No run is stored; `make versions` makes one."
    cells: list[dict[str, Any]] = json.loads(file.read_text())["cells"]
    shown = ["torch", "numpy", "gymnasium", "pettingzoo", "stable-baselines3", "pydantic", "scipy"]
    rows = [
        [
            cell["python"],
            cell["libraries"],
            cell["verdict"],
            *(f"{cell['counts'].get(word, 0):,}" for word in ("passed", "failed", "skipped")),
            *(cell["versions"].get(name, "") for name in shown),
        ]
        for cell in cells
    ]
    found = table(["Python", "libraries", "suite", "passed", "failed", "skipped", *shown], rows)
    skipped = [
        f"- {cell['python']} {cell['libraries']}: "
        + "; ".join(f"{count} for {reason}" for reason, count in cell["skipped"].items())
        for cell in cells
        if cell["skipped"]
    ]
    return "\n".join([found, "", "Skipped, and why:", "", *skipped] if skipped else [found])
