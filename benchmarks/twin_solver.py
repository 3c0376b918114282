"""Time of the two-layer solver of `sixgym/TwinRound-v0`, milliseconds a row, at its defaults.

Run with ``python benchmarks/twin_solver.py``. Best of a few runs over a batch of rounds of 8 agents
and 4 regions: the table of plans with the deviations of the proposed groups (the inner layer for
one split of the band), one matching, and the whole solver.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from sixgym.baselines.twin_mobility.instances import instance
from sixgym.baselines.twin_mobility.matching import balanced, match, propose
from sixgym.baselines.twin_mobility.regions import goals, levels
from sixgym.baselines.twin_mobility.tables import tabulate
from sixgym.baselines.twin_mobility.two_layer import solve
from sixgym.envs.twin_mobility.round_params import TwinRoundParams

FIRST_SEED = 1000
REPEATS = 3


def best_ms(function: Callable[[], object], rows: int) -> float:
    """Least wall time of a call, milliseconds a row."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return 1e3 * min(times) / rows


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=64, help="rounds in the batch")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    p, rows = TwinRoundParams.create(), options.rows
    problem = instance(p, rows, FIRST_SEED)
    each = p.bandwidth_hz / p.num_agents
    band = torch.full((rows, p.num_agents), each, dtype=torch.float64)
    movable = torch.ones(rows, p.num_agents, dtype=torch.bool)
    start = balanced(p.num_agents, p.num_regions)[0].expand(rows, p.num_agents)
    found, goal = levels(problem, tabulate(problem, band, p)), goals(problem)

    def inner() -> object:
        return propose(levels(problem, tabulate(problem, band, p)), goal, movable, p)

    print(f"{rows} rows, {options.threads} threads, milliseconds a row")
    print(f"  inner layer: {best_ms(inner, rows):.1f}")
    print(f"  matching: {best_ms(lambda: match(found, goal, start, movable, p), rows):.1f}")
    print(f"  whole solver: {best_ms(lambda: solve(problem, p), rows):.1f}")


if __name__ == "__main__":
    main()
