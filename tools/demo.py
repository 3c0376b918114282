"""The demonstration behind ``make demo``: train, compare and rank, by a user's own commands.

Everything goes below ``runs/demo``; the last lines say where.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ENV = "sixgym/RisNomaSelect-v0"
CONFIG = "ris_noma/demo"
BASELINES = ("random", "constant", "round_robin", "static_0102", "greedy", "ao1", "ao")
EPISODES = 256
FOLDER = Path("runs/demo")


def sixgym(*arguments: str) -> str:
    """Run a command, show what it prints, and return that; progress bars are on stderr."""
    print(f"\n$ sixgym {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "sixgym", *arguments]
    lines = []
    # Small networks gain nothing from a second thread, and lose much where the cores are shared.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit(process.returncode)
    return "".join(lines)


def told(text: str, what: str) -> str:
    """The path that a command told after ``what:``."""
    return next(
        line.partition(": ")[2] for line in text.splitlines() if line.startswith(f"{what}: ")
    )


def main() -> None:
    """Train, compare, rank, and say where everything is."""
    began = time.monotonic()
    training = sixgym("train", CONFIG, "--wandb", "--output", str(FOLDER / "training"))
    players = [told(training, "policy"), *BASELINES]
    chosen = [word for player in players for word in ("--policy", player)]
    results = ["--results", str(FOLDER / "results")]
    board = sixgym("benchmark", "--env", ENV, "--episodes", str(EPISODES), *chosen, *results)
    table = FOLDER / "table.txt"
    table.write_text(board)
    page = sixgym("leaderboard", "build", *results, "--out", str(FOLDER / "leaderboard"))
    print(f"\nDone in {time.monotonic() - began:.0f} s.")
    print(f"table:          {table}")
    print(f"learning curve: {told(training, 'learning curve')}")
    print(f"W&B run:        {told(training, 'wandb run')}")
    print(f"leaderboard:    {page.strip()}")


if __name__ == "__main__":
    main()
