"""The ``sixgym`` command: one small module a subcommand, heavy imports inside their functions."""

from __future__ import annotations

import errno
import sys
import warnings
from typing import Annotated

import typer

import sixgym
from sixgym.cli import (
    board,
    catalogue,
    checking,
    dataset,
    judging,
    learning,
    render,
    scaffold,
    toolcall,
    tuning,
    zoo,
)
from sixgym.envs.core import plugins
from sixgym.envs.core.errors import PluginWarning, SixgymError, UnknownIdError

app = typer.Typer(
    name="sixgym",
    help="Reinforcement-learning environments for 6G control problems.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(sixgym.__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="MODULE",
            help="Import this first: a module that registers environments of your own.",
        ),
    ] = None,
) -> None:
    """Reinforcement-learning environments for 6G control problems."""
    for name in modules or ():
        _import(name)


def _import(name: str) -> None:
    """Import a module of the user, also from the current folder.

    Raises:
        UnknownIdError: there is no such module.
    """
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        plugins.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise UnknownIdError(f"--import {name}: no such module") from None


app.command("list")(catalogue.list_environments)
app.command("info")(catalogue.info)
app.command("train")(learning.train)
app.command("tune")(tuning.tune)
app.command("train-zoo")(zoo.train_zoo)
app.command("toolcall")(toolcall.toolcall)
app.command("loop")(toolcall.loop)
app.command("evaluate")(judging.evaluate)
app.command("benchmark")(judging.benchmark)
app.command("claims")(judging.claims)
app.add_typer(board.leaderboard, name="leaderboard")
app.command("render")(render.render)
app.command("check")(checking.check)
app.command("new")(scaffold.new)
app.command("dataset")(dataset.dataset)


def main() -> None:
    """Run the command line.

    What a user did wrong (`SixgymError`) or has not installed is one line on stderr and exit code
    2; anything else is a fault of ours and keeps its traceback.
    """
    warnings.formatwarning = _format_warning
    try:
        app()
    except SixgymError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        _fail(f"{error.filename or 'output'}: {error.strerror}")
    except ModuleNotFoundError as error:
        hint = _missing_extra(error.name or "")
        if hint is None:
            raise
        _fail(hint)


_OF_THE_DISK = (
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EFBIG,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
)
"""What a full or read-only disk and a path that is none say: not our fault."""

_EXTRA_OF = {
    "stable_baselines3": "train",
    "sb3_contrib": "train",
    "tensorboard": "train",
    "tqdm": "train",
    "optuna": "train",
    "httpx": "train",
    "sklearn": "train",
    "wandb": "wandb",
    "minari": "minari",
    "h5py": "minari",
    "pygame": "render",
    "imageio": "render",
    "imageio_ffmpeg": "render",
    "PIL": "render",
    "scipy": "leaderboard",
    "jinja2": "leaderboard",
    "onnxruntime": "leaderboard",
    "matplotlib": "leaderboard",
}
"""The extra that brings a top-level module."""


def _missing_extra(module: str) -> str | None:
    top = module.partition(".")[0]
    extra = _EXTRA_OF.get(top)
    return extra and f"{top} is not installed: pip install 'sixgym[{extra}]'"


def _format_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """A package that is left out is one line; where in our code that was found helps nobody."""
    if issubclass(category, PluginWarning):
        return f"warning: {message}\n"
    return f"{filename}:{lineno}: {category.__name__}: {message}\n"


def _fail(message: str) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
