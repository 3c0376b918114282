"""One rollout for all policies: pairing, sums, memory, masks, times and bad policies."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from toy_systems import Counter, CounterState

from sixgym.envs.backend.rng import Draws
from sixgym.envs.core.errors import OptionsError, PolicyError, SeedError
from sixgym.envs.core.make import make_env, make_vector_env
from sixgym.envs.core.rollout import (
    Episodes,
    Policy,
    concatenate,
    rollout,
    score_value,
    score_values,
)
from sixgym.envs.core.system import Score, Step

SEEDS = list(range(100, 110))


class Push:
    """Pushes by the sign of the observation; stateless."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        return np.sign(observation[:, :1]).astype(np.float32) * 0.25, None


def play(rows: int, policy: Policy | None = None, **kwargs: Any) -> Episodes:
    env = make_vector_env(Counter, rows, max_episode_steps=20, **kwargs)
    return rollout(env, policy or Push(), SEEDS)


def single(seed: int) -> dict[str, float]:
    """The same episode, played in the single environment step by step."""
    env = make_env(Counter)
    observation, _ = env.reset(seed=seed)
    total = {"reward": 0.0, "moved": 0.0, "bias": 0.0, "steps": 0.0}
    for _ in range(20):
        action, _ = Push().predict(observation[None])
        observation, reward, ended, _, info = env.step(action[0])
        total["reward"] += float(reward)
        total["steps"] += 1
        for name in ("moved", "bias"):
            total[name] += float(info[name])
        if ended:
            break
    return total


def test_each_episode_equals_the_single_environment_of_its_seed() -> None:
    episodes = play(4)
    for i, seed in enumerate(SEEDS):
        alone = single(seed)
        assert episodes.length[i] == alone["steps"]
        assert episodes.reward[i] == pytest.approx(alone["reward"], rel=1e-6)
        assert episodes.sums["moved"][i] == pytest.approx(alone["moved"], rel=1e-5, abs=1e-6)
    assert len(set(episodes.length.tolist())) > 1, "episodes of several lengths are the point"


@pytest.mark.parametrize("rows", [1, 3, 10, 64])
def test_the_batch_size_changes_nothing(rows: int) -> None:
    one, other = play(rows), play(4)
    assert one.seeds.tolist() == SEEDS
    assert np.array_equal(one.length, other.length)
    assert np.array_equal(one.reward, other.reward)
    assert all(np.array_equal(one.sums[k], other.sums[k]) for k in one.sums)
    assert np.array_equal(one.terminated, other.terminated)


def test_only_level_0_metrics_are_summed() -> None:
    assert set(play(4, info_level=1).sums) == {"moved", "bias"}


def recorded(rows: int, *names: str, seeds: list[int] = SEEDS) -> Episodes:
    env = make_vector_env(Counter, rows, max_episode_steps=20)
    return rollout(env, Push(), seeds, record=names)


def test_records_hold_each_step_and_nan_beyond_the_end() -> None:
    episodes = recorded(4, "moved")
    record = episodes.records["moved"]
    assert list(episodes.records) == ["moved"]
    assert record.dtype == np.float64
    assert record.shape == (10, episodes.length.max())
    lasts = np.arange(record.shape[1]) < episodes.length[:, None]
    assert np.array_equal(np.isfinite(record), lasts)
    assert np.nansum(record, 1) == pytest.approx(episodes.sums["moved"])


