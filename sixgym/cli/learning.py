"""``sixgym train``: train from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sixgym.cli.options import Overrides


def train(
    config: Annotated[
        str,
        typer.Argument(metavar="CONFIG", help="A YAML file, or a shipped one (`ris_noma/ppo`)."),
    ],
    overrides: Overrides = None,
    wandb: Annotated[
        bool,
        typer.Option(
            "--wandb", help="Log to Weights & Biases, offline unless WANDB_MODE says else."
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the newest run of this name.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder of all runs. Default: the configuration's.")
    ] = None,
) -> None:
    """Train an agent: every seed of a configuration."""
    from sixgym.agents.train import train_from_config

    results = train_from_config(config, overrides or (), wandb=wandb, resume=resume, output=output)
    for result in results:
        typer.echo(f"seed {result.seed}: {result.steps:,} steps in {result.seconds:.0f} s")
        typer.echo(f"policy: {result.policy}")
        if result.wandb is not None:
            typer.echo(f"wandb run: {result.wandb}")
    typer.echo(f"learning curve: {results[-1].figure}")
