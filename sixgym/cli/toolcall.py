"""``sixgym toolcall`` and ``sixgym loop``: a tool-calling agent, and its service in a loop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sixgym.cli.options import Overrides

Output = Annotated[
    Path | None, typer.Option("--out", help="Folder of all runs. Default: the configuration's.")
]


def toolcall(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A YAML file, or a shipped one (`default`, `dpo`)."),
    ],
    overrides: Overrides = None,
    output: Output = None,
) -> None:
    """Train a tool-calling edge agent and improve it on cloud answers."""
    from sixgym.agents.toolcall.runs import run_from_config, told

    for line in told(run_from_config(recipe, overrides or (), output)):
        typer.echo(line)


def loop(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="A YAML file, or the shipped `default`.")
    ],
    overrides: Overrides = None,
    output: Output = None,
) -> None:
    """Serve tool calls by edge and cloud agents; the edge improves and its scorer is refitted."""
    from sixgym.agents.toolcall.loop_runs import run_loop_from_config, told

    for line in told(run_loop_from_config(config, overrides or (), output)):
        typer.echo(line)
