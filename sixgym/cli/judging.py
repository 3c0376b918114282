"""``sixgym evaluate``, ``benchmark`` and ``claims``: how good things are."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sixgym.cli.options import (
    FEW,
    Engine,
    EnvId,
    Episodes,
    Overrides,
    PolicyName,
    RowSeed,
    Workers,
    read_overrides,
    workers_for,
)

if TYPE_CHECKING:
    from sixgym.leaderboard.players import Player
    from sixgym.leaderboard.stats import Interval
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
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Another policy, to play the same episodes; may be repeated. The paired "
            "difference of the headline score is printed with its 95 % interval."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Play one policy's episodes and print its scores."""
    from sixgym.leaderboard.runner import play, task_of
    from sixgym.leaderboard.table import Display

    players = _players(id, [policy, *(against or ())])  # a wrong name is told before all else
    results = []
    with Display(sys.stdout, quiet=as_json) as display:
        task = task_of(id, episodes=episodes, seed=seed, params=read_overrides(params))
        for player in players:
            with display.task(id, player.card.name) as progress:
                results.append(play(task, player, progress=progress))
        display.boards(results)
    for player in players:
        if player.report is not None:
            typer.echo(player.report(), err=True)
    result, *others = results
    differences = _differences(result, others)
    if as_json:
        less = {name: gap._asdict() for name, gap in differences.items()}
        told = {**_summary(result), **({"less": less} if less else {})}
        typer.echo(json.dumps(told, indent=1))
        return
    headline = task.scores[0]
    for name, gap in differences.items():
        text = f"{headline.name} of {result.policy.name} less {name}: {gap} {headline.unit}"
        typer.echo(f"{text.rstrip(' 1')}, paired")


def _players(id: str, names: Sequence[str]) -> list[Player]:
    """Who plays, each under a name of its own: what was typed where the name is taken.

    Raises:
        OptionsError: the same twice.
    """
    from sixgym.envs.core.errors import OptionsError
    from sixgym.leaderboard.players import find_player

    if len(set(names)) < len(names):
        raise OptionsError(f"against={list(names[1:])}: allowed: each policy once, and others")
    players: list[Player] = []
    for typed in names:
        player = find_player(id, typed)
        if player.card.name in {other.card.name for other in players}:
            player = replace(player, card=player.card.model_copy(update={"name": typed}))
        players.append(player)
    return players


def _differences(result: Result, others: Sequence[Result]) -> dict[str, Interval]:
    """The headline score less that of each other policy on the same episodes, by its name."""
    from sixgym.leaderboard.stats import paired_difference

    return {o.policy.name: paired_difference(result.sample(), o.sample()) for o in others}


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
    split: Annotated[
        Literal["train", "held_out", "generalisation", "all"],
        typer.Option(
            help="train: the task that agents train for; held_out: presets that nobody trained "
            "in; generalisation: other sizes, loads and channels."
        ),
    ] = "train",
    episodes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Episodes of every policy. Default: 256, and 32 of those that say they are slow.",
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="All episodes of the slow ones too.")
    ] = False,
    seed: RowSeed = None,
    params: Overrides = None,
    results: Annotated[Path, typer.Option(help="Folder of the stored rows.")] = RESULTS,
    resume: Annotated[bool, typer.Option(help="Keep rows that are stored already.")] = False,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Also time decisions at batches of 1 and 1,024, and ask of each task whether it "
            "is a contextual bandit.",
        ),
    ] = False,
    engine: Engine = "local",
    workers: Workers = None,
) -> None:
    """Play all policies on the same episodes, store their rows and print the table."""
    from sixgym.envs.core.registry import entries
    from sixgym.leaderboard.runner import benchmark as play

    ids = env or [found.id for found in entries()]
    # Without names every baseline of an environment plays, which is many.
    count = workers_for(len(ids) * (len(policy) if policy else FEW + 1), workers)
    play(
        ids,
        results,
        policies=policy,
        episodes=episodes,
        seed=seed,
        full=full,
        splits=split,
        resume=resume,
        probe=probe,
        engine=engine,
        workers=count if engine == "local" else workers,
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
