"""``sixgym tune``: hyper-parameters by search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sixgym.cli.options import Engine, Overrides, Workers
from sixgym.cli.text import section, table


def tune(
    config: Annotated[
        str,
        typer.Argument(metavar="CONFIG", help="A YAML file, or a shipped one (`ris_noma/ppo`)."),
    ],
    overrides: Overrides = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Trials in all; the same command goes on to so many.")
    ] = 20,
    minutes: Annotated[
        float, typer.Option(min=0.0, help="Processor time of each: the training stops there.")
    ] = 1.0,
    space: Annotated[
        Path | None,
        typer.Option(help="A YAML file that narrows the ranges: `gamma: {low: 0.9, high: 0.99}`."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampler.")] = 0,
    engine: Engine = "local",
    workers: Workers = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of all runs. Default: the configuration's.")
    ] = None,
) -> None:
    """Search the hyper-parameters of a configuration; what was interrupted goes on."""
    from sixgym.agents.tuning import changes_of
    from sixgym.agents.tuning import tune as search

    result = search(
        config,
        overrides or (),
        trials=trials,
        minutes=minutes,
        space=space,
        seed=seed,
        engine=engine,
        workers=workers,
        output=output,
    )
    told = result.content
    score, best = told["score"], told["best"]
    rows = [
        [
            f"{trial['number']}{' *' if trial['number'] == best['number'] else ''}",
            "failed" if trial["state"] == "fail" else trial["state"],
            "" if trial["value"] is None else f"{trial['value']:.5g}",
            "" if trial["steps"] is None else f"{trial['steps']:,}",
            trial["error"] or changes_of(trial),
        ]
        for trial in told["trials"]
    ]
    header = ["trial", "state", score["name"], "steps", "changes"]
    typer.echo(section(f"{told['name']}: {told['env']}, {score['name']} on tuning episodes", ""))
    typer.echo(table(rows, header=header))
    for name, share in sorted(told["importances"].items(), key=lambda item: -item[1])[:5]:
        typer.echo(f"  {share:.0%} of the variance: {name}")
    typer.echo(f"best: trial {best['number']}, {best['value']:.5g} {score['unit']}".rstrip(" 1"))
    typer.echo(f"configuration: {result.best}")
    typer.echo(f"study: {result.summary}")
    typer.echo(f"figure: {result.figure}")
