"""An exported policy is data, and acts as the model that it came from."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from agent_cases import CONTINUOUS, DISCRETE, small
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy

from sixgym.agents import export_policy, load_policy, save_policy
from sixgym.agents.policies import Architecture, NeuralPolicy, describe
from sixgym.agents.train import make_env, make_model, train
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.rollout import rollout
from sixgym.envs.core.sb3_view import make_vec_env
from sixgym.envs.core.worlds import row_seed

CASES = [(a, "toy/Gate-v0") for a in DISCRETE] + [(a, "toy/Counter-v0") for a in CONTINUOUS]
MULTI = {"policy": "MultiInputPolicy", "env": "toy/Basin-v0"}


def trained(algorithm: str, *, normalized: bool = False, **changes: Any) -> Any:
    config = small(algorithm, normalize={"observation": normalized}, **changes)
    model = make_model(config, 0, make_env(config))
    return model.learn(96)


def same_actions(model: Any, policy: NeuralPolicy, steps: int = 12) -> None:
    """Step the model's own rows and compare, memory and masks included."""
    env = model.get_env()
    normalizer = model.get_vec_normalize_env()
    if normalizer is not None:
        normalizer.training = False
    observation = env.reset()
    memories: list[Any] = [None, None]
    start = np.ones(env.num_envs, dtype=bool)
    masked = policy.architecture.masked
    for _ in range(steps):
        extra = {"action_masks": np.stack(env.env_method("action_masks"))} if masked else {}
        theirs, memories[0] = model.predict(observation, memories[0], start, True, **extra)
        raw = observation if normalizer is None else normalizer.get_original_obs()
        ours, memories[1] = policy.predict(raw, memories[1], start, True, **extra)
        assert np.array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
        observation, _, start, _ = env.step(ours)


@pytest.mark.parametrize(("algorithm", "env"), CASES)
@pytest.mark.parametrize("normalized", [False, True])
def test_written_and_read_policy_acts_as_the_model(
    algorithm: str, env: str, normalized: bool, tmp_path: Path
) -> None:
    model = trained(algorithm, normalized=normalized, env=env)
    path = save_policy(export_policy(model), tmp_path / "policy", env=env)
    policy = load_policy(path)
    assert policy.architecture.masked == (algorithm == "maskableppo")
    assert policy.architecture.recurrence is None or algorithm == "recurrentppo"
    same_actions(model, policy)


@pytest.mark.parametrize("algorithm", ["ppo", "a2c", "maskableppo"])
def test_written_and_read_policy_sets_switches_as_the_model(algorithm: str, tmp_path: Path) -> None:
    id = "sixgym/NetGptBatch-v0"
    model = trained(algorithm, env=id, policy="MultiInputPolicy")
    path = save_policy(export_policy(model), tmp_path / "policy", env=id)
    policy = load_policy(path)
    assert isinstance(policy, NeuralPolicy)
    assert policy.action_space == spaces.MultiBinary(32)
    same_actions(model, policy)
    seen = {
        k: np.repeat(v[None], 500, axis=0) for k, v in policy.observation_space.sample().items()
    }
    best, _ = policy.predict(seen)
    drawn, _ = policy.predict(seen, deterministic=False)
    assert np.array_equal(best, np.repeat(best[:1], 500, axis=0))
    # Nearly untrained switches are nearly fair coins, each thrown for itself.
    assert np.all(np.abs(drawn.mean(axis=0) - 0.5) < 0.25)
    assert len(np.unique(drawn, axis=0)) > 400


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("algorithm", ["ppo", "a2c", "maskableppo"])
def test_dict_observations_and_several_choices(
    algorithm: str, normalized: bool, tmp_path: Path
) -> None:
    kwargs = {"valve": "share" if normalized else "count"}
    model = trained(algorithm, normalized=normalized, env_kwargs=kwargs, **MULTI)
    path = save_policy(export_policy(model), tmp_path / "p", env="toy/Basin-v0", env_kwargs=kwargs)
    same_actions(model, load_policy(path))


