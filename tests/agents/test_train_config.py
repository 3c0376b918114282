"""Configurations are plain data, and every mistake is one line that says what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent_cases import SMALL, small

from sixgym.agents.algorithms import ALGORITHMS, CLONING, linear
from sixgym.agents.config import TrainConfig, find, override, parse, shipped
from sixgym.agents.train import check, make_env, make_model
from sixgym.envs.core.errors import ConfigError, ParamsError, UnknownIdError

VALID: dict[str, Any] = {
    "name": "a",
    "env": "toy/Gate-v0",
    "algorithm": "ppo",
    "total_steps": 100,
    "hyperparameters": {"n_steps": 8, "learning_rate": 3e-4},
}


def test_what_is_left_out_is_the_librarys_default() -> None:
    config = TrainConfig.create(VALID)
    assert config.chosen == {"n_steps": 8, "learning_rate": 3e-4}
    assert config.policy == "MlpPolicy"
    assert config.seeds == [0]


def test_plain_content_gives_the_configuration_again() -> None:
    config = small("sac", seeds=[1, 2], normalize={"observation": True})
    assert TrainConfig.create(config.plain()) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_env": 3}, "num_env=3: no such field; did you mean num_envs"),
        ({"n_envs": 3}, "n_envs=3: no such field; did you mean num_envs?"),
        ({"n_timesteps": 9}, "n_timesteps=9: no such field; did you mean total_steps?"),
        ({"num_envs": 0}, "num_envs=0: allowed: greater than or equal to 1"),
        ({"num_envs": "8"}, "num_envs='8': allowed: integer"),
        ({"num_envs": True}, "num_envs=True: allowed: integer"),
        ({"total_steps": None}, "total_steps=None: allowed: integer"),
        ({"algorithm": "poo"}, "algorithm='poo': did you mean ppo"),
        ({"algorithm": 3}, "algorithm=3: allowed: ppo, a2c, dqn"),
        ({"policy": "CnnPolicy"}, "policy='CnnPolicy': did you mean MlpPolicy"),
        ({"seeds": []}, "seeds=[]: allowed: "),
        ({"seeds": [1, 1]}, "seeds=[1, 1]: allowed: each seed once"),
        ({"seeds": [-1]}, "seeds.0=-1: allowed: "),
        ({"seeds": [2**18]}, f"seeds.0={2**18}: allowed: "),
        ({"name": "../x"}, "name='../x': allowed: "),
        ({"evaluation": {"ever": 3}}, "evaluation.ever=3: no such field; did you mean every?"),
        ({"evaluation": 3}, "evaluation=3: allowed: "),
        ({"normalize": {"clip_reward": 0.0}}, "normalize.clip_reward=0.0: allowed: greater than 0"),
        ({"env_kwargs": {"a": object()}}, "env_kwargs.a"),
    ],
)
def test_wrong_field_is_named_with_what_is_allowed(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.create({**VALID, **change})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"learning_rat": 1.0},
            "hyperparameters.learning_rat=1.0: no such field; did you mean lea",
        ),
        ({"learning_rate": "lin"}, "learning_rate='lin': allowed: a positive number, lin_<number>"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0: allowed: a positive number"),
        ({"learning_rate": True}, "learning_rate=True: allowed: a positive number"),
        ({"gamma": 1.5}, "hyperparameters.gamma=1.5: allowed: less than or equal to 1"),
        ({"gamma": float("nan")}, "hyperparameters.gamma=nan: allowed: "),
        ({"ent_coef": [1.0]}, "ent_coef=[1.0]: allowed: a number >= 0 or [first, last]"),
        ({"buffer_size": 9}, "hyperparameters.buffer_size=9: no such field"),
        ({"use_sde": True}, "hyperparameters.use_sde=True: no such field"),
        ({"policy_kwargs": "dict(net_arch=[3])"}, "hyperparameters.policy_kwargs='dict("),
        (
            {"policy_kwargs": {"activation_fn": "nn.Tanh"}},
            "policy_kwargs.activation_fn='nn.Tanh': allowed: 'tanh', 'relu'",
        ),
        (
            {"policy_kwargs": {"net_arch": [0]}},
            "policy_kwargs.net_arch=[0]: allowed: a list of layer sizes such as [64, 64] or {pi:",
        ),
        (
            {"policy_kwargs": {"features_extractor_class": "os.system"}},
            "policy_kwargs.features_extractor_class='os.system': no such field",
        ),
        ({"batch_size": 2048}, "batch_size=2048: allowed: at most n_steps x num_envs = 512"),
    ],
)
def test_wrong_hyperparameter_is_named(change: dict[str, Any], message: str) -> None:
    hyper = {**VALID["hyperparameters"], **change}
    with pytest.raises(ConfigError) as caught:
        TrainConfig.create({**VALID, "hyperparameters": hyper})
    assert message in str(caught.value)


def test_missing_fields_are_all_named() -> None:
    with pytest.raises(ConfigError, match=r"name: missing; env: missing; algorithm: missing"):
        TrainConfig.create({})


@pytest.mark.parametrize(
    ("written", "ends"),
    [(3e-4, (3e-4, 3e-4)), ("lin_3e-4", (3e-4, 0.0)), ([0.01, 0.002], (0.01, 0.002))],
)
def test_schedules_have_a_first_and_a_last_value(written: Any, ends: tuple[float, float]) -> None:
    assert linear(written) == ends


def test_yaml_numbers_without_a_dot_are_numbers() -> None:
    # PyYAML reads 6e-4 as a string: YAML 1.1 wants 6.0e-4.
    assert parse("a: 6e-4\nb: -1E+3\nc: 1e5x", "here") == {"a": 6e-4, "b": -1000.0, "c": "1e5x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "here, line 1: not YAML: a: given twice"),
        ("a: [1", "here, line 1: not YAML"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
    ],
)
def test_yaml_mistakes_are_told_by_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "here")
    assert message in str(caught.value)


def test_overrides_are_typed_by_yaml() -> None:
    raw: dict[str, Any] = {"hyperparameters": {"gamma": 0.9}, "evaluation": None}
    for text in ("hyperparameters.gamma=0.5", "seeds=[1, 2]", "evaluation.every=7", "preset=dense"):
        override(raw, text)
    assert raw == {
        "hyperparameters": {"gamma": 0.5},
        "evaluation": {"every": 7},
        "seeds": [1, 2],
        "preset": "dense",
    }


@pytest.mark.parametrize("text", ["gamma", "=3", "a..b=3", "seeds.0=1", "env.x=1"])
def test_malformed_override_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="--set "):
        override({"seeds": [0], "env": "a"}, text)


def test_file_gives_the_run_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("env: toy/Gate-v0\nalgorithm: ppo\ntotal_steps: 100\n")
    config = TrainConfig.load(path, ["hyperparameters.gamma=0.5", "num_envs=3"])
    assert (config.name, config.num_envs, config.chosen) == ("mine", 3, {"gamma": 0.5})


def test_missing_file_names_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match=r"config='ris_noma/pp0'.*did you mean .*ris_noma/ppo"):
        TrainConfig.load("ris_noma/pp0")


def test_file_that_is_no_mapping_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    with pytest.raises(ConfigError, match="allowed: a mapping"):
        TrainConfig.load(path)


@pytest.mark.parametrize("name", shipped())
def test_shipped_configuration_is_valid_and_fits_its_environment(name: str) -> None:
    config = TrainConfig.load(name)
    assert config.name == find(name, shipped()).name.removesuffix(".yaml")
    check(config)


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != CLONING])
def test_hyperparameters_are_those_that_the_algorithm_takes(algorithm: str) -> None:
    """Every key that the schema knows reaches the constructor, with defaults that are SB3's."""
    import inspect

    ours = ALGORITHMS[algorithm].hyperparameters
    theirs: dict[str, inspect.Parameter] = {}
    for cls in reversed(ALGORITHMS[algorithm].load().__mro__):
        theirs |= inspect.signature(cls.__init__).parameters
    special = {"policy_kwargs", "noise_type", "noise_std"}
    assert set(ours.model_fields) - special <= set(theirs)
    for name, field in ours.model_fields.items():
        if name not in special:
            assert field.default == theirs[name].default, name


