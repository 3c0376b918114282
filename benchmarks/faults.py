"""Bad input of every kind, tried: each must end in a named, one-line error and change nothing.

Run with ``make faults`` or ``python benchmarks/faults.py --quick --only actions``. The surfaces are
`SURFACES`; the inputs a list of nasty ones by hand and others by Hypothesis, the same in every run.
A trial ends well if it raises an error of ours (`SixgymError`), one that Gymnasium documents for
that call, or is accepted where it may be; what is written by hand to be refused must be. Anything
else is wrong, and the command exits 1.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import gymnasium as gym
import numpy as np
import torch
from faults_files import file_trials
from faults_inputs import (
    ACTIONS,
    ARGUMENTS,
    OPTIONS,
    SEEDS,
    Trial,
    anything,
    drawn,
    options_like,
    spoiled,
    values_of,
)

from sixgym.cli.main import main as command
from sixgym.envs.core.errors import SixgymError
from sixgym.envs.core.registry import entries, entry

LONGEST = 5000
"""Characters of a message that somebody may still read, as when it names all that is allowed."""
SHOWN = 60
"""Characters of an input in the table."""
FUZZ, QUICK_FUZZ = 60, 6
"""Inputs drawn for each id or file."""
NAMED, ACCEPTED, WRONG = "named", "accepted", "WRONG"


class Documented(NamedTuple):
    """An error of Gymnasium's contract: of a type, whose message begins with a word."""

    error: type[Exception]
    word: str


DOCUMENTED = (Documented(TypeError, "reset_mask"), Documented(ValueError, "reset_mask"))
"""Gymnasium prescribes these for its vector environments."""


@dataclass(frozen=True)
class Tried:
    """What came of a trial."""

    surface: str
    where: str
    input: str
    outcome: str
    verdict: str


# ----------------------------------------------------------------------------------------- judging


def judge(trial: Trial) -> Tried:
    """Carry out one trial."""
    outcome, verdict = "accepted", WRONG if trial.must_fail else ACCEPTED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            trial.run()
        except Exception as error:
            text = str(error)
            outcome = f"{type(error).__name__}: {text}"
            verdict = NAMED if _is_named(error, text) else WRONG
            if verdict == WRONG and not isinstance(error, SixgymError):
                outcome += f" (at {_place(error)})"
    if trial.after is not None and verdict != WRONG:
        try:
            trial.after()
        except Exception as error:
            outcome, verdict = f"left damage: {type(error).__name__}: {error}", WRONG
    return Tried(trial.surface, trial.where, _short(trial.shown), _one_line(outcome), verdict)


def _is_named(error: Exception, text: str) -> bool:
    if isinstance(error, SixgymError):
        return "\n" not in text and 0 < len(text) <= LONGEST
    return any(isinstance(error, d.error) and text.startswith(d.word) for d in DOCUMENTED)


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "sixgym" in f.filename or "/envs/" in f.filename] or frames
    last = own[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:LONGEST]


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


# ---------------------------------------------------------------------------------------- surfaces


def _state_of(env: Any) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in env.unwrapped.rows.state_dict().items()}


def _unchanged(env: Any, before: Mapping[str, torch.Tensor]) -> None:
    after = env.unwrapped.rows.state_dict()
    odd = [k for k, v in before.items() if not torch.equal(v.nan_to_num(), after[k].nan_to_num())]
    if odd:
        raise AssertionError(f"the state changed: {', '.join(odd)}")


def _stepping(env: Any, action: Any) -> Callable[[], None]:
    """A step; where it is refused the state must be what it was, where not all must be finite."""

    def run() -> None:
        env.reset(seed=0)
        before = _state_of(env)
        try:
            told = env.step(action)
        except Exception:
            _unchanged(env, before)
            raise
        parts = told[0].values() if isinstance(told[0], dict) else [told[0]]
        if not all(np.isfinite(p).all() for p in parts) or not np.isfinite(told[1]).all():
            raise AssertionError("accepted, and what came of it is not finite")

    return run


def actions(ids: Sequence[str], fuzz: int) -> Iterator[Trial]:
    """Actions of the single and of the vector environment."""
    for id in ids:
        for env in (gym.make(id), gym.make_vec(id, 3)):
            env.action_space.seed(0)
            good = env.action_space.sample()
            where = f"{id} x {getattr(env.unwrapped, 'num_envs', 1)}"
            hand = [*ACTIONS, *spoiled(good)]
            yield from (Trial("action", where, repr(a), _stepping(env, a), True) for a in hand)
            for value in drawn(anything(), fuzz):
                yield Trial("action", where, repr(value), _stepping(env, value))
            yield Trial("action", where, "a good one, after all that", _stepping(env, good))


def seeds(ids: Sequence[str], fuzz: int) -> Iterator[Trial]:
    """Seeds of ``reset``, single and vector."""
    for id in ids:
        for env in (gym.make(id), gym.make_vec(id, 3)):
            where = f"{id} x {getattr(env.unwrapped, 'num_envs', 1)}"
            for value in SEEDS:
                yield Trial("seed", where, repr(value), _resetting(env, seed=value), True)
            for value in drawn(anything(), fuzz):
                yield Trial("seed", where, repr(value), _resetting(env, seed=value))
            yield Trial("seed", where, "5, after all that", _resetting(env, seed=5))


def _resetting(env: Any, **kwargs: Any) -> Callable[[], None]:
    def run() -> None:
        env.reset(seed=0)
        before = _state_of(env)
        try:
            env.reset(**kwargs)
        except Exception:
            _unchanged(env, before)
            raise

    return run


