"""What every run has, whatever it trains: a folder of its own, an origin, a number of threads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from sixgym.envs.core.errors import ConfigError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]


def folders(parent: Path, name: str) -> Iterator[Path]:
    """``<parent>/<name>``, then with ``-2`` and so on."""
    return (parent / (name if n == 1 else f"{name}-{n}") for n in itertools.count(1))


def new_folder(parent: Path, name: str) -> Path:
    """The first free one of `folders`, made here so that two that start together differ.

    Raises:
        ConfigError: the folder of all runs cannot be made or written to.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for folder in folders(parent, name):
            with suppress(FileExistsError):
                folder.mkdir()
                return folder
    except OSError as error:
        raise ConfigError(f"output={str(parent)!r}: cannot be written: {error.strerror}") from None
    raise AssertionError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a run's folder to this process; the lock goes with the process, however it ends.

    Raises:
        ConfigError: another process works in the folder.
    """
    if fcntl is None:  # pragma: no cover - no such locks on Windows
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{folder}: another process trains there; allowed: one at a time"
            ) from None
        yield


def origin(config: dict[str, Any], seed: int) -> dict[str, Any]:
    """Where a result comes from: configuration, seed, versions and commit."""
    from sixgym.agents.logs import commit, versions  # which need Stable-Baselines3

    return {"config": config, "seed": seed, "versions": versions(), "commit": commit()}


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch on ``count`` threads for a while; 0 leaves them."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
