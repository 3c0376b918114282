"""``sixgym leaderboard``: its pages, whether its numbers are right, and what others submit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sixgym.cli.judging import RESULTS, SITE
from sixgym.cli.options import Episodes
from sixgym.envs.core.errors import OptionsError

if TYPE_CHECKING:
    from sixgym.leaderboard.verify import Check

leaderboard = typer.Typer(help="The leaderboard: its pages and its rows.", no_args_is_help=True)


@leaderboard.callback()
def _leaderboard() -> None:
    """The leaderboard: its pages and its rows."""


@leaderboard.command()
def build(
    results: Annotated[Path, typer.Option(help="Folder of the stored rows.")] = RESULTS,
    out: Annotated[Path, typer.Option(help="Folder of the pages.")] = SITE,
    claims: Annotated[
        Path | None,
        typer.Option(help="Folder of measured claims, one folder an environment, to show them."),
    ] = None,
) -> None:
    """Write the pages of stored rows, an overview and one a task, and print the overview's path."""
    from sixgym.leaderboard.site import build_site

    typer.echo(build_site(results, out, claims=claims))


@leaderboard.command()
def verify(
    rows: Annotated[
        list[Path] | None, typer.Argument(help="Stored rows, or folders of them.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All rows of the folder.")] = False,
    env: Annotated[
        list[str] | None, typer.Option(help="Only rows of this id; may be repeated.")
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="Only rows of this policy; may be repeated.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, help="Play so many episodes of each row, chosen at random: cheaper."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of that choice.")] = 0,
    results: Annotated[
        Path | None,
        typer.Option(help="Folder of the stored rows. Default: runs/results, else what ships."),
    ] = None,
) -> None:
    """Play stored rows again from their seeds and compare; exit with 1 if one is not what it says.

    Where a row was made with the same versions on the same class of machine, every episode's sums
    must be the same to the last bit; elsewhere they must agree within the protocol's tolerance.
    """
    from sixgym.leaderboard.table import Display
    from sixgym.leaderboard.verify import find_rows
    from sixgym.leaderboard.verify import verify as check

    if not (rows or every or env or policy):
        raise OptionsError("verify: allowed: rows, --env, --policy or --all")
    folder = results or (RESULTS if RESULTS.is_dir() else _shipped())
    files = find_rows(folder, paths=rows or (), ids=env or (), policies=policy or ())
    checks: list[Check] = []
    with Display(sys.stdout) as display:
        for file in files:
            with display.task(file.parts[-3] if len(file.parts) > 2 else "", file.stem) as progress:
                checks.append(check(file, sample=sample, seed=seed, progress=progress))
        display.checks(checks)
    if not all(c.passed for c in checks):
        raise typer.Exit(1)


@leaderboard.command()
def submit(
    source: Annotated[
        Path, typer.Argument(help="A folder or a zip with submission.yaml and weights.")
    ],
    results: Annotated[Path, typer.Option(help="Folder of the stored rows.")] = RESULTS,
    episodes: Episodes = 256,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a row of the same name.")
    ] = False,
    wall_s: Annotated[float, typer.Option(min=1.0, help="Time after which it is stopped.")] = 1800,
    cpu_s: Annotated[int, typer.Option(min=1, help="Time of the processor it may take.")] = 1800,
    memory_gib: Annotated[float, typer.Option(min=0.1, help="Memory it may address.")] = 8.0,
) -> None:
    """Check somebody's agent, play it in a process of its own, and store its row.

    Nothing in a submission is executed: it is weights, and a network of our list or of ONNX.
    """
    from sixgym.leaderboard.submissions import Limits
    from sixgym.leaderboard.submissions import submit as judge
    from sixgym.leaderboard.table import Display

    limits = Limits(wall_s=wall_s, cpu_s=cpu_s, memory_bytes=int(memory_gib * 1024**3))
    judged = judge(source, results, episodes=episodes, limits=limits, replace=replace)
    with Display(sys.stdout) as display:
        display.boards([judged.result])
    typer.echo(f"{judged.isolation}")
    typer.echo(f"row: {judged.path}")


def _shipped() -> Path:
    """Where the rows that ship are."""
    import sixgym.leaderboard

    return Path(next(iter(sixgym.leaderboard.__path__)), "results")
