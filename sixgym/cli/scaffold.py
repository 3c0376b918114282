"""``sixgym new``: a package of one's own, outside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the package: my_env brings my_env/MyEnv-v0.")
    ],
    into: Annotated[
        Path, typer.Option(help="Folder in which the package's folder is made.")
    ] = Path(),
) -> None:
    """Write an installable package with a system, a baseline, a configuration and tests."""
    from sixgym.envs.core.scaffold import Names, write

    names = Names.of(name)
    folder = write(names, into)
    typer.echo(f"{folder}: a package with the system {names.id}; next:\n")
    for line in names.commands(folder):
        typer.echo(f"  {line}")
