"""Arguments that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer

EnvId = Annotated[str, typer.Argument(metavar="ID", help="An id of `sixgym list`.")]
PolicyName = Annotated[
    str,
    typer.Option(
        help="A baseline or shipped policy of `sixgym info ID`, a path of weights, llm:FILE.yaml."
    ),
]
Episodes = Annotated[int, typer.Option(min=1, help="Episodes, played side by side.")]
RowSeed = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=2**62 - 1,
        help="Row seed of the first episode. Default: the evaluation world.",
    ),
]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Where the work is done: on this machine, or by Ray (extra `ray`)."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="How many work at a time. Default: one a core here, all of Ray's cores."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=c", help="Set a value; may be repeated."),
]


FEW = 4
"""Pieces of work for which starting processes is not worth the while."""


def workers_for(work: int, workers: int | None) -> int:
    """How many work at a time on this machine: as asked, else one a core for more than a few.

    Args:
        work: how many pieces of work there are.
        workers: as asked.
    """
    if workers is not None:
        return workers
    from sixgym.agents.engine import cores

    return min(work, cores()) if work > FEW else 1


def read_overrides(texts: Sequence[str] | None) -> dict[str, Any]:
    """``name=value`` texts as a dictionary, values read as YAML.

    Raises:
        ConfigError: a text without ``=`` or a value that is not YAML.
    """
    from sixgym.agents.config import override

    values: dict[str, Any] = {}
    for text in texts or ():
        override(values, text)
    return values
