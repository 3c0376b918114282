"""What is registered: one entry an id, without importing torch or the systems themselves.

`register` puts an id into Gymnasium's registry (and, for games, PettingZoo's) and remembers where
its baselines and claims live. It is called by ``import sixgym`` for the suite's own systems and by
users for theirs; calling it again with the same content changes nothing.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import gymnasium as gym

from sixgym.envs.core import plugins
from sixgym.envs.core.errors import OptionsError, UnknownIdError

if TYPE_CHECKING:
    from sixgym.envs.core.system import System

_MAKE = "sixgym.envs.core.make:make_env"
_MAKE_VECTOR = "sixgym.envs.core.make:make_vector_env"
_VIEWS = "sixgym.envs.core.pettingzoo_view"
_ENTRIES: dict[str, Entry] = {}

GUESTS = ("gymnasium", "pettingzoo")
"""Libraries whose registered environments are guests: played, checked and ranked as they are."""

SPLITS = ("held_out", "generalisation")
"""What a policy may be judged on beside what it was trained in: presets that nobody trained in; and
other numbers of users or devices, other loads, other statistics of the channel."""


@dataclass(frozen=True)
class Entry:
    """A registered system."""

    id: str
    """``namespace/Name-vN``, the same in both registries."""
    system: str
    """``module:Class`` of the `System`."""
    max_episode_steps: int | None
    title: str
    """One line for lists."""
    baselines: str | None = None
    """Module with a ``BASELINES`` table, or None."""
    claims: str | None = None
    """Module with a ``CLAIMS`` table, or None."""
    is_game: bool = False
    """Whether it is multi-agent and also stands in PettingZoo's registry."""
    evaluation: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Parameters by which its tasks differ from what one trains in: data held back for judging."""
    parallel: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Parameters that PettingZoo's views take unless told otherwise: a layout of the actions that
    agents by name can have, and one controller or Stable-Baselines3 cannot."""
    splits: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict, hash=False)
    """Tasks beside the one that is trained in, by split and name: parameters of each."""

    @property
    def library(self) -> str:
        """``sixgym``, or of a guest (see `entry`) the library that it is written for."""
        module = self.system.partition(":")[0]
        return module if module in GUESTS else "sixgym"

    @property
    def is_guest(self) -> bool:
        """Whether it is a plain environment by somebody else, without a system."""
        return self.library != "sixgym"

    def load_system(self) -> type[System[Any, Any]]:
        """Import the system's class.

        Raises:
            UnknownIdError: it cannot be imported, or the entry is a guest's.
        """
        return load_system(self.system)


def register(
    id: str,
    system: str | type[System[Any, Any]],
    *,
    max_episode_steps: int | None,
    title: str = "",
    baselines: str | None = None,
    claims: str | None = None,
    is_game: bool = False,
    evaluation: Mapping[str, Any] | None = None,
    parallel: Mapping[str, Any] | None = None,
    splits: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
) -> Entry:
    """Register a system under an id; idempotent.

    Args:
        id: ``namespace/Name-vN``.
        system: ``"module:Class"`` or the class itself (which must be importable by name).
        max_episode_steps: default time limit; None for none.
        title: one line for lists.
        baselines: module with a ``BASELINES`` table.
        claims: module with a ``CLAIMS`` table.
        is_game: also register with PettingZoo.
        evaluation: parameters that evaluations and benchmarks replace unless told otherwise.
        parallel: parameters that PettingZoo's views replace unless told otherwise.
        splits: what a policy is also judged on, beside the parameters that one trains with: tasks
            by split (one of `SPLITS`) and by a name of your own, each the parameters that differ.

    Raises:
        OptionsError: the id stands for another system already, or has no version; there is no such
            split; or an argument is of another type.
    """
    _check_names(id, system, title=title, baselines=baselines, claims=claims)
    _check_limit(max_episode_steps)
    _check_tables(evaluation=evaluation, parallel=parallel, splits=splits)
    for name, tasks in (splits or {}).items():
        if name not in SPLITS:
            raise OptionsError(f"splits={name!r}: allowed: {', '.join(SPLITS)}")
        _check_tables(**{f"splits.{name}": tasks})
        _check_tables(**{f"splits.{name}.{task}": values for task, values in tasks.items()})
    path = system if isinstance(system, str) else f"{system.__module__}:{system.__qualname__}"
    entry = Entry(
        id,
        path,
        max_episode_steps,
        title,
        baselines,
        claims,
        is_game,
        dict(evaluation or {}),
        dict(parallel or {}),
        {name: {k: dict(v) for k, v in tasks.items()} for name, tasks in (splits or {}).items()},
    )
    if _ENTRIES.get(id) == entry and id in gym.registry:
        return entry
    if id in _ENTRIES and _ENTRIES[id].system != path:
        raise OptionsError(f"id={id!r}: already registered for {_ENTRIES[id].system}")
    try:
        version = gym.envs.registration.parse_env_id(id)[2]
    except (gym.error.Error, ValueError):  # of a version of thousands of digits
        version = None
    if version is None:
        raise OptionsError(f"id={id!r}: allowed: namespace/Name-vN, with a version")
    gym.registry.pop(id, None)
    gym.register(
        id=id,
        entry_point=_MAKE,
        vector_entry_point=_MAKE_VECTOR,
        max_episode_steps=max_episode_steps,
        kwargs={"system": path},
    )
    if is_game:
        _register_game(entry)
    _ENTRIES[id] = entry
    return entry


