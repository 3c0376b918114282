"""The conformance kit in the tests of others: two lines, or an option of pytest.

In a test module::

    from sixgym.testing import conformance

    @conformance("my_env/MyEnv-v0")
    def test_every_promise(check):
        check()

Or without a test module, on any target of ``sixgym check``::

    pytest -p sixgym.testing --sixgym-check my_env/MyEnv-v0
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sixgym.envs.core.conformance import PROCESSES, checks_for
from sixgym.envs.core.conformance.guest import Guest, target
from sixgym.envs.core.conformance.subject import Advised, Check, Skipped, Subject

__all__ = ["conformance"]


class _Case:
    """One check of one target, to call; shows as the check's name."""

    def __init__(self, subject: Subject | Guest, check: Check) -> None:
        self._subject, self.check = subject, check

    def __call__(self) -> None:
        """Run it: fails by what the check raises, is skipped where it does not apply."""
        try:
            self.check.run(self._subject)
        except Skipped as reason:
            pytest.skip(str(reason))
        except Advised:
            pass  # a warning of the report is not a failure

    def __repr__(self) -> str:
        return f"{self._subject.id}-{self.check.name}"


def conformance(*targets: str, slow: bool = False, **kwargs: Any) -> Callable[[Any], Any]:
    """A decorator that makes one test of each check; the test takes ``check`` and calls it.

    Args:
        *targets: ids of any registry, ``module:id``, or ``module:function``.
        slow: also what compiles, trains long or starts processes.
        **kwargs: arguments of the environments.

    Raises:
        UnknownIdError: there is no such target.
    """
    cases = [case for text in targets for case in _cases(text, slow, kwargs)]
    return pytest.mark.parametrize("check", cases, ids=repr)


def _cases(text: str, slow: bool, kwargs: dict[str, Any]) -> Iterator[_Case]:
    subject = target(text, kwargs)
    return (_Case(subject, check) for check in checks_for(subject, slow=slow))


# ------------------------------------------------------------------------------- pytest's hooks


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of ``pytest -p sixgym.testing``."""
    group = parser.getgroup("sixgym")
    group.addoption(
        "--sixgym-check",
        action="append",
        default=[],
        metavar="TARGET",
        help="check this environment: an id, module:id or module:function; may be repeated",
    )
    group.addoption(
        "--sixgym-slow",
        action="store_true",
        help=f"also the slow checks ({', '.join(PROCESSES)} and others)",
    )


class _Item(pytest.Item):
    """A check as an item of pytest."""

    def __init__(self, *, case: _Case, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._case = case

    def runtest(self) -> None:
        """Run the check."""
        self._case()

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """What the report calls it."""
        return self.path, None, f"sixgym check {self._case!r}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the checks of ``--sixgym-check`` to what was collected."""
    slow = bool(config.getoption("--sixgym-slow"))
    for text in config.getoption("--sixgym-check"):
        cases = _cases(text, slow, {})
        items.extend(_Item.from_parent(session, name=repr(case), case=case) for case in cases)
