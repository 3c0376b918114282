"""``sixgym check``: what an environment promises, and whether it keeps it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sixgym.cli.options import Overrides, read_overrides


def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="An id of any registry (Gymnasium's, PettingZoo's), MODULE:ID, or MODULE:FUNCTION "
            "that makes an environment.",
        ),
    ],
    params: Overrides = None,
    slow: Annotated[
        bool, typer.Option("--slow", help="Also what compiles, trains long or starts processes.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="A check by name; may be repeated. Default: all.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON too.")
    ] = None,
) -> None:
    """Check an environment and say what it keeps and what it breaks; exit code 1 if it fails."""
    from sixgym.envs.core.conformance import report, run_all, select
    from sixgym.envs.core.conformance.guest import target as find

    kwargs = read_overrides(params)
    subject = find(target, kwargs)
    wanted = select(subject, slow=slow, only=only)
    kind = report.kind_of(subject)
    typer.echo(f"{target}: {kind}\n")
    verdicts = run_all(subject, wanted, told=lambda verdict: typer.echo(report.line(verdict)))
    told = report.as_json(target, kind, kwargs, verdicts)
    hint = "" if slow or only else "; --slow checks more"
    typer.echo(f"\n{report.summary(verdicts)}{hint}")
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        typer.echo(f"report: {json_file}")
    if not told["passed"]:
        raise typer.Exit(1)
