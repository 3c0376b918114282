"""The toy systems under ids, for the length of one test."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium as gym
import pytest
from toy_systems import Counter, Gate, Tank

from sixgym.envs.core import registry


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registers the toys, and forgets them and whatever else the test registered."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    before = dict(gym.registry)
    for name, system in (("Counter", Counter), ("Gate", Gate), ("Tank", Tank)):
        registry.register(f"toy/{name}-v0", system, max_episode_steps=20)
    yield
    gym.registry.clear()
    gym.registry.update(before)
