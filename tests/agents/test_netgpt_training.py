"""NetGPT's configurations train and play at a small size; its threshold networks learn the rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sixgym.agents import TrainConfig, load_policy
from sixgym.agents.config import shipped
from sixgym.agents.netgpt import __main__ as command
from sixgym.agents.netgpt.policy_net import HIDDEN, RECIPES, Recipe, collect, loss_of, train
from sixgym.agents.policies import save_policy
from sixgym.agents.train import check, make_env, make_model
from sixgym.agents.train import train as train_config
from sixgym.envs.core.errors import ConfigError, PolicyError
from sixgym.leaderboard import evaluate
from sixgym.leaderboard.stats import paired_ratio

ID = "sixgym/NetGptThreshold-v0"
TUNED = [
    name for name in shipped() if name.startswith("netgpt/") and not TrainConfig.load(name).untuned
]
"""The others are trained by the smoke test of all configurations."""


def tiny(name: str) -> TrainConfig:
    """A shipped configuration with few rows, steps and episodes, from fresh weights."""
    plain = TrainConfig.load(name).plain()
    small = {"n_steps": 8, "batch_size": 16}
    if "buffer_size" in plain["hyperparameters"]:
        small = {"learning_starts": 24, "batch_size": 16, "buffer_size": 300}
    plain |= {"num_envs": 4, "total_steps": 64, "seeds": [1], "start": None}
    plain["hyperparameters"] |= small
    plain["evaluation"] |= {"every": 0, "episodes": 2, "baselines": []}
    plain["checkpoint"] = {"every": 0}
    plain["env_kwargs"] |= {"max_episode_steps": 5}
    return TrainConfig.create(plain)


@pytest.mark.parametrize("name", TUNED)
def test_shipped_configuration_trains_and_its_policy_plays(name: str, tmp_path: Path) -> None:
    check(TrainConfig.load(name))
    config = tiny(name)
    (run,) = train_config(config, output=tmp_path)
    result = evaluate(config.env, str(run.policy), episodes=3, max_episode_steps=5)
    assert result.policy.kind == "learned"


def test_a_training_begins_with_the_acting_weights_it_is_given(tmp_path: Path) -> None:
    config = tiny("netgpt/ppo_myopic")
    (run,) = train_config(config, output=tmp_path)
    again = TrainConfig.create(config.plain() | {"start": str(run.policy)})
    env = make_env(again)
    model = make_model(again, 7, env)
    given = load_policy(run.policy)
    seen = env.observation_space.sample()
    assert np.allclose(model.predict(seen, deterministic=True)[0], given.predict(seen)[0])
    other = TrainConfig.create(
        again.plain() | {"hyperparameters": {**again.chosen, "policy_kwargs": {"net_arch": [8]}}}
    )
    with pytest.raises(PolicyError, match=r"start=.*: layers .*; allowed: \[\(8, 16\), \(1, 8\)\]"):
        make_model(other, 7, env)
    env.close()


def test_only_policies_that_fit_can_be_begun_with() -> None:
    with pytest.raises(ConfigError, match=r"start='netgpt/ppo': allowed with ppo, a2c"):
        TrainConfig.load("netgpt/sac", ["start=netgpt/ppo"])


@pytest.fixture(scope="module")
def slots():
    return collect(Recipe(rows=32, steps=40), 3)


@pytest.mark.parametrize("way", ["soft", "imitate"])
def test_a_network_comes_near_the_exact_threshold(way: str, slots) -> None:
    """On the world of validation its utility is within half a percent of the solver's."""
    policy = train(Recipe(way=way, updates=400, learning_rate=3e-3), 0, slots)
    tau, _ = policy.predict(slots.seen.numpy())
    assert np.abs(tau[:, 0] - slots.target.numpy()).mean() < 0.06
    learned = evaluate(ID, policy, episodes=8)
    exact = evaluate(ID, "exact", episodes=8)
    assert paired_ratio(learned.sample(), exact.sample()).value > 0.99


