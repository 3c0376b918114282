"""``sixgym evaluate``, ``benchmark``, ``leaderboard build`` and ``claims``: how good things are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sixgym.cli.options import EnvId, Episodes, Overrides, PolicyName, RowSeed, read_overrides

if TYPE_CHECKING:
    from sixgym.leaderboard.store import Result

RESULTS = Path("runs/results")
"""Where rows of the board are stored unless told otherwise."""
SITE = Path("runs/leaderboard")
"""Where the page is written unless told otherwise."""
CLAIMS = Path("runs/claims")
"""Where figures of claims are written unless told otherwise."""


def evaluate(
    id: EnvId,
    policy: PolicyName = "random",
    episodes: Episodes = 256,
    seed: RowSeed = None,
    params: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Play one policy's episodes and print its scores."""
    from sixgym.leaderboard.players import find_player
    from sixgym.leaderboard.runner import play, task_of
    from sixgym.leaderboard.table import Display

    player = find_player(id, policy)  # a wrong name is told before anything is printed
    with Display(sys.stdout, quiet=as_json) as display:
        with display.task(id, policy) as progress:
            task = task_of(id, episodes=episodes, seed=seed, params=read_overrides(params))
            result = play(task, player, progress=progress)
        display.boards([result])
    if player.report is not None:
        typer.echo(player.report(), err=True)
    if as_json:
        typer.echo(json.dumps(_summary(result), indent=1))


def _summary(result: Result) -> dict[str, Any]:
    """What a script wants to know of a row."""
    from sixgym.leaderboard.stats import ratio_interval

    task = result.task
    return {
        "env": task.env_id,
        "policy": result.policy.name,
        "sees": result.policy.sees,
        "params": task.params,
        "params_hash": task.params_hash,
        "episodes": task.episodes,
        "first_seed": task.first_seed,
        "horizon": task.horizon,
        "scores": {
            score.name: {"unit": score.unit, **ratio_interval(result.sample(score))._asdict()}
            for score in task.scores
        },
    }


def benchmark(
    env: Annotated[
        list[str] | None, typer.Option(help="An id; may be repeated. Default: every environment.")
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(help="A policy; may be repeated. Default: all baselines and shipped ones."),
    ] = None,
    episodes: Episodes = 256,
    seed: RowSeed = None,
    params: Overrides = None,
    results: Annotated[Path, typer.Option(help="Folder of the stored rows.")] = RESULTS,
    resume: Annotated[bool, typer.Option(help="Keep rows that are stored already.")] = False,
) -> None:
    """Play all policies on the same episodes, store their rows and print the table."""
    from sixgym.envs.core.registry import entries
    from sixgym.leaderboard.runner import benchmark as play

    ids = env or [found.id for found in entries()]
    play(
        ids,
        results,
        policies=policy,
        episodes=episodes,
        seed=seed,
        resume=resume,
        **read_overrides(params),
    )
    typer.echo(f"rows: {results}")


def claims(
    id: EnvId,
    only: Annotated[
        list[str] | None, typer.Option(help="A claim (`C1`); may be repeated. Default: all.")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of each play.")] = 64,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes. Default: one a core, at most 4.")
    ] = None,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train afresh instead of using shipped weights.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder of the figures and of claims.json.")] = CLAIMS,
) -> None:
    """Measure the claims about an environment: expected, measured, verdict."""
    from sixgym.leaderboard.claims.framework import run_claims

    run_claims(id, out, only=only, episodes=episodes, jobs=jobs, retrain=retrain)


leaderboard = typer.Typer(help="The leaderboard's page.", no_args_is_help=True)


@leaderboard.callback()
def _leaderboard() -> None:
    """The leaderboard's page."""


@leaderboard.command()
def build(
    results: Annotated[Path, typer.Option(help="Folder of the stored rows.")] = RESULTS,
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = SITE,
) -> None:
    """Write the page of stored rows and print its path."""
    from sixgym.leaderboard.site import build_site

    typer.echo(build_site(results, out))
