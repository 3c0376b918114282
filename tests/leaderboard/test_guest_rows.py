"""Environments by others in the benchmark: what is scored is what a plain loop over them earns."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))

import guests
import pettingzoo
from gymnasium import spaces
from pettingzoo.env_registry import registration

from sixgym.envs.core import guest_rows
from sixgym.envs.core.errors import OptionsError, PolicyError, UnknownIdError
from sixgym.envs.core.registry import entry
from sixgym.leaderboard.runner import benchmark, evaluate, task_of

CARTPOLE = "CartPole-v1"


class Masked(guests.Walk):
    """One of three doors, one of them shut; a shut one costs a hundred."""

    def __init__(self, price: float = 100.0) -> None:
        super().__init__()
        self.action_space = spaces.Discrete(3, start=1)
        self.price = price

    def action_masks(self) -> np.ndarray:
        return np.array([True, self.at[0] > 0.0, self.at[0] <= 0.0])

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        assert isinstance(action, int)
        shut = not self.action_masks()[action - 1]
        return *super().step([0.0])[:1], -self.price * shut, False, False, {}


class Endless(guests.Walk):
    """Never ends."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, *_ = super().step(action)
        return observation, reward, False, False, {}


class SmallSeeds(guests.Walk):
    """Takes seeds of 32 bits, as the arcade's do."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None and seed >= 2**32:
            raise ValueError("seed must be below 2**32")
        return super().reset(seed=seed)


with contextlib.suppress(ImportError):
    import mo_gymnasium  # noqa: F401  (registers once a process: before a registry is restored)


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    before, games = dict(gym.registry), dict(registration.parallel_registry)
    gym.register("guest/Walk-v0", guests.Walk, max_episode_steps=30)
    gym.register("guest/Masked-v0", Masked, max_episode_steps=5)
    gym.register("guest/Endless-v0", Endless)
    gym.register("guest/SmallSeeds-v0", SmallSeeds, max_episode_steps=3)
    registration.register("parallel", "guest/Pair-v0", guests.Pair)
    yield
    gym.registry.clear()
    gym.registry.update(before)
    registration.parallel_registry.clear()
    registration.parallel_registry.update(games)


def test_a_constant_policy_earns_what_a_plain_loop_earns() -> None:
    (run,) = evaluate(CARTPOLE, "constant", episodes=5, rows=2, seed=3).runs
    env = gym.make(CARTPOLE)
    for i in range(5):
        env.reset(seed=3 + i)
        paid, ended = [], False
        while not ended:
            _, reward, terminated, truncated, _ = env.step(0)
            paid.append(reward)
            ended = terminated or truncated
        assert run.reward[i] == sum(paid)
        assert run.length[i] == len(paid)


def test_rows_side_by_side_change_nothing() -> None:
    alone, together = (evaluate("guest/Walk-v0", episodes=6, rows=rows) for rows in (1, 6))
    assert alone.runs[0].reward == together.runs[0].reward
    assert alone.runs[0].length == together.runs[0].length


def test_a_benchmark_stores_rows_and_resumes(tmp_path: Path) -> None:
    first = benchmark(CARTPOLE, tmp_path, episodes=3, quiet=True)
    assert {row.policy.name for row in first} == {"random", "constant"}
    assert [score.name for score in first[0].task.scores] == ["return"]
    assert first[0].task.horizon == 500
    again = benchmark(CARTPOLE, tmp_path, episodes=3, quiet=True, resume=True)
    assert [row.runs[0].timing for row in again] == [row.runs[0].timing for row in first]


def test_anything_with_predict_can_play(tmp_path: Path) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    model = sb3.PPO("MlpPolicy", CARTPOLE, n_steps=32, batch_size=32, seed=0, device="cpu")
    model.learn(32)
    result = evaluate(CARTPOLE, model, episodes=3)
    assert result.policy.name == "PPO"
    assert min(result.runs[0].reward) >= 8.0


def test_arguments_and_versions_make_another_task() -> None:
    plain, dear = (
        task_of("guest/Masked-v0", episodes=2, params=params) for params in ({}, {"price": 3.0})
    )
    assert plain.params_hash != dear.params_hash
    assert plain.params_hash == task_of("guest/Masked-v0", episodes=2).params_hash
    assert task_of("guest/Masked-v0", params={"max_episode_steps": 2}).horizon == 2


def test_masks_and_starts_of_discrete_actions_are_kept() -> None:
    (run,) = evaluate("guest/Masked-v0", "random", episodes=8).runs
    assert run.reward == [0.0] * 8
    (shut,) = evaluate("guest/Masked-v0", _Always(2), episodes=8).runs
    assert min(shut.reward) < 0.0


class _Always:
    def __init__(self, action: Any) -> None:
        self.action = action

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:  # fmt: skip
        return np.full(len(observation), self.action), None


@pytest.mark.parametrize("action", [0, 4, 0.5])
def test_an_action_outside_the_space_is_the_policys_fault(action: Any) -> None:
    with pytest.raises(PolicyError, match="actions"):
        evaluate("guest/Masked-v0", _Always(action), episodes=2)


def test_a_game_is_played_as_one_controllers(tmp_path: Path) -> None:
    """Everybody moves alike, so each of two agents earns 1 in each of 12 steps."""
    result = evaluate("guest/Pair-v0", "constant", episodes=3)
    assert result.task.scores[0].name == "joint_return"
    assert result.runs[0].reward == [24.0] * 3
    assert result.runs[0].length == [12] * 3
    assert evaluate("guest/Pair-v0", episodes=2, max_episode_steps=4).runs[0].length == [4, 4]
    assert pettingzoo.make("parallel", "guest/Pair-v0").possible_agents == ["left", "right"]


def test_tuples_of_observations_reach_the_policy_by_place() -> None:
    result = evaluate("Blackjack-v1", "random", episodes=5)
    assert set(result.runs[0].reward) <= {-1.0, 0.0, 1.0}


def test_mo_gymnasium_plays_once_its_reward_is_weighed() -> None:
    mo = pytest.importorskip("mo_gymnasium")
    with pytest.raises(OptionsError, match="reward of 2 parts"):
        evaluate("fishwood-v0", "constant", episodes=1)

    def weighed() -> Any:
        return mo.wrappers.LinearReward(mo.make("fishwood-v0"), np.array([0.25, 0.75]))

    gym.register("guest/FishWood-v0", weighed)
    (run,) = evaluate("guest/FishWood-v0", "random", episodes=2).runs
    assert all(value % 0.25 == 0.0 for value in run.reward)
    assert max(run.reward) > 0.0


def test_what_cannot_be_played_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_rows, "NO_END", 50)
    with pytest.raises(OptionsError, match="no end within 50 steps"):
        evaluate("guest/Endless-v0", episodes=1)
    assert evaluate("guest/Endless-v0", episodes=1, max_episode_steps=7).runs[0].length == [7]
    with pytest.raises(OptionsError, match="below 2"):
        evaluate("guest/SmallSeeds-v0", episodes=1)
    assert evaluate("guest/SmallSeeds-v0", episodes=1, seed=0).runs[0].length == [3]
    with pytest.raises(OptionsError, match="unexpected keyword"):
        evaluate("guest/Walk-v0", episodes=1, colour="red")
    with pytest.raises(UnknownIdError, match="no system"):
        entry("guest/Walk-v0").load_system()
    with pytest.raises(UnknownIdError, match="not registered"):
        entry("guest/Wolk-v0")
