"""Training of what ships: what is chosen, what is done already, what fails, what is loaded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agent_cases import SMALL, small
from typer.testing import CliRunner

import sixgym.agents
from sixgym.agents import load
from sixgym.agents.policies import read_card
from sixgym.agents.train import train
from sixgym.agents.train_zoo import Run, plan, run_folder, sized, train_zoo
from sixgym.agents.zoo_index import is_untuned, zoo
from sixgym.cli.main import app
from sixgym.envs.core.errors import ConfigError, UnknownIdError
from sixgym.envs.core.registry import entry

SELECT = "sixgym/RisNomaSelect-v0"


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The learning curve takes most of the time of such small trainings."""
    monkeypatch.setattr(
        "sixgym.agents.figures.learning_curve", lambda path, *_: path.write_bytes(b"")
    )
    monkeypatch.setattr("sixgym.agents.train.learning_curve", lambda path, *_: path)


def names(*filters: str, **more: Any) -> list[str]:
    return [run.name for run in plan(filters, **more)]


# What is chosen


def test_patterns_ids_and_algorithms_narrow_the_choice() -> None:
    every = names()
    assert names("netgpt/*") == [n for n in every if n.startswith("netgpt/")]
    assert names("netgpt/dqn", "ris_noma/d?n") == ["netgpt/dqn", "ris_noma/dqn"]
    chosen = plan(envs=[SELECT], algorithms=["dqn", "a2c"])
    assert {(r.config.env, r.config.algorithm) for r in chosen} == {
        (SELECT, "dqn"),
        (SELECT, "a2c"),
    }
    parts = names(untuned=True), names(untuned=False)
    assert sorted([*parts[0], *parts[1]]) == sorted(every)
    assert all(parts)


@pytest.mark.parametrize(
    ("filters", "more", "told"),
    [
        (["netgpt/dqm"], {}, "netgpt/dqn"),
        ([], {"algorithms": ["pp0"]}, "ppo"),
        (["netgpt/*"], {"envs": [SELECT]}, "no configuration fits"),
    ],
)
def test_what_fits_nothing_is_refused(filters: list[str], more: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        plan(filters, **more)


def test_unknown_id_is_refused() -> None:
    with pytest.raises(UnknownIdError, match="RisNoma"):
        plan(envs=["sixgym/RisNom-v0"])


def test_what_nobody_tuned_ships_one_seed() -> None:
    assert all(run.config.seeds == [0] for run in plan(untuned=True))


def test_full_is_longer_with_five_seeds_and_smoke_a_few_updates() -> None:
    (ships,), (full,) = plan(["netgpt/sac"]), plan(["netgpt/sac"], size="full")
    assert full.config.total_steps == 10 * ships.config.total_steps
    assert full.config.seeds == [0, 1, 2, 3, 4]
    assert full.config.hyperparameters == ships.config.hyperparameters
    (smoke,) = plan(["netgpt/sac"], size="smoke")
    assert smoke.config.total_steps <= 100
    assert smoke.config.env_kwargs["max_episode_steps"] <= 8


def test_list_says_what_would_run_and_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["train-zoo", "netgpt/*", "--list"])
    assert done.exit_code == 0
    (line,) = [line for line in done.output.splitlines() if line.startswith("netgpt/dqn ")]
    for word in ("sixgym/NetGptRoute-v0", "dqn", "1,024,000"):
        assert word in line.split()
    (line,) = [line for line in done.output.splitlines() if line.startswith("netgpt/route_a2c ")]
    assert "untuned" in line.split()
    assert list(tmp_path.iterdir()) == []


# What is done, what is left, what fails


def test_finished_seeds_are_skipped_and_others_trained(tmp_path: Path) -> None:
    one = Run("toy/one", small("ppo", seeds=[0, 1]))
    first = list(train_zoo([one], tmp_path, workers=1))
    assert [(d.seed, d.is_new, d.error) for d in first] == [(0, True, None), (1, True, None)]
    folder = run_folder(tmp_path, one.config)
    stamp = (folder / "seed_0" / "run.json").stat().st_mtime_ns
    more = Run("toy/one", small("ppo", seeds=[0, 1, 2]))
    second = list(train_zoo([more], tmp_path, workers=1))
    assert [(d.seed, d.is_new) for d in second] == [(0, False), (1, False), (2, True)]
    assert second[0].score == first[0].score
    assert (folder / "seed_0" / "run.json").stat().st_mtime_ns == stamp
    assert (folder / "config.yaml").is_file()
    assert (folder / "learning_curve.png").is_file()


def test_a_seed_is_trained_as_by_the_command_for_one_configuration(tmp_path: Path) -> None:
    config = small("ppo", seeds=[3])
    (alone,) = train(config, output=tmp_path / "alone")
    list(train_zoo([Run("toy/one", config)], tmp_path / "zoo", workers=1))
    weights = run_folder(tmp_path / "zoo", config) / "seed_3" / "policies" / "best.safetensors"
    assert weights.read_bytes() == alone.policy.read_bytes()


