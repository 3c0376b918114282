"""``sixgym dataset``: a policy's episodes as a dataset for offline learning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sixgym.cli.options import EnvId, Overrides, PolicyName, read_overrides


def dataset(
    id: EnvId,
    policy: PolicyName = "random",
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to write.")] = 100,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**62 - 1,
            help="Row seed of the first episode. Default: the training world.",
        ),
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Sample the policy's actions instead of its best.")
    ] = False,
    params: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of all datasets. Default: $MINARI_DATASETS_PATH, runs/datasets."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Minari's name. Default: <id>/<policy>-v0.")
    ] = None,
    check: Annotated[int, typer.Option(min=0, help="Episodes that are replayed to check it.")] = 4,
) -> None:
    """Write a policy's episodes as a Minari dataset, and replay some of them."""
    from sixgym.leaderboard.dataset import FOLDER_VARIABLE, load, replay, write_dataset

    written = write_dataset(
        id,
        policy,
        episodes=episodes,
        folder=out,
        name=name,
        seed=seed,
        deterministic=not sample,
        params=read_overrides(params),
    )
    typer.echo(f"dataset: {written.id}: {episodes} episodes, {written.steps:,} steps")
    if check:
        played = min(check, episodes)
        apart = replay(load(written), played)
        typer.echo(f"replayed {played} episodes: rewards differ by at most {apart:.2g}")
    typer.echo(f"load it: {FOLDER_VARIABLE}={written.folder}; minari.load_dataset({written.id!r})")