def test_a_record_is_what_the_single_environment_tells() -> None:
    episodes = recorded(4, "moved", "bias")
    env = make_env(Counter)
    observation, _ = env.reset(seed=SEEDS[7])
    for step in range(int(episodes.length[7])):
        observation, *_, info = env.step(Push().predict(observation[None])[0][0])
        for name in ("moved", "bias"):
            assert episodes.records[name][7, step] == pytest.approx(float(info[name]), rel=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_records_do_not_depend_on_the_batch_size(rows: int) -> None:
    one, other = recorded(rows, "bias"), recorded(4, "bias")
    assert np.array_equal(one.records["bias"], other.records["bias"], equal_nan=True)


def test_nothing_is_recorded_unless_asked_for_and_recording_changes_nothing() -> None:
    plain, kept = play(4), recorded(4, "moved", "bias")
    assert plain.records == {}
    assert np.array_equal(plain.reward, kept.reward)
    assert all(np.array_equal(plain.sums[name], kept.sums[name]) for name in plain.sums)


def test_sets_of_episodes_of_different_lengths_join_with_their_records() -> None:
    whole = recorded(4, "moved")
    parts = [recorded(2, "moved", seeds=[seed]) for seed in SEEDS]
    assert len({part.records["moved"].shape[1] for part in parts}) > 1
    joined = concatenate(parts)
    assert np.array_equal(joined.records["moved"], whole.records["moved"], equal_nan=True)
    with pytest.raises(OptionsError, match="the same metrics in all parts"):
        concatenate([parts[0], recorded(2, "bias", seeds=[1])])


def test_only_what_is_summed_can_be_recorded() -> None:
    with pytest.raises(OptionsError, match=r"record: 'noise' is not summed; allowed: moved, bias"):
        recorded(4, "noise")


def test_a_score_is_the_ratio_of_sums_not_the_mean_of_ratios() -> None:
    one = Episodes(
        seeds=np.arange(2),
        reward=np.array([1.0, 2.0]),
        length=np.array([10, 30]),
        terminated=np.zeros(2, dtype=bool),
        sums={"bit": np.array([100.0, 10.0]), "joule": np.array([1.0, 10.0])},
        decision_seconds=np.zeros(1),
        step_seconds=np.zeros(1),
        rows=2,
    )
    # 110 / 11 = 10, while the mean of 100/1 and 10/10 is 50.5
    assert score_value(Score("efficiency", "bit/J", "bit", "joule"), one) == 10.0
    assert score_value(Score("return", "1", "reward"), one) == 1.5
    assert score_value(Score("pace", "1", "reward", "steps"), one) == pytest.approx(3.0 / 40.0)
    assert np.isnan(score_value(Score("none", "1", "bit", "zero"), _with_zero(one)))
    with pytest.raises(OptionsError, match=r"names 'watt'.*allowed: reward, steps, episodes, bit"):
        score_value(Score("x", "1", "watt"), one)


def _with_zero(one: Episodes) -> Episodes:
    sums = {**one.sums, "zero": np.zeros(2)}
    return Episodes(**{**one.__dict__, "sums": sums})


def test_scores_of_the_system_come_by_name() -> None:
    episodes = play(4)
    values = score_values(Counter.scores, episodes)
    assert values["return"] == pytest.approx(episodes.reward.mean())
    assert values["mean_move"] == pytest.approx(
        episodes.sums["moved"].sum() / episodes.length.sum()
    )


class Remembers(Push):
    """Counts its calls since the episode began, as a recurrent policy would."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, Any]] = []

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        count = np.zeros(len(observation)) if state is None else state
        count = np.where(episode_start, 0.0, count) + 1.0
        self.seen.append((count.copy(), episode_start.copy()))
        return np.zeros((len(observation), 1), dtype=np.float32), count


def test_memory_is_handed_back_and_starts_are_told() -> None:
    policy = Remembers()
    episodes = play(5, policy)
    first_count, first_start = policy.seen[0]
    assert first_start.all()
    assert (first_count == 1.0).all()
    # row 0 plays seed 100: its k-th call is the k-th step until it ends, then the next episode
    # has its start one call later (the call in between is the restart's)
    length = int(episodes.length[0])
    assert [count[0] for count, _ in policy.seen[:length]] == list(range(1, length + 1))
    if length < max(episodes.length[:5]):
        assert policy.seen[length][1][0]


class Attached(Push):
    """Sees the model."""

    def attach(self, env: Any) -> None:
        self.env = env

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        value = self.env.rows.state.value
        return torch.sign(value)[:, None].numpy() * 0.25, None


def test_a_policy_with_attach_sees_the_state() -> None:
    assert np.array_equal(play(4, Attached()).reward, play(4).reward)


class Maskable(Counter):
    """Actions 0 to 2, of which the slot's parity forbids one."""

    def __init__(self, params: Any, **kwargs: Any) -> None:
        super().__init__(params, **kwargs)
        self.action_space = spaces.Discrete(3)

    def advance(
        self, state: CounterState, action: Tensor, noise: Draws
    ) -> tuple[CounterState, Step]:
        return super().advance(state, (action[:, None] - 1).to(self.dtype), noise)

    def action_mask(self, state: CounterState) -> Tensor:
        allowed = torch.ones(len(state.slot), 3, dtype=torch.bool)
        allowed[:, 0] = state.slot % 2 == 0
        return allowed


class TakesMasks:
    """Chooses the first allowed action."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
        action_masks: Any = None,
    ) -> tuple[Any, Any]:
        return action_masks.argmax(axis=1), None


def test_masks_reach_a_policy_that_takes_them() -> None:
    env = make_vector_env(Maskable, 2, max_episode_steps=4, end=1000, gain=1.0)
    episodes = rollout(env, TakesMasks(), [1, 2])
    # actions 0, 1, 0, 1 push by -1, 0, -1, 0
    assert episodes.length.tolist() == [4, 4]
    assert episodes.sums["bias"].tolist() == [-2.0, -2.0]


class Says:
    """Returns whatever it was made with."""

    name = "says"

    def __init__(self, action: Any) -> None:
        self.action = action

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        return self.action, None


@pytest.mark.parametrize(
    ("action", "what"),
    [
        (np.full((4, 1), np.nan, dtype=np.float32), "nan"),
        (np.zeros((4, 2), dtype=np.float32), r"shape \(4, 2\); allowed: \(4, 1\)"),
        (np.zeros(4, dtype=np.float32), r"shape \(4,\)"),
        (np.full((4, 1), 3.0, dtype=np.float32), "allowed: -1.0 to 1.0"),
        (np.array([["up"]] * 4), "not numbers"),
        (None, "allowed"),
    ],
)
def test_what_is_not_an_action_is_a_policy_error(action: Any, what: str) -> None:
    with pytest.raises(PolicyError, match=what) as caught:
        play(4, Says(action))
    assert "policy says" in str(caught.value)


def test_what_has_no_predict_is_refused() -> None:
    env = make_vector_env(Counter, 1, max_episode_steps=2)
    with pytest.raises(PolicyError, match="has no method predict"):
        rollout(env, object(), SEEDS)  # type: ignore[arg-type]


def test_no_seeds_and_another_autoreset_are_refused() -> None:
    env = make_vector_env(Counter, 1, max_episode_steps=2)
    with pytest.raises(SeedError, match="at least one"):
        rollout(env, Push(), [])
    same_step = make_vector_env(Counter, 1, max_episode_steps=2, autoreset_mode="SameStep")
    with pytest.raises(OptionsError, match="allowed for a rollout: 'NextStep'"):
        rollout(same_step, Push(), SEEDS)


def test_progress_counts_episodes_and_times_are_kept() -> None:
    told: list[tuple[int, int]] = []
    env = make_vector_env(Counter, 4, max_episode_steps=20)
    episodes = rollout(env, Push(), SEEDS, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (10, 10)
    assert all(a <= b for (a, _), (b, _) in pairwise(told))
    assert len(episodes.decision_seconds) == len(episodes.step_seconds) == len(told)
    assert (episodes.step_seconds > 0).all()
    assert episodes.rows == 4


def test_an_sb3_model_is_a_policy_as_it_is() -> None:
    ppo = pytest.importorskip("stable_baselines3").PPO
    from stable_baselines3.common.env_util import make_vec_env

    venv = make_vec_env(lambda: make_env(Counter), n_envs=1)
    model = ppo("MlpPolicy", venv, n_steps=8, batch_size=8, device="cpu", seed=0)
    assert isinstance(model, Policy)
    episodes = play(4, model)
    again = play(10, model)
    assert np.array_equal(episodes.length, again.length)
    assert np.allclose(episodes.reward, again.reward, rtol=1e-5, atol=1e-5)


def test_a_recurrent_sb3_model_keeps_its_memory() -> None:
    contrib = pytest.importorskip("sb3_contrib")
    from stable_baselines3.common.env_util import make_vec_env

    venv = make_vec_env(lambda: make_env(Counter), n_envs=1)
    model = contrib.RecurrentPPO(
        "MlpLstmPolicy", venv, n_steps=8, batch_size=8, device="cpu", seed=0
    )
    episodes, again = play(4, model), play(10, model)
    assert np.allclose(episodes.reward, again.reward, rtol=1e-4, atol=1e-4)