@pytest.mark.parametrize("algorithm", SMALL)
def test_every_algorithm_is_built_with_its_seed_and_worlds(algorithm: str) -> None:
    config = small(algorithm)
    env = make_env(config)
    model = make_model(config, 5, env)
    assert model.seed == 5
    env.reset()
    # The rows of training seed 5 of the world of training (design, Randomness).
    assert env.unwrapped.env.rows.seed.tolist() == [2**40 + 5 * 2**24 + i for i in range(4)]


def test_activation_names_become_layers() -> None:
    import torch

    hyper = {"policy_kwargs": {"net_arch": {"pi": [5], "vf": [3]}, "activation_fn": "elu"}}
    config = small("ppo", hyperparameters=hyper)
    model = make_model(config, 0, make_env(config))
    layers = list(model.policy.mlp_extractor.policy_net)  # type: ignore[union-attr, arg-type]
    assert [type(layer) for layer in layers] == [torch.nn.Linear, torch.nn.ELU]


@pytest.mark.parametrize(
    ("algorithm", "changes", "error", "message"),
    [
        ("sac", {"env": "toy/Gate-v0"}, ConfigError, "acts in Box; toy/Gate-v0 has Discrete(4)"),
        ("dqn", {"env": "toy/Counter-v0"}, ConfigError, "acts in Discrete; toy/Counter-v0 has Box"),
        ("ppo", {"policy": "MultiInputPolicy"}, ConfigError, "observations of toy/Gate-v0: MlpP"),
        (
            "ppo",
            {
                "env": "toy/Basin-v0",
                "policy": "MultiInputPolicy",
                "normalize": {"observation": True},
            },
            ConfigError,
            "normalize.observation=True: allowed for Box observations",
        ),
        ("ppo", {"env_kwargs": {"doors": 1}}, ParamsError, "doors=1"),
        ("ppo", {"env_kwargs": {"dors": 3}}, ParamsError, "did you mean doors"),
        ("ppo", {"preset": "narrow"}, UnknownIdError, "preset='narrow': unknown"),
        ("ppo", {"env": "toy/Gat-v0"}, UnknownIdError, "did you mean toy/Gate-v0"),
    ],
)
def test_misfit_is_refused_before_training(
    algorithm: str, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        check(small(algorithm, **changes))
    assert message in str(caught.value)
