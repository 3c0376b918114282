"""Arguments that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

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
    typer.Option(min=0, help="Row seed of the first episode. Default: the evaluation world."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=c", help="Set a value; may be repeated."),
]


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