def test_a_monotone_network_keeps_the_signs_of_the_theorem_at_any_weights(slots) -> None:
    """Bandwidth up: threshold not down; RTT, multiplier and price up: not up [paper; derived]."""
    policy = train(Recipe(is_monotone=True, updates=5), 1, slots)
    seen = slots.seen[:64].numpy()
    base, _ = policy.predict(seen)
    for row, sign in ((0, 1), (1, -1), (2, -1), (3, -1)):
        more = seen.copy()
        more[:, row] += 0.5
        moved, _ = policy.predict(more)
        assert (sign * (moved - base) >= -1e-7).all()
        assert (sign * (moved - base) > 0).any()


def test_the_soft_threshold_weighs_both_sides_by_how_far_the_score_is(slots) -> None:
    """By hand for one slot: two requests, one far below and one far above."""
    one = slots._replace(
        seen=slots.seen[:1],
        score=torch.tensor([[0.1, 0.9, 2.0]]),
        keep=torch.tensor([[0.2, 0.8, 0.0]]),
        offload=torch.tensor([[0.6, 0.5, 0.0]]),
        target=slots.target[:1],
    )
    loss = loss_of(Recipe(), torch.tensor([0.5]), one, 1.0)
    assert float(loss) == pytest.approx(-(0.6 + 0.8) / 2, abs=1e-6)
    soft = loss_of(Recipe(), torch.tensor([0.1]), one, 0.0)
    away = 1 / (1 + np.exp(0.8 / 0.1))
    want = -(0.5 * 0.2 + 0.5 * 0.6 + (1 - away) * 0.8 + away * 0.5) / 2
    assert float(soft) == pytest.approx(want, abs=1e-6)


def test_networks_are_plain_policies_that_save_and_load(tmp_path: Path, slots) -> None:
    policy = train(Recipe(updates=3), 2, slots)
    assert policy.architecture.hidden == list(HIDDEN)
    save_policy(policy, tmp_path / "net", env=ID)
    seen = slots.seen[:5].numpy()
    assert np.array_equal(load_policy(tmp_path / "net").predict(seen)[0], policy.predict(seen)[0])
    assert set(RECIPES) == {
        "policy_net",
        "policy_net_imitates",
        "policy_net_monotone",
        "policy_net_learning",
    }


LEARNS = RECIPES["policy_net_learning"]._replace(rows=4, steps=30, updates=3)


def test_ppo_goes_on_with_a_network_of_the_learning_edge(tmp_path: Path) -> None:
    policy = train(LEARNS, 0)
    save_policy(policy, tmp_path / "net", env=ID, env_kwargs={"preset": "learning"})
    config = tiny("netgpt/ppo_learning")
    again = TrainConfig.create(config.plain() | {"start": str(tmp_path / "net.json")})
    env = make_env(again)
    model = make_model(again, 7, env)
    seen = env.reset()
    assert np.allclose(model.predict(seen, deterministic=True)[0], policy.predict(seen)[0])
    assert np.allclose(policy.predict(seen, deterministic=False)[0], policy.predict(seen)[0])
    env.close()


def test_the_command_saves_networks_that_play_with_cards(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(command, "RECIPES", {"policy_net_learning": LEARNS})
    monkeypatch.setattr(
        "sys.argv", ["x", "policy_net_learning", "--seeds", "3", "--out", f"{tmp_path}"]
    )
    command.main()
    result = evaluate(ID, str(tmp_path), episodes=2, preset="learning", max_episode_steps=5)
    assert result.policy.name == "policy_net_learning"
    assert result.runs[0].training_seed == 3


def test_slots_of_a_learning_edge_are_of_edges_that_have_come_to_different_points() -> None:
    """A row of a higher threshold has collected more answers (row 13 of what is seen)."""
    found = collect(LEARNS._replace(played=(0.1, 0.9)), 0)
    collected = found.seen[-4:, 13]
    assert (np.diff(collected) > 0).all()
