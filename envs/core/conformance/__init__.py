"""The conformance kit: what every environment promises, as functions to call.

``check_id("sixgym/RisNoma-v0")`` runs all checks that apply; the test suite runs them over the
whole registry, so that a new id is tested by being registered. The checks know nothing of any
system. ``sixgym check TARGET`` prints what they found, of environments by others too: a plain
``gymnasium.Env`` or a PettingZoo environment meets the checks that make sense without our batches.

========== ================================================================================
module     what it checks
========== ================================================================================
single     the single environment: Gymnasium's checker, seeds, infos, copies, presets
batch      the vector environment: modes, row equality, independence, save and restore
faults     wrong actions, seeds, options, parameters and states are refused by type
learning   Stable-Baselines3: its checker, its algorithms
games      PettingZoo's tests, one story in all views, agents who come and go
speed      steps a second; told, not judged
guests     environments by others: interface, seeds, spaces, numbers, ends (`guest` plays them)
report     what was found, for a person and as JSON
========== ================================================================================
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from sixgym.envs.core.conformance import batch, faults, games, guests, learning, single, speed
from sixgym.envs.core.conformance.guest import Guest, target
from sixgym.envs.core.conformance.subject import Advised, Check, Skipped, Subject
from sixgym.envs.core.errors import UnknownIdError

CHECKS: tuple[Check, ...] = (
    *single.CHECKS,
    *batch.CHECKS,
    *faults.CHECKS,
    *learning.CHECKS,
    *games.CHECKS,
    *speed.CHECKS,
)
"""All checks of a system, in the order in which a new one should meet them."""

PROCESSES = ("fresh_interpreter", "gymnasiums_async")
"""Checks that start an interpreter of their own, which takes seconds; `checks_for` counts them
among the slow ones."""

Status = Literal["pass", "warn", "fail", "skip"]


class Verdict(NamedTuple):
    """What one check found."""

    check: Check
    status: Status
    message: str
    """Why it failed or does not apply, what to know though it passed, or what was measured."""
    seconds: float

    @property
    def passed(self) -> bool | None:
        """None where the check does not apply."""
        return None if self.status == "skip" else self.status != "fail"


def checks_for(subject: Subject | Guest, *, slow: bool = False) -> tuple[Check, ...]:
    """The checks of a subject.

    Args:
        subject: of `target`.
        slow: also those that compile, train or start processes.
    """
    known = CHECKS if isinstance(subject, Subject) else guests.checks_of_guest(subject)
    return tuple(c for c in known if slow or not (c.is_slow or c.name in PROCESSES))


def select(
    subject: Subject | Guest, *, slow: bool = False, only: Iterable[str] | None = None
) -> tuple[Check, ...]:
    """As `checks_for`, or the checks of some names.

    Raises:
        UnknownIdError: there is no check of such a name for this kind of subject.
    """
    known = checks_for(subject, slow=slow or only is not None)
    return known if only is None else tuple(find(name, known) for name in only)


def run_all(
    subject: Subject | Guest,
    checks: Iterable[Check],
    *,
    told: Callable[[Verdict], None] | None = None,
) -> list[Verdict]:
    """Run some checks; where the first says that nothing can be made, the rest are skipped.

    Args:
        subject: of `target`.
        checks: of `select`.
        told: called with each verdict as it is reached.
    """
    verdicts: list[Verdict] = []
    can_be_made = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks hear what they listen to
        for check in checks:
            if can_be_made:
                verdict = run(check, subject)
                can_be_made = verdict.status != "fail" or check.name != "can_be_made"
            else:
                verdict = Verdict(check, "skip", "it cannot be made", 0.0)
            verdicts.append(verdict)
            if told is not None:
                told(verdict)
    return verdicts


def check_target(
    text: str,
    *,
    slow: bool = False,
    only: Iterable[str] | None = None,
    **kwargs: Any,
) -> list[Verdict]:
    """Run the checks on whatever a target stands for; see `sixgym.envs.core.conformance.guest`.

    Args:
        text: an id of any registry, ``module:id`` or ``module:function``.
        slow: also run the checks that take long.
        only: names of the checks to run; None for all.
        **kwargs: arguments of the environment.

    Raises:
        UnknownIdError: there is no such target, or no check of a name in ``only``.
    """
    subject = target(text, kwargs)
    return run_all(subject, select(subject, slow=slow, only=only))


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


def run(check: Check, subject: Subject | Guest) -> Verdict:
    """Run one check; whatever it raises is its failure."""
    began = time.perf_counter()
    status: Status = "pass"
    try:
        message = check.run(subject) or ""
    except Skipped as reason:
        status, message = "skip", str(reason)
    except Advised as advice:
        status, message = "warn", str(advice)
    except Exception as error:
        status, message = "fail", f"{type(error).__name__}: {error}"
    return Verdict(check, status, message, time.perf_counter() - began)


def find(name: str, among: Iterable[Check] = CHECKS) -> Check:
    """The check of a name.

    Raises:
        UnknownIdError: there is none.
    """
    known = {check.name: check for check in among}
    if name not in known:
        raise UnknownIdError(f"check={name!r}: unknown; allowed: {', '.join(known)}")
    return known[name]
