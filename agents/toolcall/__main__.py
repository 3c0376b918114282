"""Command line of the recipes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sixgym.agents.toolcall.config import recipes
from sixgym.envs.core.errors import SixgymError


def main(arguments: list[str] | None = None) -> int:
    """Run a configuration and print what came out; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sixgym.agents.toolcall",
        description="Train an edge agent on tool calls and improve it on cloud answers.",
    )
    parser.add_argument(
        "config", metavar="CONFIG", help=f"a YAML file, or one of {', '.join(recipes())}"
    )
    parser.add_argument(
        "--set", metavar="A.B=VALUE", action="append", default=[], help="replace one field"
    )
    parser.add_argument("--out", type=Path, help="folder of all runs; the configuration's if none")
    options = parser.parse_args(arguments)
    try:
        from sixgym.agents.toolcall.runs import run_from_config, told

        results = run_from_config(options.config, options.set, options.out)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: {error.name} is missing; pip install 'sixgym[train]'\n")
        return 2
    except (SixgymError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write("".join(f"{line}\n" for line in told(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
