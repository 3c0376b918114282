"""Bad input of every kind, tried: each must end in a named, one-line error and change nothing.

Run with ``make faults`` or ``python benchmarks/faults.py --quick --only actions``. The surfaces are
`SURFACES`; the inputs a list of nasty ones by hand and others by Hypothesis, the same in every run.
A trial ends well if it raises an error of ours (`SixgymError`), one that Gymnasium documents for
that call, or is accepted where it may be; what is written by hand to be refused must be. Anything
else is wrong, and the command exits 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import faults_calls
import faults_command
import faults_names
import faults_views
import torch
from faults_files import file_trials
from faults_inputs import Trial

from sixgym.envs.core.errors import SixgymError
from sixgym.envs.core.registry import entries

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
            verdict = NAMED if _is_named(error, text) and not trial.must_pass else WRONG
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

OF_IDS: dict[str, Callable[[Sequence[str], int], Iterator[Trial]]] = {
    "actions": faults_calls.actions,
    "seeds": faults_calls.seeds,
    "options": faults_calls.options,
    "masks": faults_calls.masks,
    "states": faults_calls.states,
    "params": faults_calls.params,
    "sb3": faults_views.sb3,
    "pettingzoo": faults_views.pettingzoo,
    "spoken": faults_views.spoken,
    "torchrl": faults_views.torchrl,
}
"""What is tried with every id."""
OF_FOLDER: dict[str, Callable[[Path, int], Iterator[Trial]]] = {
    "command": faults_command.command_trials,
    "names": faults_names.name_trials,
    "files": file_trials,
}
"""What is tried in a scratch folder."""
SURFACES = (*OF_IDS, *OF_FOLDER)


def trials(only: Sequence[str], ids: Sequence[str], fuzz: int, folder: Path) -> Iterator[Trial]:
    """All trials of some surfaces."""
    for name in only:
        if name in OF_IDS:
            yield from OF_IDS[name](ids, fuzz)
        else:
            place = folder / name
            place.mkdir()
            yield from OF_FOLDER[name](place, fuzz)


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
