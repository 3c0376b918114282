"""Every configuration that ships: there is one for each pair that fits, and each trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import gymnasium as gym
import pytest
import torch

from sixgym.agents.algorithms import ALGORITHMS
from sixgym.agents.config import TrainConfig, shipped
from sixgym.agents.evaluate import Evaluator
from sixgym.agents.logs import versions
from sixgym.agents.policies import load_policy, read_card
from sixgym.agents.team.registry import NETS
from sixgym.agents.train_zoo import plan, run_folder, train_zoo
from sixgym.agents.zoo_index import zoo
from sixgym.envs.core.registry import entries, entry
from sixgym.envs.core.rollout import rollout, score_value
from sixgym.leaderboard.stats import ratio_interval, sample

GENERAL = ("ppo", "a2c", "sac", "td3", "tqc", "dqn", "recurrentppo", "maskableppo")
"""Algorithms that are tried wherever they fit."""
IDS = [e.id for e in entries() if e.system.startswith("sixgym.")]
GAMES = [id for id in IDS if entry(id).is_game]
CONFIGS = {name: TrainConfig.load(name) for name in shipped()}
CARDS = [path for paths in zoo().values() for path in paths]


def kinds_of_action(id: str) -> dict[str, bool]:
    """Kinds of action space that an id may have, and whether any of that kind is masked."""
    field = entry(id).load_system().params_type.model_fields.get("action_mode")
    modes = [{}] if field is None else [{"action_mode": m} for m in get_args(field.annotation)]
    found: dict[str, bool] = {}
    for kwargs in modes:
        env = gym.make_vec(id, num_envs=1, **kwargs)
        env.reset(seed=0)
        kind = type(env.unwrapped.system.action_space).__name__
        found[kind] = found.get(kind, False) or env.unwrapped.action_masks() is not None
        env.close()
    return found


@pytest.mark.parametrize("id", IDS)
def test_every_algorithm_that_fits_an_id_has_a_configuration(id: str) -> None:
    """Masked PPO without masks is PPO, so that it is wanted only where actions are masked."""
    kinds = kinds_of_action(id)
    fitting = {
        name
        for name in GENERAL
        for kind, is_masked in kinds.items()
        if kind in ALGORITHMS[name].actions and (is_masked or not ALGORITHMS[name].masked)
    }
    assert fitting - {c.algorithm for c in CONFIGS.values() if c.env == id} == set()


def test_every_game_has_a_policy_that_its_agents_share() -> None:
    shared = {c.env for c in CONFIGS.values() if c.shared and c.algorithm == "ppo"}
    assert set(GAMES) - shared == set()


def test_every_network_of_a_team_has_a_configuration() -> None:
    used = {c.chosen["policy_kwargs"]["net"] for c in CONFIGS.values() if c.algorithm == "mappo"}
    assert used == set(NETS)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_says_in_a_comment_what_it_is(name: str) -> None:
    assert shipped()[name].read_text(encoding="utf-8").startswith("# ")


@pytest.mark.smoke
@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_configuration_trains_and_its_policy_plays_as_its_card_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sixgym.agents.figures.learning_curve", lambda *_: None)
    (run,) = plan([name], size="smoke")
    (done,) = train_zoo([run], tmp_path, workers=1)
    assert done.error is None
    folder = run_folder(tmp_path, run.config) / f"seed_{done.seed}"
    assert len((folder / "progress.csv").read_text().splitlines()) > 1
    path = folder / "policies" / "best"
    told: Any = read_card(path.with_suffix(".json")).about["validation"]
    found = Evaluator(run.config)(load_policy(path))
    assert found.keys() == told.keys() - {"step"}
    for score, value in found.items():
        assert value == (told[score] if value is None else pytest.approx(told[score], rel=1e-6))


def validated() -> list[Path]:
    """Cards of what was validated while it was trained, which says how it is done again."""
    return [path for path in CARDS if "validation" in read_card(path).about]


@pytest.mark.slow
@pytest.mark.parametrize("path", validated(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_weights_reach_the_score_of_their_card(path: Path) -> None:
    """The same episodes: the same score where the versions are; its interval elsewhere."""
    torch.set_num_threads(1)
    about = read_card(path).about
    config = TrainConfig.create(about["config"])  # type: ignore[arg-type]
    evaluator = Evaluator(config)
    score = evaluator.headline
    told = about["validation"][score.name]  # type: ignore[index,call-overload]
    episodes = rollout(
        evaluator.env.unwrapped,
        load_policy(path),
        evaluator.seeds,
        deterministic=evaluator.deterministic,
    )
    found = score_value(score, episodes)
    if about["versions"] == versions():
        assert found == pytest.approx(told, rel=1e-4)
        return
    terms = {"reward": episodes.reward, "steps": episodes.length, **episodes.sums}
    top = terms[score.numerator]
    bottom = None if score.denominator == "episodes" else terms[score.denominator]
    interval = ratio_interval(sample(top, bottom))
    assert interval.low <= told <= interval.high
