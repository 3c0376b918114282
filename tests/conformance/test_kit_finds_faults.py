"""The kit passes sound systems and finds each fault that one breaks on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from toy_games import Crowd, Drones, Grant
from toy_systems import Counter, CounterState, Gate, Tank

from sixgym.envs.backend.rng import Draws
from sixgym.envs.core import registry
from sixgym.envs.core.conformance import CHECKS, check_id, find, run
from sixgym.envs.core.conformance.subject import Subject, difference
from sixgym.envs.core.errors import UnknownIdError
from sixgym.envs.core.game import Game, Moves
from sixgym.envs.core.system import Step, System

SEES_BUFFERS = tuple(map(int, gym.__version__.split(".")[:2])) >= (1, 4)
"""Whether Gymnasium's own checker notices that an observation is written again."""


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    before = dict(gym.registry)
    yield
    gym.registry.clear()
    gym.registry.update(before)


def subject_of(system: type[System[Any, Any]]) -> Subject:
    id = f"toy/{system.__name__}-v0"
    registry.register(id, system, max_episode_steps=20)
    return Subject(id)


@pytest.mark.parametrize("system", [Counter, Gate, Tank])
def test_a_sound_system_passes(system: type[System[Any, Any]]) -> None:
    subject = subject_of(system)
    quick = [c for c in CHECKS if not c.is_slow and c.name != "gymnasiums_async"]
    verdicts = [run(check, subject) for check in quick]
    assert [(v.check.name, v.message) for v in verdicts if v.passed is False] == []
    assert sum(v.passed is True for v in verdicts) >= 20


class MeanCoupled(Counter):
    """Reduces over the batch."""

    def advance(self, state: CounterState, action: Any, noise: Draws) -> tuple[CounterState, Step]:
        new, step = super().advance(state, action, noise)
        return new._replace(value=new.value - 0.1 * new.value.mean()), step


class GlobalDice(Counter):
    """Draws from torch's global generator."""

    def start(self, noise: Draws) -> CounterState:
        state = super().start(noise)
        return state._replace(value=torch.randn_like(state.value))


class Outside(Counter):
    """Observes beyond its space."""

    def observe(self, state: CounterState) -> Tensor:
        return super().observe(state) * 1.5


class OneBuffer(Counter):
    """Hands out one observation buffer again and again."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._buffer = torch.zeros(64, 2)

    def observe(self, state: CounterState) -> Tensor:
        seen = super().observe(state)
        return self._buffer[: len(seen)].copy_(seen)


class Breaks(Counter):
    """Divides by zero where the action is at its upper corner."""

    def advance(self, state: CounterState, action: Any, noise: Draws) -> tuple[CounterState, Step]:
        new, step = super().advance(state, action, noise)
        return new, step._replace(reward=step.reward / (1.0 - action[:, 0]))


class Forgets(Counter):
    """Keeps something that matters outside its state."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls = 0

    def advance(self, state: CounterState, action: Any, noise: Draws) -> tuple[CounterState, Step]:
        self.calls += 1
        new, step = super().advance(state, action, noise)
        return new, step._replace(reward=step.reward + self.calls)


class Changes(Counter):
    """Writes into the state that it was given."""

    def advance(self, state: CounterState, action: Any, noise: Draws) -> tuple[CounterState, Step]:
        state.value.add_(1.0)
        return super().advance(state, action, noise)


class Unbounded(Counter):
    """Has bounds that no network likes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)


class Silent(Counter):
    """Promises a metric of level 1 and does not compute it."""

    def advance(self, state: CounterState, action: Any, noise: Draws) -> tuple[CounterState, Step]:
        new, step = super().advance(state, action, noise)
        step.metrics.pop("noise", None)
        return new, step


class Coarse(Counter):
    """Loses its digits in float32."""

    def advance(self, state: CounterState, action: Any, noise: Draws) -> tuple[CounterState, Step]:
        new, step = super().advance(state, action, noise)
        return new, step._replace(reward=(step.reward + 1e7) - 1e7)


@pytest.mark.parametrize(
    ("system", "check"),
    [
        (MeanCoupled, "rows_do_not_meet"),
        (MeanCoupled, "row_is_single_environment"),
        (GlobalDice, "same_seed_same_trajectory"),
        (GlobalDice, "gymnasium_check_env"),
        (Outside, "observations_and_infos"),
        (Outside, "corners_stay_finite"),
        pytest.param(
            *(OneBuffer, "gymnasium_check_env"),
            marks=pytest.mark.skipif(not SEES_BUFFERS, reason="Gymnasium from 1.4 on sees buffers"),
        ),
        (OneBuffer, "vector_contract"),
        (Breaks, "corners_stay_finite"),
        (Forgets, "restored_state_continues"),
        (Forgets, "row_is_single_environment"),
        (Changes, "functions_are_pure"),
        (Unbounded, "gymnasium_check_env"),
        (Silent, "observations_and_infos"),
        (Coarse, "double_precision"),
    ],
)
def test_each_fault_is_found(system: type[System[Any, Any]], check: str) -> None:
    verdict = run(find(check), subject_of(system))
    assert verdict.passed is False, f"{check} let {system.__name__} pass"
    assert verdict.message


class Deaf(Grant):
    """Shows followers the grant and does not tell a policy that has no state."""

    def hear(self, seen: Moves, moves: Moves) -> dict[str, Tensor]:
        return dict(seen)


class Gossip(Drones):
    """Lets a policy see what the others do at the same time."""

    def hear(self, seen: Moves, moves: Moves) -> dict[str, Tensor]:
        return {"drone": moves["drone"].to(torch.float32)} if moves else dict(seen)


@pytest.mark.parametrize(
    ("game", "passed"),
    [(Crowd, True), (Grant, True), (Drones, True), (Deaf, False), (Gossip, False)],
)
def test_what_is_heard_of_moves_must_be_what_is_seen_after_them(
    game: type[Game[Any, Any]], passed: bool
) -> None:
    verdict = run(find("hearing_needs_no_state"), subject_of(game))
    assert verdict.passed is passed, verdict.message


def test_who_plays_alone_hears_nobody() -> None:
    verdict = run(find("hearing_needs_no_state"), subject_of(Counter))
    assert verdict.passed is None


def test_check_id_runs_what_is_asked_for() -> None:
    subject = subject_of(Counter)
    verdicts = check_id(subject.id, only=["soak", "pictures"], gain=0.25)
    assert [(v.check.name, v.passed) for v in verdicts] == [("soak", True), ("pictures", None)]
    with pytest.raises(UnknownIdError, match="check='none'"):
        check_id(subject.id, only=["none"])
    with pytest.raises(UnknownIdError, match="not registered"):
        check_id("toy/Nothing-v0")


def test_names_of_checks_are_unique_and_titles_are_sentences() -> None:
    assert len({c.name for c in CHECKS}) == len(CHECKS)
    assert all(len(c.title) > 20 for c in CHECKS)


def test_differences_are_told_by_their_place() -> None:
    assert difference({"a": [1, 2]}, {"a": [1, 2]}) is None
    assert difference({"a": [1, 2]}, {"a": [1, 3]}) is not None
    assert "['a'][1]" in str(difference({"a": [1, 2]}, {"a": [1, 3]}))
    assert difference(1.0, 1.0 + 1e-6, tolerance=1e-4) is None
    assert difference(True, 1.0) is not None
