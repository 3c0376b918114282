"""Our configurations in rl-baselines3-zoo's files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from agent_cases import small

from sixgym.agents.config import TrainConfig
from sixgym.agents.rl_zoo import rl_zoo_entry, rl_zoo_yaml
from sixgym.envs.core.errors import ConfigError


def test_keys_are_theirs_and_values_ours() -> None:
    config = TrainConfig.load("event_offload/sac")
    entry = rl_zoo_entry(config)
    assert entry["n_envs"] == config.num_envs
    assert entry["n_timesteps"] == config.total_steps
    assert entry["normalize"]["norm_obs"] is True
    assert entry["env_kwargs"] == {"observation": "channel", "expected": True}
    for key in ("learning_rate", "gamma", "batch_size", "ent_coef", "target_entropy"):
        assert entry[key] == config.chosen[key]


def test_network_is_text_that_they_evaluate() -> None:
    config = TrainConfig.load("event_offload/ppo")
    assert rl_zoo_entry(config)["policy_kwargs"] == "dict(net_arch=[64, 64], activation_fn=nn.Tanh)"


def test_a_schedule_that_they_lack_becomes_its_mean_and_a_comment() -> None:
    text = rl_zoo_yaml([TrainConfig.load("event_offload/ppo")])
    assert "# ent_coef: 0.3 to 0.002; rl-zoo3 has no such schedule: the mean" in text
    assert yaml.safe_load(text)["sixgym/EventOffload-v0"]["ent_coef"] == pytest.approx(0.151)


@pytest.mark.parametrize(
    "name", ["twin_mobility/mappo", "event_offload/multi_ppo", "netgpt/ppo_learning"]
)
def test_what_they_have_nothing_like_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="rl-zoo3 has nothing like it"):
        rl_zoo_entry(TrainConfig.load(name))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["netgpt/ppo", "netgpt/ppo_myopic"], "each once"),
        (["netgpt/dqn", "ris_noma/ppo"], "one for all"),
    ],
)
def test_a_file_of_theirs_has_one_algorithm_and_each_environment_once(
    names: list[str], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        rl_zoo_yaml([TrainConfig.load(name) for name in names])


@pytest.mark.parametrize("preset", [None, "default"])
def test_a_preset_is_an_argument_of_the_environment(preset: str | None) -> None:
    changes: dict[str, Any] = {"preset": preset}
    entry = rl_zoo_entry(small("ppo", **changes))
    assert entry.get("env_kwargs", {}) == ({} if preset is None else {"preset": preset})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "theirs", "changes"),
    [
        ("netgpt/sac", "sac", ["hyperparameters.learning_starts=100"]),
        ("event_offload/exit_ppo_unmasked", "ppo", ["hyperparameters.batch_size=128"]),
    ],
)
def test_rl_zoo3_trains_a_converted_configuration(
    name: str, theirs: str, changes: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("rl_zoo3", reason="rl-zoo3 is not installed")
    config = TrainConfig.load(name, ["num_envs=8", *changes])
    file = tmp_path / "config.yml"
    file.write_text(rl_zoo_yaml([config]), encoding="utf-8")
    command = [sys.executable, "-m", "rl_zoo3.train", "--algo", theirs, "--env", config.env]
    command += ["--gym-packages", "sixgym", "-conf", str(file), "-n", "300", "--eval-freq", "-1"]
    command += ["-f", str(tmp_path / "logs"), "--device", "cpu", "--seed", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "logs").rglob("*.zip"))