def test_a_seed_that_fails_is_named_and_stops_nobody(tmp_path: Path) -> None:
    wrong = small("ppo", name="wrong", env_kwargs={"no_such": 1})
    runs = [Run("toy/wrong", wrong), Run("toy/right", small("a2c", name="right"))]
    failed, right = list(train_zoo(runs, tmp_path, workers=1))
    assert (failed.name, failed.seed) == ("toy/wrong", 0)
    assert "no_such" in str(failed.error)
    assert right.error is None


def test_another_configuration_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    list(train_zoo([Run("toy/one", small("ppo"))], tmp_path, workers=1))
    (done,) = train_zoo([Run("toy/one", small("ppo", total_steps=320))], tmp_path, workers=1)
    assert "total_steps" in str(done.error)


def test_command_exits_with_one_and_names_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ConfigError("the disk is full")

    monkeypatch.setattr("sixgym.agents.train.train_seed", broken)
    arguments = ["train-zoo", "netgpt/sac", "--smoke", "--workers", "1", "--output", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "failed: netgpt/sac seed 0: the disk is full" in done.output


LONG = {
    "hyperparameters": SMALL["ppo"],
    "total_steps": 1920,
    "evaluation": {"every": 0, "episodes": 4},
    "checkpoint": {"every": 64},
}
"""A training that lasts some seconds, with many checkpoints."""

SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_train_zoo import LONG
from agent_cases import small
from sixgym.agents.train_zoo import Run, train_zoo
quick = Run("toy/quick", small("a2c", name="quick"))
runs = [quick, Run("toy/long", small("ppo", name="long", **LONG))]
for done in train_zoo(runs, Path(sys.argv[1]), workers=1):
    print(done.name, done.is_new, done.error, flush=True)
"""


def steps_saved(folder: Path) -> int:
    """Steps of a seed's last checkpoint; 0 before there is one of a step."""
    path = folder / "checkpoints" / "last.json"
    return int(json.loads(path.read_text())["values"]["num_timesteps"]) if path.exists() else 0


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    here = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "cut"), *here]
    long = small("ppo", name="long", **LONG)
    folder = run_folder(tmp_path / "cut", long) / "seed_0"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while steps_saved(folder) == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    said, _ = process.communicate()
    assert said.splitlines() == ["toy/quick True None"]
    assert json.loads((folder / "run.json").read_text())["finished"] is None

    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout.splitlines() == ["toy/quick False None", "toy/long True None"]
    assert json.loads((folder / "run.json").read_text())["resumed_from"] > 0
    list(train_zoo([Run("toy/long", long)], tmp_path / "whole", workers=1))
    whole = run_folder(tmp_path / "whole", long) / "seed_0"
    for name in ("best", "last"):
        weights = Path("policies", f"{name}.safetensors")
        assert (folder / weights).read_bytes() == (whole / weights).read_bytes()


# What is loaded


def test_loaded_policy_acts_and_is_the_seed_of_the_best_validation_score() -> None:
    policy = load(SELECT, "ppo")
    headline = entry(SELECT).load_system().scores[0].name
    cards = [read_card(path).about for path in zoo()[SELECT, "ppo"]]
    best = max(cards, key=lambda about: about["validation"][headline])  # type: ignore[index,call-overload]
    assert policy.card is not None
    assert policy.card.about["seed"] == best["seed"]
    action, _ = policy.predict(np.zeros((2, *policy.observation_space.shape), np.float32))
    assert action.shape == (2,)


def test_a_seed_may_be_chosen() -> None:
    card = load(SELECT, "ppo", seed=1).card
    assert card is not None
    assert card.about["name"] == "ppo/1"


def test_the_name_of_an_algorithm_stands_for_what_it_trained() -> None:
    card = load("sixgym/RisNoma-v0", "ppo").card
    assert card is not None
    assert card.env == "sixgym/RisNoma-v0"
    assert card.about["algorithm"] == "ppo"
    assert not is_untuned(card)


@pytest.mark.parametrize(
    ("id", "name", "seed", "told"),
    [
        ("sixgym/RisNom-v0", "ppo", None, "RisNoma"),
        (SELECT, "pp0", None, "ppo"),
        (SELECT, "ppo", 99, "0, 1, 2"),
    ],
)
def test_what_does_not_ship_is_refused_with_what_does(
    id: str, name: str, seed: int | None, told: str
) -> None:
    with pytest.raises(UnknownIdError, match=told):
        load(id, name, seed)


def test_load_is_offered_without_importing_torch() -> None:
    code = "import sys, sixgym.agents; assert 'torch' not in sys.modules; sixgym.agents.load"
    assert "load" in dir(sixgym.agents)
    subprocess.run([sys.executable, "-c", code], check=True)


def test_sizes_leave_what_ships_alone() -> None:
    config = small("ppo")
    assert sized(config, "ships") is config
