"""Packages of others that bring systems: found by their entry points, loaded when first needed.

A package names a module that calls `sixgym.register` in its metadata::

    [project.entry-points."sixgym.systems"]
    my_env = "my_env"

``import sixgym`` and ``sixgym --help`` do not look; listing the environments, asking for an id that
is not registered yet, and asking for the shipped configurations do. A package that cannot be
imported is warned of, by name, and left out.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from importlib import metadata, resources
from importlib.resources.abc import Traversable

from sixgym.envs.core.errors import PluginWarning

GROUP = "sixgym.systems"
"""The group of entry points. The name of one is the first part of its configurations' names."""
CONFIGS = "configs"
"""Folder of a package with its configurations."""


_IMPORTED: list[str] = []


def import_module(name: str) -> None:
    """Import a module of the user that registers environments, and remember its name.

    Raises:
        ImportError: it cannot be imported.
    """
    importlib.import_module(name)
    if name not in _IMPORTED:
        _IMPORTED.append(name)


def imported() -> list[str]:
    """Modules that were asked for by name: processes that work for this one need them as well."""
    return list(_IMPORTED)


@functools.cache
def load() -> dict[str, str]:
    """Import every such module, once a process.

    Returns:
        The modules that could be imported, by the name of their entry point.
    """
    loaded = {}
    for point in metadata.entry_points(group=GROUP):
        try:
            importlib.import_module(point.module)
        except (Exception, SystemExit) as error:
            package = point.dist.name if point.dist is not None else point.value
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            warnings.warn(
                f"package {package}: its systems are left out, {point.value} cannot be imported: "
                f"{reason}",
                PluginWarning,
                stacklevel=2,
            )
        else:
            loaded[point.name] = point.module
    return loaded


def configurations() -> dict[str, Traversable]:
    """The YAML files that such packages ship, by name (``my_env/ppo``)."""
    found = {}
    for name, module in load().items():
        folder = resources.files(module.partition(".")[0]) / CONFIGS
        files = sorted(folder.iterdir(), key=lambda f: f.name) if folder.is_dir() else ()
        for file in files:
            if file.name.endswith(".yaml"):
                found[f"{name}/{file.name.removesuffix('.yaml')}"] = file
    return found
