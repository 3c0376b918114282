"""Bad names: ids that are registered or asked for, systems, packages that plug in, new packages."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium as gym
from faults_command import run_command
from faults_inputs import Odd, Trial, anything, drawn
from hypothesis import strategies as st

import sixgym
from sixgym.envs.core import plugins, registry
from sixgym.envs.core.errors import OptionsError, PluginWarning
from sixgym.envs.core.registry import entry, load_system

SYSTEM = "sixgym.envs.ris_noma.system:RisNoma"
KNOWN = "sixgym/RisNoma-v0"

IDS: tuple[Any, ...] = (
    "",
    " ",
    "Name",
    "Name-v",
    "Name-v-1",
    "Name-v1.5",
    "a/b/c-v0",
    "/Name-v0",
    "ns/-v0",
    "ns/Na me-v0",
    "ns/Name-v0\n",
    "../../Name-v0",
    "ns/\u0000-v0",
    "ns/Name-v" + "9" * 5000,
    "x" * 10**5,
    None,
    5,
    b"ns/Name-v0",
    [],
    ("a", "b"),
    {"id": 1},
    Odd(),
)
"""That nobody may register or find."""

REGISTRATIONS: tuple[tuple[dict[str, Any], bool], ...] = (
    ({"system": "sixgym.envs.llm_mac:LlmMac", "id": KNOWN}, True),
    ({"system": None}, True),
    ({"system": 5}, True),
    ({"system": Odd()}, True),
    ({"system": ""}, True),
    ({"system": "no_colon"}, True),
    ({"system": ":Class"}, True),
    ({"system": "module:"}, True),
    ({"system": int}, True),
    ({"max_episode_steps": 0}, True),
    ({"max_episode_steps": -5}, True),
    ({"max_episode_steps": 1.5}, True),
    ({"max_episode_steps": "ten"}, True),
    ({"max_episode_steps": True}, True),
    ({"max_episode_steps": float("nan")}, True),
    ({"title": 5}, True),
    ({"baselines": 5}, True),
    ({"claims": []}, True),
    ({"evaluation": 5}, True),
    ({"evaluation": ["a"]}, True),
    ({"parallel": "action_mode"}, True),
    ({"splits": 5}, True),
    ({"splits": {"no_such_split": {}}}, True),
    ({"splits": {"held_out": 5}}, True),
    ({"splits": {"held_out": {"a": 5}}}, True),
    ({"splits": {5: {}}}, True),
)
"""Arguments of `register`, and whether they must be refused."""

PATHS: tuple[Any, ...] = (
    "",
    ":",
    "os",
    "os:",
    ":getcwd",
    "no.such.module:X",
    "os:no_such",
    "os:getcwd",
    "os:path.no_such",
    "sixgym.envs.ris_noma.system:RisNoma.params_type.no_such",
    "..relative:X",
    "a b:c",
    "\u0000:x",
    "x" * 10**5 + ":X",
    "json:JSONDecoder",
    "antigravity_of_no_one:X",
)
"""Of systems that are none."""

NEW: tuple[str, ...] = (
    "",
    " ",
    ".",
    "..",
    "/",
    "../escape",
    "/tmp/escape",
    "a/b",
    "a\\b",
    "class",
    "None",
    "async",
    "match",
    "9lives",
    "_private",
    "a__b",
    "A",
    "camelCase",
    "a-b",
    "a.b",
    "a b",
    "a\nb",
    "a\u0000b",
    "\u00e9tude",
    "\u0430bc",
    "\u202eabc",
    "\udcff",
    "-h5",
    "--",
    "os",
    "json",
    "test",
    "torch",
    "sixgym",
    "numpy",
    "box",
    "params",
    "system",
    "con" * 200,
    "$name",
    "${name}",
    "%s",
    "{}",
    "'; touch harm; '",
)
"""Names of packages, for ``sixgym new``; ``match`` is a word only where a match begins."""
ALLOWED_NEW = ("match",)


def name_trials(folder: Path, fuzz: int) -> Iterator[Trial]:
    """All of them."""
    yield from _registering(fuzz)
    yield from _asking(fuzz)
    yield from _plugging_in()
    yield from _making_new(folder, fuzz)


def _trial(where: str, shown: str, run: Callable[[], object], must_fail: bool = True) -> Trial:
    return Trial("names", where, shown, run, must_fail)


def _registering(fuzz: int) -> Iterator[Trial]:
    for id in IDS:
        yield _trial("register", f"id={id!r}", _register(id=id))
    for given, must_fail in REGISTRATIONS:
        yield _trial("register", repr(given), _register(**given), must_fail)
    for value in drawn(anything(), fuzz):
        for name in ("id", "system", "max_episode_steps", "evaluation", "splits"):
            run = _register(**{name: value})
            yield _trial("register", f"{name}={value!r}", run, must_fail=False)
    yield _trial("register", "again, the same", _register(id=KNOWN, like=KNOWN), must_fail=False)


def _register(**given: Any) -> Callable[[], None]:
    """Register; where it is refused, both registries must be what they were, and are afterwards."""
    like = given.pop("like", None)

    def run() -> None:
        ours, theirs = dict(registry._ENTRIES), dict(gym.registry)
        full = {"id": "fault/Case-v0", "system": SYSTEM, "max_episode_steps": 5, **given}
        if like is not None:
            found = entry(like)
            full |= {k: getattr(found, k) for k in found.__dataclass_fields__}
        try:
            sixgym.register(**full)
        except Exception:
            if ours != registry._ENTRIES or theirs.keys() != gym.registry.keys():
                raise AssertionError("a refused id stands in a registry") from None
            raise
        finally:
            for held, before in ((registry._ENTRIES, ours), (gym.registry, theirs)):
                held.clear()
                held.update(before)

    return run


def _asking(fuzz: int) -> Iterator[Trial]:
    for id in IDS:
        yield _trial("an id", repr(id), functools.partial(entry, id))
    for path in PATHS:
        yield _trial("a system", repr(path), functools.partial(load_system, path))
    for value in drawn(st.text(max_size=12), fuzz):
        yield _trial("an id", repr(value), functools.partial(entry, value))
        yield _trial("a system", repr(value), functools.partial(load_system, value))


PLUGINS: dict[str, str] = {
    "no such module": "no_such_module_of_anyone",
    "no module at all": "",
    "a name with spaces": "a b.c",
    "a relative name": ".relative",
    "a module that ends the process": "faulty_exit",
    "a module that raises": "faulty_raise",
    "a module with a syntax error": "faulty_syntax",
    "a module of two lines of error": "faulty_lines",
    "a module that registers badly": "faulty_register",
}
FAULTY = {
    "faulty_exit": "import sys\nsys.exit(7)\n",
    "faulty_raise": "raise KeyError('x')\n",
    "faulty_syntax": "def (:\n",
    "faulty_lines": "raise RuntimeError('one\\ntwo')\n",
    "faulty_register": "import sixgym\nsixgym.register('bad', 'a:B', max_episode_steps=1)\n",
}


def _plugging_in() -> Iterator[Trial]:
    for shown, module in PLUGINS.items():
        yield _trial("a package", shown, functools.partial(_plug_in, module))


def _plug_in(module: str) -> None:
    """Load a faulty package: it is warned of in one line and left out; the others stay.

    Raises:
        OptionsError: that happened.
    """
    import sys
    import tempfile

    point = metadata.EntryPoint("faulty", module, plugins.GROUP)
    plugins.load.cache_clear()
    with tempfile.TemporaryDirectory() as place:
        for name, text in FAULTY.items():
            Path(place, f"{name}.py").write_text(text)
        paths = [place, *sys.path]
        with (
            mock.patch.object(sys, "path", paths),
            mock.patch.object(metadata, "entry_points", return_value=[point]),
            warnings.catch_warnings(record=True) as told,
        ):
            warnings.simplefilter("always")
            loaded = plugins.load()
    plugins.load.cache_clear()
    ours = [str(w.message) for w in told if issubclass(w.category, PluginWarning)]
    if loaded or len(ours) != 1 or "\n" in ours[0]:
        raise AssertionError(f"loaded {loaded}, warned {ours}")
    entry(KNOWN)
    raise OptionsError(ours[0])


def _making_new(folder: Path, fuzz: int) -> Iterator[Trial]:
    names = [*NEW, *drawn(st.text(max_size=8), fuzz)]
    for name in names:

        def run(name: str = name) -> None:
            run_command(["new", "--into", str(folder / "new"), "--", name])

        def after() -> None:
            made = {path.name for path in folder.rglob("*") if path.is_dir()}
            odd = [path for path in folder.parent.iterdir() if path.name == "escape"]
            if odd or any("." in name for name in made):
                raise AssertionError(f"made {sorted(made)}, {odd}")

        must_fail = name in NEW and name not in ALLOWED_NEW
        yield Trial("names", "sixgym new", repr(name), run, must_fail, after)
