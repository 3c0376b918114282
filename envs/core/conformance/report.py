"""What the checks found, for a person and as JSON."""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

from sixgym.envs.core.conformance.subject import Subject

if TYPE_CHECKING:
    from sixgym.envs.core.conformance import Verdict
    from sixgym.envs.core.conformance.guest import Guest

FORMAT = "sixgym-check/1"
"""Name and version of the JSON."""
LONGEST = 1_500
"""Characters of a message that are shown; checkers print whole arrays."""


def line(verdict: Verdict, width: int = 110) -> str:
    """One verdict: its status, what was checked, and the reason in words where there is one."""
    word = verdict.status.upper() if verdict.status == "fail" else verdict.status
    head = f"{word:<5} {verdict.check.name}: {verdict.check.title}"
    lines = textwrap.wrap(head, width, subsequent_indent=" " * 6)
    if verdict.message:
        text = " ".join(verdict.message.split())
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
        indent = " " * 6 + "> "
        lines += textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=" " * 8)
    return "\n".join(lines)


def kind_of(subject: Subject | Guest) -> str:
    """What kind of thing was checked, in words."""
    return "a system of sixgym" if isinstance(subject, Subject) else subject.kind


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many of each status, in one line."""
    words = {"pass": "passed", "warn": "passed with a warning", "fail": "failed", "skip": "skipped"}
    counts = count(verdicts)
    seconds = sum(verdict.seconds for verdict in verdicts)
    told = ", ".join(f"{counts[status]} {word}" for status, word in words.items() if counts[status])
    return f"{told} in {seconds:.1f} s"


def count(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many verdicts there are of each status."""
    return {
        status: sum(verdict.status == status for verdict in verdicts)
        for status in ("pass", "warn", "fail", "skip")
    }


def as_json(
    target: str, kind: str, kwargs: dict[str, Any], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """Everything that a script wants to know of a report."""
    return {
        "format": FORMAT,
        "target": target,
        "kind": kind,
        "kwargs": kwargs,
        "passed": not any(verdict.status == "fail" for verdict in verdicts),
        "counts": count(verdicts),
        "verdicts": [
            {
                "check": verdict.check.name,
                "title": verdict.check.title,
                "status": verdict.status,
                "message": verdict.message,
                "seconds": round(verdict.seconds, 4),
            }
            for verdict in verdicts
        ],
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("gymnasium", "numpy", "pettingzoo")},
        },
    }
