"""Command line of the trace recipes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sixgym.agents.traces.data import NAMES
from sixgym.agents.traces.make import make_traces, write_traces
from sixgym.envs.core.errors import SixgymError


def main(arguments: list[str] | None = None) -> int:
    """Train, write the file and print its checksum; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sixgym.agents.traces",
        description="Train the networks of a recipe and write their scores as a trace file.",
    )
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--out", type=Path, default=Path(), help="folder to write into")
    parser.add_argument("--seed", type=int, default=0, help="seed of folds and weights")
    options = parser.parse_args(arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)  # before minutes of training
        traces = make_traces(options.name, seed=options.seed, progress=_say)
        path = write_traces(traces, options.out)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: {error.name} is missing; pip install 'sixgym[train]'\n")
        return 2
    except (SixgymError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    _say(f"{path}: AUROC {traces.meta['auroc']}, server {traces.meta['server_auroc']}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
