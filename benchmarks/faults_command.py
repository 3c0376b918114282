"""Bad command lines: written by hand, drawn from the real options, and real processes."""

from __future__ import annotations

import contextlib
import io
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import typer
from faults_inputs import COMMANDS, Trial

from sixgym.cli.main import app
from sixgym.cli.main import main as command
from sixgym.envs.core.errors import SixgymError

RANDOM_LINES = 20
"""Command lines for each drawn input of another surface; most end before anything is imported."""
JUNK = (
    "",
    " ",
    "-1",
    "0",
    "-99999999999999999999",
    "9" * 400,
    "1e999",
    "nan",
    "inf",
    "0x10",
    "1.5",
    "\u0000",
    "\ud8ff",
    "\udcff",
    "\u202e",
    "\x1b[2J",
    "a\nb",
    "a=b",
    "=",
    "a.b.c=[",
    "num_users=-1",
    "--",
    "-",
    "-h5",
    "*",
    "../../..",
    "/",
    "/dev/null",
    "/dev/null/x",
    "/proc/version",
    "FOLDER",
    "FOLDER/none",
    "FOLDER/readonly/x",
    "x" * 300,
    "sixgym/NoSuch-v0",
    "sixgym/RisNoma-v999",
    "sixgym/RisNoma-v-1",
    "ris_noma/none",
    "llm:",
    "llm:/dev/null",
    "C1",
    "random",
)
"""Values that are nothing, for any option and argument."""
WRONG_IDS = ("sixgym/NoSuch-v0", "", "x", "\udcff", "a b", "../x", "sixgym/RisNoma-v999", "-5")
"""In place of an id, so that no random line plays or trains for long."""


class _CommandError(Exception):
    """The command ended otherwise than with one line and a code."""


def run_command(arguments: Sequence[str]) -> None:
    """The ``sixgym`` command, as a person would run it.

    Raises:
        SixgymError: it said what is wrong and ended with code 2 (1 where a check failed).
    """
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    redirected = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with redirected[0], redirected[1], mock.patch.object(sys, "argv", ["sixgym", *arguments]):
        try:
            command()
        except SystemExit as end:
            code = end.code
    judge_end(code, err.getvalue())


def judge_end(code: object, said: str) -> None:
    """Judge a command by its code and its errors.

    Raises:
        SixgymError: it refused in one line.
    """
    if code in (0, None):
        return
    last = said.strip().splitlines()[-1] if said.strip() else ""
    if code == 2 and "Traceback" not in said and last.lower().startswith("error:"):
        raise SixgymError(last)
    raise _CommandError(f"code {code}: {last}")


def command_trials(folder: Path, fuzz: int) -> Iterator[Trial]:
    """The command line."""
    closed = folder / "readonly"
    closed.mkdir()
    closed.chmod(0o500)
    for line in COMMANDS:
        yield _trial(" ".join(line), _in_process(line, folder), must_fail=True)
    for line in random_lines(fuzz * RANDOM_LINES):
        yield _trial(" ".join(map(repr, line)), _in_process(line, folder), must_fail=False)
    for words in RAW:
        yield _trial(repr(words), _process(words, folder), must_fail=True)
    yield _trial("into a closed pipe", _closed_pipe, must_fail=False)


def _trial(shown: str, run: Callable[[], None], *, must_fail: bool) -> Trial:
    return Trial("command", "sixgym", shown, run, must_fail)


def _in_process(line: Sequence[str], folder: Path) -> Callable[[], None]:
    words = [word.replace("FOLDER", str(folder)) for word in line]

    def run() -> None:
        with contextlib.chdir(folder):
            run_command(words)

    return run


RAW: tuple[tuple[bytes, ...], ...] = (
    (b"info", b"sixgym/\xff\xfe-v0"),
    (b"train", b"\xff.yaml"),
    (b"evaluate", b"sixgym/RisNoma-v0", b"--policy", b"\xff\xfe.safetensors"),
    (b"evaluate", b"sixgym/RisNoma-v0", b"--policy", b"llm:\xff.yaml"),
    (b"info", b"sixgym/RisNoma-v0", b"--set", b"num_users=\xff"),
    (b"info", b"sixgym/RisNoma-v0", b"--set", b"\xff=1"),
    (b"new", b"\xff"),
    (b"leaderboard", b"verify", b"\xff.json"),
    (b"leaderboard", b"submit", b"\xff"),
    (b"check", b"\xff:\xfe"),
    (b"--import", b"\xff", b"list"),
    (b"\xff",),
    (b"--\xff",),
)
"""Arguments that are not UTF-8, to a process of its own."""


def _process(words: Sequence[bytes], folder: Path) -> Callable[[], None]:
    def run() -> None:
        for coding in ("utf-8", "ascii"):
            env = {**os.environ, "PYTHONIOENCODING": coding}
            line = [os.fsencode(sys.executable), b"-m", b"sixgym.cli.main", *words]
            done = subprocess.run(line, cwd=folder, capture_output=True, env=env, check=False)
            refused = None
            try:
                judge_end(done.returncode, done.stderr.decode(errors="replace"))
            except SixgymError as error:
                refused = error
            if refused is None:
                return
        raise refused

    return run


def _closed_pipe() -> None:
    """Nobody reads: as ``sixgym list | true``."""
    reader, writer = os.pipe()
    os.close(reader)
    line = [sys.executable, "-m", "sixgym.cli.main", "list"]
    try:
        done = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    said = done.stderr.decode()
    if "Traceback" in said or "Exception ignored" in said:
        raise _CommandError(f"code {done.returncode}: {said.splitlines()[-1]}")


def leaves(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command, and the words that call it."""
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from leaves(found, (*path, name))
        else:
            yield (*path, name), found


def random_lines(number: int) -> Iterator[list[str]]:
    """Command lines of real commands and options with values that are none; always the same.

    An id is always a wrong one, and what could go on for long has a fault in it by design: of
    ``serve`` the port, of commands without an id a policy or a filter that nothing has.
    """
    commands = sorted(leaves(typer.main.get_command(app)), key=lambda pair: pair[0])
    draw = random.Random(0)
    for i in range(number):
        path, found = commands[i % len(commands)]
        yield [*path, *_words(found, draw)]


FAULTS: dict[str, tuple[str, ...]] = {
    "benchmark": ("--env", "sixgym/NoSuch-v0"),
    "train-zoo": ("no_such_pattern",),
    "serve": ("--port", "99999"),
    "build": ("--results", "FOLDER/none"),
    "submit": ("FOLDER/none",),
    "toolcall": ("no-such-argument",),
    "loop": ("no-such-argument",),
}
"""What is added to a line so that it cannot succeed, by the last word of the command."""


def _words(found: Any, draw: random.Random) -> list[str]:
    words: list[str] = []
    for parameter in found.params:
        if parameter.param_type_name == "argument":
            is_id = parameter.name in ("id", "target", "config")
            if draw.random() < 0.9:
                words.append(draw.choice(WRONG_IDS if is_id else JUNK))
        elif draw.random() < 0.35 and parameter.opts[0] != "--help":
            words.append(draw.choice([*parameter.opts, *parameter.secondary_opts]))
            if not getattr(parameter, "is_flag", False):
                words.append(draw.choice(JUNK))
    if draw.random() < 0.1:
        words.insert(draw.randint(0, len(words)), draw.choice(JUNK))
    return [*words, *FAULTS.get(found.name or "", ())]