def _check_names(id: object, system: object, **names: object) -> None:
    if not isinstance(id, str):
        raise OptionsError(f"id={id!r}: allowed: namespace/Name-vN, with a version")
    is_path = isinstance(system, str) and all(system.partition(":"))
    if not is_path and not (isinstance(system, type) and hasattr(system, "params_type")):
        raise OptionsError(f"system={system!r}: allowed: 'module:Class', or a System's class")
    for name, value in names.items():
        if value is not None and not isinstance(value, str):
            raise OptionsError(f"{name}={value!r}: allowed: a text")


def _check_limit(steps: object) -> None:
    is_whole = isinstance(steps, int) and not isinstance(steps, bool)
    if steps is not None and not (is_whole and cast("int", steps) >= 1):
        raise OptionsError(f"max_episode_steps={steps!r}: allowed: None, or a whole number from 1")


def _check_tables(**tables: object) -> None:
    for name, table in tables.items():
        if table is None:
            continue
        if not isinstance(table, Mapping) or not all(isinstance(key, str) for key in table):
            raise OptionsError(f"{name}={table!r}: allowed: a dictionary by names")


def _register_game(entry: Entry) -> None:
    """PettingZoo's two registries; they warn on repeats, so an old entry goes first."""
    from pettingzoo.env_registry import registration

    id = entry.id
    kwargs = {**entry.parallel, "system": entry.system, "name": id}
    kwargs["max_episode_steps"] = entry.max_episode_steps
    registries = {"aec": registration.aec_registry, "parallel": registration.parallel_registry}
    for kind, maker in (("aec", "env"), ("parallel", "parallel_env")):
        registries[kind].pop(id, None)
        registration.register(kind, id, f"{_VIEWS}:{maker}", kwargs=kwargs)


def entries() -> list[Entry]:
    """All registered systems by id, those of installed packages included."""
    plugins.load()
    return [_ENTRIES[id] for id in sorted(_ENTRIES)]


def entry(id: str) -> Entry:
    """The entry of an id: a registered system, or else a guest.

    A guest is what others have registered with Gymnasium, or with PettingZoo as a parallel
    environment. It can be evaluated and benchmarked; what needs a system refuses it.

    Raises:
        UnknownIdError: no such id; the message names the nearest ones.
    """
    if not isinstance(id, str):
        raise UnknownIdError(f"id={id!r}: allowed: a text, as {', '.join(_ENTRIES)}")
    if id not in _ENTRIES and id not in gym.registry:
        plugins.load()
    found = _ENTRIES.get(id) or _guest(id)
    if found is None:
        near = difflib.get_close_matches(id, _ENTRIES, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"allowed: {', '.join(_ENTRIES)}"
        raise UnknownIdError(f"id={id!r}: not registered; {hint}")
    return found


def _guest(id: str) -> Entry | None:
    """The entry of a plain environment, if there is one."""
    if id in gym.registry:
        title = "A plain Gymnasium environment"
        return Entry(id, f"gymnasium:{id}", gym.registry[id].max_episode_steps, title)
    if "pettingzoo" not in sys.modules:  # then nobody has registered anything with it
        return None
    from pettingzoo.env_registry import registration

    if id in registration.parallel_registry:
        return Entry(id, f"pettingzoo:{id}", None, "A plain PettingZoo environment")
    return None


def load_system(path: str) -> type[System[Any, Any]]:
    """Import ``module:Class``.

    Raises:
        UnknownIdError: there is no such module or class, it is no system, or it is a guest's.
    """
    from sixgym.envs.core.system import System

    module, _, name = path.partition(":")
    if module in GUESTS:
        raise UnknownIdError(
            f"{name}: a plain {module} environment, which has no system of sixgym; allowed: "
            "check, evaluate, benchmark"
        )
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        # The last two are what Python says of a name that is empty or relative.
        raise UnknownIdError(f"system={path!r}: cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, System)):
        raise UnknownIdError(f"system={path!r}: {type(found).__name__}; allowed: a System's class")
    return found
