"""``sixgym leaderboard``: its pages, whether its numbers are right, and what others submit."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sixgym.cli.judging import CLAIMS, RESULTS, SITE
from sixgym.cli.options import Engine, Episodes, Workers, workers_for
from sixgym.envs.core.errors import OptionsError

if TYPE_CHECKING:
    from sixgym.leaderboard.table import Display
    from sixgym.leaderboard.verify import Check

FILMS = Path("runs/films")
"""Where rendered episodes are kept."""

leaderboard = typer.Typer(help="The leaderboard: its pages and its rows.", no_args_is_help=True)


@leaderboard.callback()
def _leaderboard() -> None:
    """The leaderboard: its pages and its rows."""


Results = Annotated[
    Path | None,
    typer.Option(help="Folder of the stored rows. Default: runs/results, else what ships."),
]
Claims = Annotated[
    Path | None,
    typer.Option(
        help="Folder of measured claims, one folder an environment. Default: runs/claims, and for "
        "what is not there docs/measured of the source checkout."
    ),
]
Video = Annotated[
    bool,
    typer.Option(
        "--video/--no-video",
        help="Play an episode of each task for its page; kept in runs/films for the next time.",
    ),
]


@leaderboard.command()
def build(
    results: Results = None,
    out: Annotated[Path, typer.Option(help="Folder of the pages.")] = SITE,
    claims: Claims = None,
    video: Video = True,
) -> None:
    """Write the pages of stored rows, an overview and one a task, and print the overview's path."""
    typer.echo(_build(results, out, claims, video))


@leaderboard.command()
def serve(
    results: Results = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the pages. Default: one that does not stay.")
    ] = None,
    claims: Claims = None,
    video: Video = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any that is free.")] = 0,
    open_it: Annotated[
        bool, typer.Option("--open/--no-open", help="Show the overview in a browser.")
    ] = True,
) -> None:
    """Write the pages of stored rows and serve them to this machine until Ctrl-C."""
    from sixgym.leaderboard.serve import make_server

    with tempfile.TemporaryDirectory(prefix="sixgym-pages-") as scratch:
        folder = out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        with make_server(folder, port) as server:  # a port that is taken is told before all else
            _build(results, folder, claims, video)
            host, bound = server.server_address[:2]
            url = f"http://{host!s}:{bound}/"
            typer.echo(f"{url} (Ctrl-C ends it)")
            if open_it:
                webbrowser.open(url)
            with contextlib.suppress(KeyboardInterrupt):
                server.serve_forever()


def _build(results: Path | None, out: Path, claims: Path | None, video: bool) -> Path:
    """Write the pages, telling on stderr which is being made."""
    from sixgym.leaderboard.site import MEASURED, build_site

    def tell(page: str) -> None:
        typer.echo(f"page: {page}", err=True)

    return build_site(
        _rows_of(results),
        out,
        claims=[CLAIMS, MEASURED] if claims is None else claims,
        films=FILMS if video else None,
        tell=tell,
    )


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
    results: Results = None,
    engine: Engine = "local",
    workers: Workers = None,
) -> None:
    """Play stored rows again from their seeds and compare; exit with 1 if one is not what it says.

    Where a row was made with the same versions on the same class of machine, every episode's sums
    must be the same to the last bit; elsewhere they must agree within the protocol's tolerance.
    """
    from sixgym.leaderboard.jobs import check_apart
    from sixgym.leaderboard.table import Display
    from sixgym.leaderboard.verify import find_rows

    if not (rows or every or env or policy):
        raise OptionsError("verify: allowed: rows, --env, --policy or --all")
    folder = _rows_of(results)
    files = find_rows(folder, paths=rows or (), ids=env or (), policies=policy or ())
    with Display(sys.stdout) as display:
        count = workers_for(len(files), workers)
        if engine == "local" and count == 1:
            checks = _check_here(files, display, sample=sample, seed=seed)
        else:
            checks = check_apart(
                files, display, sample=sample, seed=seed, engine=engine, workers=workers and count
            )
        display.checks(checks)
    if not all(c.passed for c in checks):
        raise typer.Exit(1)


def _check_here(
    files: Sequence[Path], display: Display, *, sample: int | None, seed: int
) -> list[Check]:
    """What comes of rows that are played again in this process, one after another."""
    from sixgym.leaderboard.verify import verify as check

    checks = []
    for file in files:
        with display.task(file.parts[-3] if len(file.parts) > 2 else "", file.stem) as progress:
            checks.append(check(file, sample=sample, seed=seed, progress=progress))
    return checks


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


def _rows_of(results: Path | None) -> Path:
    """The folder of rows that was asked for; else one's own, and what ships where there is none."""
    if results is not None:
        return results
    if RESULTS.is_dir():
        return RESULTS
    import sixgym.leaderboard

    return Path(next(iter(sixgym.leaderboard.__path__)), "results")
