"""The conformance kit over every registered id: a new id is tested by being registered."""

from __future__ import annotations

from typing import Any

import pytest

import sixgym
from sixgym.envs.core.conformance import CHECKS
from sixgym.envs.core.conformance.subject import Check, Skipped, Subject

COMPILED = "sixgym/RisNoma-v0"
"""The one id that the fast suite compiles; the others are compiled by the slow one."""


def cases() -> list[Any]:
    pairs = [(entry.id, check) for entry in sixgym.entries() for check in CHECKS]
    return [
        pytest.param(id, check, id=f"{id}-{check.name}", marks=marks(id, check))
        for id, check in pairs
    ]


def marks(id: str, check: Check) -> list[pytest.MarkDecorator]:
    compiled_here = check.name == "compiled_step" and id == COMPILED
    return [pytest.mark.slow] if check.is_slow and not compiled_here else []


@pytest.mark.parametrize(("id", "check"), cases())
def test_every_id_keeps_every_promise(id: str, check: Check) -> None:
    try:
        check.run(Subject(id))
    except Skipped as reason:
        pytest.skip(str(reason))


def test_the_compiled_id_exists() -> None:
    assert COMPILED in [entry.id for entry in sixgym.entries()]
