"""Registered ids: idempotent, never two meanings, near misses named."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
from toy_systems import Counter, Gate

from sixgym.envs.core.errors import OptionsError, UnknownIdError
from sixgym.envs.core.registry import entries, entry, load_system, register


def test_registering_again_changes_nothing(recwarn: pytest.WarningsRecorder) -> None:
    first = register("toy/Twice-v0", Counter, max_episode_steps=5, title="x")
    spec = gym.spec("toy/Twice-v0")
    assert register("toy/Twice-v0", Counter, max_episode_steps=5, title="x") == first
    assert gym.spec("toy/Twice-v0") is spec
    assert entry("toy/Twice-v0").load_system() is Counter
    assert first in entries()
    assert len(recwarn) == 0


def test_an_id_does_not_stand_for_two_systems() -> None:
    register("toy/Mine-v0", Counter, max_episode_steps=5)
    with pytest.raises(OptionsError, match="already registered for toy_systems:Counter"):
        register("toy/Mine-v0", Gate, max_episode_steps=5)


@pytest.mark.parametrize("id", ["toy/NoVersion", "toy/bad id-v0", "", "a/b/c-v0"])
def test_an_id_has_a_namespace_and_a_version(id: str) -> None:
    with pytest.raises(OptionsError, match="namespace/Name-vN"):
        register(id, Counter, max_episode_steps=5)
    assert id not in gym.registry


def test_an_unknown_id_names_its_neighbours() -> None:
    with pytest.raises(UnknownIdError, match="did you mean sixgym/RisNoma-v0"):
        entry("sixgym/RisNomma-v0")
    with pytest.raises(UnknownIdError, match=r"allowed: .*sixgym/RisNoma-v0"):
        entry("zzzzzz")


@pytest.mark.parametrize("path", ["nowhere:System", "toy_systems:Nothing", "toy_systems"])
def test_a_system_that_cannot_be_imported_is_named(path: str) -> None:
    with pytest.raises(UnknownIdError, match="cannot be imported"):
        load_system(path)


def test_every_own_id_is_in_gymnasiums_registry_with_its_limit() -> None:
    own: list[Any] = [known for known in entries() if known.id.startswith("sixgym/")]
    assert own
    for known in own:
        assert gym.spec(known.id).max_episode_steps == known.max_episode_steps
