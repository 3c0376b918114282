"""LLM-MAC's configurations train and play at a small size; the agents that ship are theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

import sixgym.agents
from sixgym.agents import TrainConfig
from sixgym.agents.config import shipped
from sixgym.agents.policies import read_card
from sixgym.agents.train import check, train
from sixgym.leaderboard import evaluate
from sixgym.leaderboard.players import shipped as shipped_policies
from sixgym.leaderboard.stats import ratio_interval

ID = "sixgym/LlmMac-v0"
FOLDER = Path(next(iter(sixgym.agents.__path__)), "zoo", "llm_mac")
TUNED = [
    name for name in shipped() if name.startswith("llm_mac/") and not TrainConfig.load(name).untuned
]
"""The others are trained by the smoke test of all configurations."""
NAMES = sorted({path.stem.rpartition("-")[0] for path in FOLDER.glob("*.json")})
FIVE_SEEDS = {"mappo", "one_slot", "acknowledged", "granted"}


def tiny(name: str) -> TrainConfig:
    """A shipped configuration with few rows, steps and episodes."""
    plain = TrainConfig.load(name).plain()
    small = {"n_steps": 4, "batch_size": 8}
    if "buffer_size" in plain["hyperparameters"]:
        small = {"learning_starts": 24, "batch_size": 16, "buffer_size": 300}
    plain |= {"num_envs": 4, "total_steps": 64, "seeds": [1]}
    plain["hyperparameters"] |= small
    plain["evaluation"] |= {"every": 0, "episodes": 2, "baselines": []}
    plain["checkpoint"] = {"every": 0}
    plain["env_kwargs"] |= {"max_episode_steps": 3}
    return TrainConfig.create(plain)


@pytest.mark.parametrize("name", TUNED)
def test_shipped_configuration_trains_and_its_policy_plays(name: str, tmp_path: Path) -> None:
    check(TrainConfig.load(name))
    config = tiny(name)
    (run,) = train(config, output=tmp_path)
    params = {k: v for k, v in config.env_kwargs.items() if k != "level"}
    result = evaluate(ID, str(run.policy), episodes=3, preset=config.preset, **params)
    assert result.runs[0].training_seed == 1
    assert result.policy.kind == "learned"


@pytest.mark.parametrize("name", NAMES)
def test_the_agents_that_ship_are_of_the_shipped_configuration(name: str) -> None:
    """Who trains the configuration anew trains what ships."""
    config = TrainConfig.load(f"llm_mac/{name}").plain()
    cards = sorted(FOLDER.glob(f"{name}-[0-9].json"))
    assert len(cards) >= (5 if name in FIVE_SEEDS else 1)
    for seed, path in enumerate(cards):
        about = read_card(path).about
        assert (about["name"], about["seed"]) == (f"{name}/{seed}", seed)
        trained = TrainConfig.create(about["config"]).plain()
        asked = config.keys() - {"name", "seeds", "evaluation", "checkpoint", "output"}
        assert {k: trained[k] for k in asked} == {k: config[k] for k in asked}
        assert about["commit"]
        assert path.with_suffix(".csv").read_text().startswith("step,")


def test_the_board_has_those_that_were_trained_in_its_task() -> None:
    on_board = set(shipped_policies(ID, None))
    assert {"mappo", "mappo_team"} <= on_board
    assert not on_board & {"one_slot", "acknowledged", "granted", "emergent", "rsm_mappo", "dqn"}
    assert "acknowledged" in shipped_policies(ID, "acknowledged")


@pytest.mark.slow
def test_learned_agents_beat_contention_on_every_seed() -> None:
    """Issue 4: intervals apart, every training seed by itself."""
    kwargs = {"population": "fixed", "num_users": 5}
    rival = ratio_interval(evaluate(ID, "csma", **kwargs).sample())
    for seed in range(5):
        path = FOLDER / f"mappo-{seed}.safetensors"
        assert ratio_interval(evaluate(ID, str(path), **kwargs).sample()).low > rival.high