def options(ids: Sequence[str], fuzz: int) -> Iterator[Trial]:
    """Options of ``reset``, single and vector."""
    for id in ids:
        for env in (gym.make(id), gym.make_vec(id, 3)):
            where = f"{id} x {getattr(env.unwrapped, 'num_envs', 1)}"
            known = env.unwrapped.system.reset_options  # type: ignore[attr-defined]
            for value in OPTIONS:
                yield Trial("options", where, repr(value), _resetting(env, options=value), True)
            for value in drawn(options_like((*known, "reset_mask")), fuzz):
                yield Trial("options", where, repr(value), _resetting(env, options=value))
            yield Trial("options", where, "none, after all that", _resetting(env, seed=1))


def params(ids: Sequence[str], fuzz: int) -> Iterator[Trial]:
    """Every parameter of every system, and the arguments that all have."""
    for id in ids:
        kind = entry(id).load_system().params_type
        for name in kind.model_fields:
            for value in values_of(name, fuzz):
                yield Trial(
                    "params",
                    id,
                    f"{name}={value!r}",
                    lambda kind=kind, name=name, value=value: kind.create(**{name: value}),
                )
        for given in ARGUMENTS:
            yield Trial("arguments", id, repr(given), _making(id, given), True)


def _making(id: str, given: Mapping[str, Any]) -> Callable[[], None]:
    def run() -> None:
        gym.make_vec(id, **{"num_envs": 2, **given})

    return run


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
    said = err.getvalue()
    if code in (0, None):
        return
    last = said.strip().splitlines()[-1] if said.strip() else ""
    if code == 2 and "Traceback" not in said and last.lower().startswith("error:"):
        raise SixgymError(last)
    raise _CommandError(f"code {code}: {last}")


def arguments_of_the_command(folder: Path) -> Iterator[Trial]:
    """The command line."""
    from faults_inputs import COMMANDS

    for line in COMMANDS:
        words = [word.replace("FOLDER", str(folder)) for word in line]
        yield Trial(
            "command",
            "sixgym",
            " ".join(line),
            lambda words=words: run_command(words),
            True,
        )


SURFACES = ("actions", "seeds", "options", "params", "command", "files")


def trials(only: Sequence[str], ids: Sequence[str], fuzz: int, folder: Path) -> Iterator[Trial]:
    """All trials of some surfaces."""
    makers: dict[str, Callable[[], Iterator[Trial]]] = {
        "actions": lambda: actions(ids, fuzz),
        "seeds": lambda: seeds(ids, fuzz),
        "options": lambda: options(ids, fuzz),
        "params": lambda: params(ids, fuzz),
        "command": lambda: arguments_of_the_command(folder),
        "files": lambda: file_trials(folder, fuzz),
    }
    for name in only:
        yield from makers[name]()


# ----------------------------------------------------------------------------------------- command


def table(found: Sequence[Tried]) -> str:
    """Trials by surface, error and verdict, with one input of each."""
    groups: dict[tuple[str, str, str], list[Tried]] = {}
    for tried in found:
        error = tried.outcome.partition(":")[0]
        groups.setdefault((tried.surface, error, tried.verdict), []).append(tried)
    lines = [f"{'surface':<13}{'outcome':<22}{'trials':>8}  {'verdict':<10}for instance"]
    for (surface, error, verdict), group in sorted(groups.items()):
        one = group[0]
        lines.append(
            f"{surface:<13}{error:<22}{len(group):>8}  {verdict:<10}{one.input}"
            + ("" if verdict == ACCEPTED else f"  ->  {one.outcome[:140]}")
        )
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--env", action="append", help="an id; may be repeated; default: all")
    parser.add_argument("--only", action="append", choices=SURFACES, help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer drawn inputs")
    parser.add_argument("--all", action="store_true", help="print every trial")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/faults/faults.json"), help="JSON to write"
    )
    return parser.parse_args()


def main() -> int:
    """Try, print and write."""
    given = arguments()
    ids = given.env or [e.id for e in entries()]
    fuzz = QUICK_FUZZ if given.quick else FUZZ
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        found = [judge(t) for t in trials(given.only or SURFACES, ids, fuzz, Path(scratch))]
    if given.all:
        for tried in found:
            print(f"{tried.verdict:<9}{tried.surface}: {tried.where}: {tried.input}")
            print(f"         {tried.outcome[:300]}")
    print(table(found))
    wrong = [tried for tried in found if tried.verdict == WRONG]
    for tried in wrong:
        print(f"{WRONG}: {tried.surface}: {tried.where}: {tried.input}\n    {tried.outcome[:400]}")
    counts = Counter(tried.verdict for tried in found)
    print(f"{len(found):,} trials: " + ", ".join(f"{n:,} {v}" for v, n in counts.most_common()))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(summary(found), indent=1) + "\n")
    print(given.out)
    return int(bool(wrong))


def summary(found: Sequence[Tried]) -> dict[str, Any]:
    """Counts by surface and outcome, with one example of each, and all that is wrong."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for tried in found:
        key = (tried.surface, tried.outcome.partition(":")[0], tried.verdict)
        row = rows.setdefault(
            key,
            {
                "surface": key[0],
                "outcome": key[1],
                "verdict": key[2],
                "trials": 0,
                "input": tried.input,
                "message": tried.outcome[:200],
            },
        )
        row["trials"] += 1
    return {
        "trials": len(found),
        "rows": [rows[key] for key in sorted(rows)],
        "wrong": [asdict(tried) for tried in found if tried.verdict == WRONG],
    }


if __name__ == "__main__":
    sys.exit(main())
