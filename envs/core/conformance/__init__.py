"""The conformance kit: what every environment of a system promises, as functions to call.

``check_id("sixgym/RisNoma-v0")`` runs all checks that apply; the test suite runs them over the
whole registry, so that a new id is tested by being registered. The checks know nothing of any
system.

========== ================================================================================
module     what it checks
========== ================================================================================
single     the single environment: Gymnasium's checker, seeds, infos, copies, presets
batch      the vector environment: modes, row equality, independence, save and restore
faults     wrong actions, seeds, options, parameters and states are refused by type
learning   Stable-Baselines3: its checker, its algorithms
games      PettingZoo's tests, one story in all views, agents who come and go
========== ================================================================================
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from sixgym.envs.core.conformance import batch, faults, games, learning, single
from sixgym.envs.core.conformance.subject import Check, Skipped, Subject
from sixgym.envs.core.errors import UnknownIdError

CHECKS: tuple[Check, ...] = (
    *single.CHECKS,
    *batch.CHECKS,
    *faults.CHECKS,
    *learning.CHECKS,
    *games.CHECKS,
)
"""All checks, in the order in which a new system should meet them."""


class Verdict(NamedTuple):
    """What one check found."""

    check: Check
    passed: bool | None
    """None where the check does not apply."""
    message: str
    """Why it failed or does not apply."""
    seconds: float


def check_id(
    id: str, *, slow: bool = False, only: Iterable[str] | None = None, **kwargs: Any
) -> list[Verdict]:
    """Run the checks on a registered id.

    Args:
        id: a registered id.
        slow: also run the checks that take minutes.
        only: names of the checks to run; None for all.
        **kwargs: parameters and options of the environment.

    Raises:
        UnknownIdError: no such id, or no check of a name in ``only``.
    """
    wanted = CHECKS if only is None else tuple(find(name) for name in only)
    subject = Subject(id, kwargs)
    subject.entry  # noqa: B018  (an unknown id is told at once)
    return [run(check, subject) for check in wanted if slow or not check.is_slow]


def run(check: Check, subject: Subject) -> Verdict:
    """Run one check; whatever it raises is its failure."""
    began = time.perf_counter()
    passed: bool | None = True
    message = ""
    try:
        check.run(subject)
    except Skipped as reason:
        passed, message = None, str(reason)
    except Exception as error:
        passed, message = False, f"{type(error).__name__}: {error}"
    return Verdict(check, passed, message, time.perf_counter() - began)


def find(name: str) -> Check:
    """The check of a name.

    Raises:
        UnknownIdError: there is none.
    """
    for known in CHECKS:
        if known.name == name:
            return known
    raise UnknownIdError(f"check={name!r}: unknown; allowed: {', '.join(c.name for c in CHECKS)}")
