"""``sixgym train-zoo``: train everything that ships, or some of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from sixgym.cli.options import Engine, Workers
from sixgym.cli.text import table
from sixgym.envs.core.errors import OptionsError

if TYPE_CHECKING:
    from sixgym.agents.train_zoo import Run, Size, Trained

OUTPUT = {"ships": Path("runs/zoo"), "full": Path("runs/zoo_full"), "smoke": Path("runs/zoo_smoke")}
"""Folder of the runs of each size unless told otherwise: never the same for two sizes."""


def train_zoo(
    filters: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILTER]...", help="Names, or patterns of names: `netgpt/*`."),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(help="Only what is trained in this id; may be repeated.")
    ] = None,
    algorithm: Annotated[
        list[str] | None, typer.Option(help="Only what this trains; may be repeated.")
    ] = None,
    untuned: Annotated[
        bool | None,
        typer.Option(
            "--untuned/--tuned",
            help="Only what nobody searched the hyper-parameters of, or only the other.",
            show_default=False,
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Ten times the steps, five seeds of everything.")
    ] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="A few updates of everything, to see that it runs.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--list", help="Print what would be trained, and train nothing.")
    ] = False,
    rl_zoo: Annotated[
        bool,
        typer.Option(
            "--rl-zoo", help="Print the configurations for rl-baselines3-zoo, and train nothing."
        ),
    ] = False,
    wandb: Annotated[
        bool,
        typer.Option(
            "--wandb", help="Log to Weights & Biases, offline unless WANDB_MODE says else."
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of all runs. Default: runs/zoo, zoo_full or zoo_smoke."),
    ] = None,
    engine: Engine = "local",
    workers: Workers = None,
) -> None:
    """Train every configuration that ships, one job a seed; the same command again goes on.

    Seeds that are finished are skipped, those that were cut off continue from their checkpoints.
    Exits with 1, and names them, if some failed.
    """
    from sixgym.agents.train_zoo import plan
    from sixgym.agents.train_zoo import train_zoo as train

    if full and smoke:
        raise OptionsError("--full and --smoke: allowed: one of them")
    size: Size = "full" if full else "smoke" if smoke else "ships"
    runs = plan(
        filters or (), envs=env or (), algorithms=algorithm or (), untuned=untuned, size=size
    )
    if show:
        typer.echo(_listed(runs))
        return
    if rl_zoo:
        from sixgym.agents.rl_zoo import rl_zoo_yaml

        typer.echo(rl_zoo_yaml([run.config for run in runs]), nl=False)
        return
    folder = output or OUTPUT[size]
    failed: list[Trained] = []
    count = sum(len(run.config.seeds) for run in runs)
    with _progress(count) as tell:
        for done in train(runs, folder, engine=engine, workers=workers, wandb=wandb):
            tell(done)
            if done.error is not None:
                failed.append(done)
    for one in failed:
        typer.echo(f"failed: {one.name} seed {one.seed}: {one.error}", err=True)
    typer.echo(f"{count - len(failed)} of {count} trained: {folder}")
    if failed:
        raise typer.Exit(1)


def _listed(runs: Sequence[Run]) -> str:
    """What would be trained, as a table."""
    from sixgym.agents.zoo_index import zoo

    rows = []
    for name, config in runs:
        there = len(zoo().get((config.env, config.name), []))
        rows.append(
            [
                name,
                config.env,
                config.algorithm + (" shared" if config.shared else ""),
                ",".join(map(str, config.seeds)),
                f"{config.total_steps:,}",
                "untuned" if config.untuned else "tuned",
                f"{there} seeds" if there else "-",
            ]
        )
    header = ["configuration", "id", "algorithm", "seeds", "steps", "", "ships"]
    return table(rows, header=header, indent=0)


class _Tell(Protocol):
    """Hears of every seed that has ended."""

    def __call__(self, done: Trained) -> None:
        """Say so and move on."""


@contextmanager
def _progress(count: int) -> Iterator[_Tell]:
    """One bar over all seeds on a terminal, and a line for each that ends."""
    from rich.console import Console

    from sixgym.agents.bars import bar

    width = None if sys.stdout.isatty() else 160
    console = Console(file=sys.stdout, width=width, highlight=False)
    with bar(console) as progress:
        handle = progress.add_task("seeds", total=count)

        def tell(done: Trained) -> None:
            console.print(_line(done), soft_wrap=True, markup=False)
            progress.advance(handle)

        yield tell


def _line(done: Trained) -> str:
    who = f"{done.name} seed {done.seed}"
    if done.error is not None:
        return f"{who}: failed: {done.error}"
    score = "no score" if done.score is None else f"{done.score:.4g}"
    if not done.is_new:
        return f"{who}: {score}, finished before"
    return f"{who}: {score}, {done.steps:,} steps in {done.seconds:.0f} s"
