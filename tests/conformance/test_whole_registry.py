"""The conformance kit over every id of this package: a new id is tested by being registered."""

from __future__ import annotations

from typing import Any

import pytest

import sixgym
from sixgym.envs.core.conformance import CHECKS
from sixgym.envs.core.conformance.subject import Check, Skipped, Subject

COMPILED = "sixgym/RisNoma-v0"
"""The one id that the fast suite compiles; the others are compiled by the slow one."""
REPRESENTATIVES = ("sixgym/RisNoma-v0", "sixgym/EventOffloadMulti-v0")
"""A system and a game: for the others the checks of `PROCESSES` are slow tests."""
PROCESSES = ("fresh_interpreter", "gymnasiums_async", "short_training")
"""Checks that start processes or train: what they try is the base's work, the same for all."""


def cases() -> list[Any]:
    ours = [e.id for e in sixgym.entries() if e.id.startswith("sixgym/")]  # tests register toys
    pairs = [(id, check) for id in ours for check in CHECKS]
    return [
        pytest.param(id, check, id=f"{id}-{check.name}", marks=marks(id, check))
        for id, check in pairs
    ]


def marks(id: str, check: Check) -> list[pytest.MarkDecorator]:
    is_slow = check.is_slow or (check.name in PROCESSES and id not in REPRESENTATIVES)
    compiled_here = check.name == "compiled_step" and id == COMPILED
    return [pytest.mark.slow] if is_slow and not compiled_here else []


@pytest.mark.parametrize(("id", "check"), cases())
def test_every_id_keeps_every_promise(id: str, check: Check) -> None:
    try:
        check.run(Subject(id))
    except Skipped as reason:
        pytest.skip(str(reason))


def test_the_ids_and_checks_named_here_exist() -> None:
    assert {COMPILED, *REPRESENTATIVES} <= {entry.id for entry in sixgym.entries()}
    assert set(PROCESSES) <= {check.name for check in CHECKS}