def test_shared_features_extractor_is_written_once(tmp_path: Path) -> None:
    """A recurrent policy whose value function shares the LSTM: aliases are no obstacle."""
    hyper = {
        "n_steps": 8,
        "batch_size": 16,
        "n_epochs": 1,
        "policy_kwargs": {"lstm_hidden_size": 4, "shared_lstm": True, "enable_critic_lstm": False},
    }
    model = trained("recurrentppo", hyperparameters=hyper)
    path = save_policy(export_policy(model), tmp_path / "shared", env="toy/Gate-v0")
    same_actions(model, load_policy(path))


@pytest.mark.parametrize("algorithm", ["ppo", "maskableppo", "recurrentppo", "sac"])
def test_rollout_of_the_policy_is_sb3s_own_evaluation_of_the_model(algorithm: str) -> None:
    model = trained(algorithm)
    id = small(algorithm).env
    seeds = row_seed("validation", 0) + np.arange(5)
    ours = rollout(gym.make_vec(id, num_envs=5), export_policy(model), seeds)  # type: ignore[arg-type]
    env = make_vec_env(id, 5, seed=0, world="validation")
    if algorithm == "maskableppo":
        from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate
    else:
        evaluate = evaluate_policy
    returns, lengths = evaluate(model, env, n_eval_episodes=5, return_episode_rewards=True)
    assert sorted(ours.reward) == pytest.approx(sorted(returns), abs=1e-6)
    assert sorted(ours.length) == sorted(lengths)


def test_single_observation_gives_a_single_action() -> None:
    policy = export_policy(trained("sac"))
    action, state = policy.predict(np.zeros(2, dtype=np.float32))
    assert action.shape == (1,)
    assert state is None
    batch, _ = policy.predict(np.zeros((3, 2), dtype=np.float32))
    assert np.array_equal(batch, np.stack([action] * 3))


def test_samples_follow_the_distribution_and_the_seed() -> None:
    discrete = NeuralPolicy(
        Architecture(hidden=[], activation="tanh", head="distribution"),
        spaces.Box(-1.0, 1.0, (2,), np.float32),
        spaces.Discrete(3),
    )
    logits = torch.log(torch.tensor([0.2, 0.5, 0.3]))
    discrete.load_state_dict({"head.weight": torch.zeros(3, 2), "head.bias": logits})
    rows = np.zeros((20_000, 2), dtype=np.float32)
    discrete.seed(4)
    first, _ = discrete.predict(rows, deterministic=False)
    share = np.bincount(first, minlength=3) / len(first)
    assert share == pytest.approx([0.2, 0.5, 0.3], abs=0.012)  # 3.4 standard errors
    discrete.seed(4)
    assert np.array_equal(discrete.predict(rows, deterministic=False)[0], first)

    gaussian = NeuralPolicy(
        Architecture(hidden=[], activation="tanh", head="distribution"),
        spaces.Box(-1.0, 1.0, (2,), np.float32),
        spaces.Box(-9.0, 9.0, (1,), np.float32),
    )
    mean, log_std = torch.tensor([1.0]), torch.tensor([-0.5])
    gaussian.load_state_dict(
        {"head.weight": torch.zeros(1, 2), "head.bias": mean, "log_std": log_std}
    )
    sample = gaussian.predict(rows, deterministic=False)[0]
    assert sample.mean() == pytest.approx(1.0, abs=0.015)
    assert sample.std() == pytest.approx(np.exp(-0.5), rel=0.02)


def test_masked_choices_are_never_taken() -> None:
    policy = export_policy(trained("maskableppo"))
    masks = np.zeros((500, 4), dtype=bool)
    masks[:, 2] = masks[:, 0] = True
    observation = np.eye(4, dtype=np.float32)[np.arange(500) % 4]
    for deterministic in (True, False):
        actions, _ = policy.predict(observation, deterministic=deterministic, action_masks=masks)
        assert set(actions) <= {0, 2}


