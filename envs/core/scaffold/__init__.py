"""A package with a system, outside this one: rendered from ``templates/``.

What a user gets is whole and small: a system of under sixty lines of code, one baseline, one
configuration, tests that call the conformance kit, and an entry point by which every command finds
it. Nothing in sixgym changes.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import shlex
import sys
from importlib import resources
from pathlib import Path
from string import Template
from typing import NamedTuple, Self

from sixgym.envs.core.errors import OptionsError

FILES = {
    "pyproject.toml.in": "pyproject.toml",
    "readme.md.in": "README.md",
    "init.py.in": "src/$name/__init__.py",
    "system.py.in": "src/$name/system.py",
    "baselines.py.in": "src/$name/baselines.py",
    "ppo.yaml.in": "src/$name/configs/ppo.yaml",
    "test.py.in": "tests/test_$name.py",
}
"""Each template and where it goes below the new folder. The package lies in ``src``, so that its
folder is not mistaken for it by a Python that is started beside it."""

TAKEN = ("Box", "Metric", "NamedTuple", "Params", "Score", "Step", "System", "Tensor")
"""Classes that the module of the system uses, so that it cannot have one of the name."""
ALLOWED = "lower-case letters, digits and single underscores, a letter first, at most 40"


class Names(NamedTuple):
    """What things are called in a new package; make one with `of`."""

    name: str
    """Of the package and of the namespace."""
    cls: str
    """Of the system's class."""
    id: str

    @classmethod
    def of(cls, name: str) -> Self:
        """The names that follow from a package's.

        Raises:
            OptionsError: it is no name for a package, or one of that name is there already.
        """
        fits = re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) and len(name) <= 40
        if not fits or keyword.iskeyword(name):
            raise OptionsError(f"name={name!r}: allowed: {ALLOWED}")
        title = "".join(word.capitalize() for word in name.split("_"))
        if title in TAKEN:
            raise OptionsError(f"name={name!r}: {title} is a class that systems are made of")
        return cls(name, title, f"{name}/{title}-v0")

    @property
    def run(self) -> str:
        """Where its configuration trains."""
        return f"runs/{self.cls.lower()}/ppo/ppo"

    def commands(self, folder: Path) -> list[str]:
        """What to do with the package, in order."""
        return [
            f"pip install -e {shlex.quote(str(folder))}",
            f"sixgym check {self.id}",
            f"sixgym train {self.name}/ppo",
            f"sixgym benchmark --env {self.id} --policy random --policy steady --policy {self.run}",
            "sixgym leaderboard build",
        ]


def write(names: Names, into: Path) -> Path:
    """Write the package and return its folder.

    Args:
        names: of everything.
        into: an existing folder or one to be made.

    Raises:
        OptionsError: there is such a folder, or Python has a module of that name, already.
    """
    folder = into / names.name
    if folder.exists():
        raise OptionsError(f"{folder}: exists already; allowed: another name or --into")
    found = importlib.util.find_spec(names.name)
    if names.name in sys.stdlib_module_names or (found is not None and found.origin is not None):
        raise OptionsError(f"name={names.name!r}: Python has such a module; allowed: another name")
    for target, text in render(names).items():
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def render(names: Names) -> dict[str, str]:
    """The files of the package by their path inside it."""
    templates = resources.files(__name__) / "templates"
    values = names._asdict() | {"run": names.run}
    return {
        Template(target).substitute(values): Template(
            (templates / source).read_text(encoding="utf-8")
        ).substitute(values)
        for source, target in FILES.items()
    }