def test_card_says_where_the_policy_comes_from(tmp_path: Path) -> None:
    (result,) = train(small("ppo", seeds=[7]), output=tmp_path)
    policy = load_policy(result.folder)  # a run's folder stands for its best policy
    assert policy.card is not None
    about: dict[str, Any] = dict(policy.card.about)
    assert policy.name == "small/7"
    assert about["seed"] == 7
    assert about["algorithm"] == "ppo"
    assert about["validation"] == result.best
    assert about["config"]["hyperparameters"]["n_epochs"] == 2
    assert about["versions"]["torch"] == metadata.version("torch")


def test_policy_is_read_without_the_library_that_trained_it(tmp_path: Path) -> None:
    policy = NeuralPolicy(
        Architecture(hidden=[4], activation="relu", head="q"),
        spaces.Box(-1.0, 1.0, (2,), np.float32),
        spaces.Discrete(3),
    )
    path = save_policy(policy, tmp_path / "p", env="none/Needed-v0")
    code = (
        "import sys, numpy as np\n"
        "from gymnasium import spaces\n"
        "from sixgym.agents import load_policy\n"
        "o = spaces.Box(-1.0, 1.0, (2,), np.float32)\n"
        f"p = load_policy({str(path)!r}, observation_space=o, action_space=spaces.Discrete(3))\n"
        "print(p.predict(np.zeros((2, 2), np.float32))[0].shape)\n"
        "assert not {'stable_baselines3', 'sb3_contrib'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(2,)\n"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return save_policy(export_policy(trained("ppo")), tmp_path / "p", env="toy/Gate-v0")


def test_truncated_weights_are_refused(written: Path) -> None:
    written.write_bytes(written.read_bytes()[:-20])
    with pytest.raises(PolicyError, match=r"p\.safetensors: \d+ bytes, truncated or altered"):
        load_policy(written)


def edit(card: Path, **changes: Any) -> None:
    content = json.loads(card.read_text())
    for key, value in changes.items():
        if isinstance(value, dict):
            content[key] = {**content[key], **value}
        else:
            content[key] = value
    card.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": "toy/Gat-v0"}, "environment cannot be made: id='toy/Gat-v0': not registered"),
        ({"env_kwargs": {"doors": 5}}, "observation space .*has .*5"),
        ({"architecture": {"hidden": [8, 7]}}, r"hidden.2.weight is \(6, 8\)"),
        ({"architecture": {"hidden": [8]}}, "missing or unknown tensors: hidden.2.bias"),
        ({"architecture": {"hidden": ["8"]}}, "not a policy card: architecture.hidden.0"),
        ({"architecture": {"activation": "os.system"}}, "not a policy card: architecture.activ"),
        ({"architecture": {"hidden": [8, -6]}}, "not a policy card: architecture.hidden.1"),
        ({"extra": 1}, "not a policy card: extra"),
        ({"format": "sixgym policy 99"}, "not a policy card: format"),
    ],
)
def test_card_that_does_not_fit_is_refused(
    changes: dict[str, Any], message: str, written: Path
) -> None:
    edit(written.with_suffix(".json"), **changes)
    with pytest.raises(PolicyError, match=message) as caught:
        load_policy(written)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    policy = export_policy(trained("ppo"))
    policy.head.bias[1] = float("nan")
    path = save_policy(policy, tmp_path / "p", env="toy/Gate-v0")
    with pytest.raises(PolicyError, match=r"head\.bias is not finite"):
        load_policy(path)


def test_missing_or_unreadable_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"nothing\.json: no such policy"):
        load_policy(tmp_path / "nothing")
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PolicyError, match=r"bad\.json: not a policy card"):
        load_policy(tmp_path / "bad.safetensors")


def test_other_networks_are_refused() -> None:
    model = trained("ppo")
    model.policy.mlp_extractor.policy_net.append(torch.nn.Dropout())
    with pytest.raises(PolicyError, match="layers Dropout, Tanh: allowed: Linear and one of"):
        export_policy(model)


def test_unknown_space_is_refused() -> None:
    with pytest.raises(PolicyError, match="allowed: Box, Discrete"):
        describe(spaces.Text(3))
