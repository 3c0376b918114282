"""Studies: resumable whatever ends them, scored on worlds of their own, and quick to give up."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from agent_cases import SMALL, small

from sixgym.agents import evaluate, trials
from sixgym.agents.config import TrainConfig, shipped
from sixgym.agents.evaluate import Evaluator
from sixgym.agents.search_spaces import SPACES, Choice, Power, Space, changed, space_of
from sixgym.agents.train import make_env, make_model, train
from sixgym.agents.trials import RUNGS, UNPRUNED, run_trial
from sixgym.agents.tuning import TuneResult, tune
from sixgym.envs.core.errors import ConfigError, OptionsError, SixgymError
from sixgym.envs.core.worlds import row_seed

LONG = 10.0
"""Minutes that no trial here needs: they end by their steps, so that all is repeatable."""

NARROW = {
    "n_steps": [8, 16],
    "batch_size": [64],
    "n_epochs": [1, 5],
    "policy_kwargs.net_arch": [[8], [8, 6]],
    "learning_rate": {"low": 1e-4, "high": 1e-3},
}


def write(folder: Path, algorithm: str = "ppo", **changes: Any) -> Path:
    """A configuration as a file."""
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(small(algorithm, **changes).plain()))
    return path


def narrow(folder: Path, **changes: Any) -> Path:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump({**NARROW, **changes}))
    return path


def search(folder: Path, trials: int, *, output: str = "runs", **changes: Any) -> TuneResult:
    """A study of the toy with every trial of its 192 steps."""
    folder.mkdir(exist_ok=True)
    if "space" not in changes:
        changes["space"] = narrow(folder)
    arguments = {"minutes": LONG, **changes}
    return tune(write(folder), trials=trials, output=folder / output, **arguments)


def steady(told: dict[str, Any]) -> Any:
    """The trials of a study less their numbers and times, which an interruption moves."""
    drop = ("number", "cpu_seconds")
    return [{k: v for k, v in trial.items() if k not in drop} for trial in told["trials"]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TuneResult:
    return search(tmp_path_factory.mktemp("whole"), 3)


def test_a_study_leaves_a_configuration_that_trains(whole: TuneResult, tmp_path: Path) -> None:
    told = json.loads(whole.summary.read_text())
    assert told == json.loads(json.dumps(whole.content))
    assert [trial["state"] for trial in told["trials"]] == ["complete"] * 3
    assert [trial["as_written"] for trial in told["trials"]] == [True, False, False]
    assert [trial["steps"] for trial in told["trials"]] == [192] * 3
    assert told["trials"][1]["changes"]["policy_kwargs.net_arch"] in ([8], [8, 6])
    values = [trial["value"] for trial in told["trials"]]
    assert told["best"]["value"] == max(values)
    assert told["as_written"] == values[0]
    assert told["score"]["world"] == "tuning"
    assert "optuna" in told["versions"]
    assert whole.figure.read_bytes().startswith(b"\x89PNG")
    best = TrainConfig.load(whole.best)
    assert best == changed(small("ppo"), told["best"]["changes"])
    (result,) = train(best, output=tmp_path)
    assert result.steps == 192


@pytest.mark.slow
def test_a_study_is_a_function_of_its_seed_and_goes_on(whole: TuneResult, tmp_path: Path) -> None:
    search(tmp_path, 1)
    again = search(tmp_path, 3)
    assert steady(again.content) == steady(whole.content)
    assert search(tmp_path, 2).content["trials"] == again.content["trials"]  # there are enough
    other = search(tmp_path, 2, output="other", seed=1)
    assert steady(other.content)[0] == steady(whole.content)[0]
    assert steady(other.content)[1]["changes"] != steady(whole.content)[1]["changes"]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
import agent_cases
from sixgym.agents import trials, tuning
from sixgym.agents.trials import Watch

trained = 0
rollout = Watch._on_rollout_start
def cut(self):
    global trained
    trained += self.num_timesteps == 0
    if trained == 2 and self.num_timesteps > 0:
        os.kill(os.getpid(), signal.SIGKILL)
    rollout(self)
Watch._on_rollout_start = cut
tuning.tune(sys.argv[2], trials=3, minutes=float(sys.argv[4]), space=Path(sys.argv[3]),
            output=Path(sys.argv[5]))
"""
"""A study that is killed in its second trial."""


@pytest.mark.slow
def test_killed_in_a_trial_and_called_again_it_is_the_same_study(
    whole: TuneResult, tmp_path: Path
) -> None:
    script = tmp_path / "study.py"
    script.write_text(KILLED)
    here = str(Path(__file__).parent)
    arguments = [here, write(tmp_path), narrow(tmp_path), LONG, tmp_path / "runs"]
    done = subprocess.run([sys.executable, str(script), *map(str, arguments)], check=False)
    assert done.returncode == -signal.SIGKILL
    (path,) = (tmp_path / "runs").rglob("*.db")
    before = optuna.load_study(study_name="small", storage=f"sqlite:///{path}").get_trials()
    assert [trial.state.name for trial in before] == ["COMPLETE", "RUNNING"]
    result = search(tmp_path, 3)
    assert result.content["interrupted"] == 1
    assert steady(result.content) == steady(whole.content)
    after = optuna.load_study(study_name="small", storage=f"sqlite:///{path}").get_trials()
    assert [t.state.name for t in after] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert after[2].params == before[1].params


@pytest.mark.slow
def test_workers_find_what_one_process_finds_of_random_trials(
    whole: TuneResult, tmp_path: Path
) -> None:
    """The first trials are drawn without a model, so that their order does not matter."""
    found = search(tmp_path, 3, workers=2).content["trials"]
    ours = {str(t["changes"]): t["value"] for t in found}
    assert ours == {str(t["changes"]): t["value"] for t in whole.content["trials"]}


def test_a_trial_that_goes_astray_is_told_and_the_study_goes_on(tmp_path: Path) -> None:
    space = narrow(tmp_path, learning_rate=[1e30])
    told = search(tmp_path, 3, space=space).content
    assert [trial["state"] for trial in told["trials"]] == ["complete", "fail", "fail"]
    assert "went astray" in told["trials"][1]["error"]
    assert told["best"]["as_written"]
    assert TrainConfig.load(tmp_path / "runs/tune/gate/small/best.yaml") == small("ppo")


def test_no_trial_at_all_is_an_error_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "make_model", lambda *_: 1 / 0)
    with pytest.raises(SixgymError, match="no trial was finished: ZeroDivisionError"):
        search(tmp_path, 2)


def trial(others: list[dict[str, float]], **changes: Any) -> dict[str, Any]:
    config = small("ppo", total_steps=320, **changes)
    given = {"cpu_seconds": 600.0, "maximize": True, "seed": 1_000}
    return run_trial(config.plain(), others=others, **given)


def test_what_is_worse_than_most_is_stopped() -> None:
    free = trial([])
    assert not free["is_pruned"]
    assert free["steps"] == 320
    assert sorted(free["rungs"]) == list(range(1, RUNGS))
    high = [{"1": 1e9, "2": 1e9, "3": 1e9}] * UNPRUNED
    poor = trial(high)
    assert poor["is_pruned"]
    assert poor["rungs"] == {1: free["rungs"][1]}
    assert poor["value"] == free["rungs"][1]
    assert 80 <= poor["steps"] < 160
    assert not trial(high[1:])["is_pruned"]  # too few to say
    assert not trial([{"1": -1e9, "2": -1e9, "3": -1e9}] * UNPRUNED)["is_pruned"]


@pytest.mark.slow
def test_pruned_trials_are_in_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "UNPRUNED", 1)
    told = search(tmp_path, 8).content
    pruned = [t for t in told["trials"] if t["state"] == "pruned"]
    assert pruned
    assert all(t["steps"] < 192 and t["value"] is not None for t in pruned)
    assert told["best"]["state"] == "complete"


def test_time_ends_a_trial() -> None:
    config = small("ppo", total_steps=10**8)
    found = run_trial(config.plain(), 1_000, 0.3, [], maximize=True)
    assert 0 < found["steps"] < 10**6
    assert 0.3 <= found["cpu_seconds"] < 5.0
    assert found["rungs"]
    assert np.isfinite(found["value"])


def test_trials_are_scored_on_the_tuning_worlds_and_trained_on_a_seed_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[np.ndarray[Any, Any]] = []
    really = evaluate.rollout

    def rollout(env: Any, policy: Any, seeds: Any, **kwargs: Any) -> Any:
        played.append(seeds)
        return really(env, policy, seeds, **kwargs)

    monkeypatch.setattr(evaluate, "rollout", rollout)
    told = search(tmp_path, 1).content
    wanted = row_seed("tuning", 0) + np.arange(4)
    assert played
    assert all((seeds == wanted).all() for seeds in played)
    assert told["training_seed"] == 1_000
    assert (Evaluator(small("ppo")).seeds == row_seed("validation", 0) + np.arange(4)).all()


@pytest.mark.parametrize(
    ("changes", "error", "what"),
    [
        ({"trials": 0}, OptionsError, "trials=0: allowed: more than 0"),
        ({"minutes": 0.0}, OptionsError, r"minutes=0\.0: allowed: more than 0"),
        ({"workers": 0}, OptionsError, "workers=0"),
        ({"engine": "slurm"}, OptionsError, "engine='slurm': allowed: local, ray"),
        ({"minutes": 3.0}, ConfigError, r"small\.db: begun with minutes=10\.0; now 3\.0"),
        ({"seed": 4}, ConfigError, r"begun with sampler seed=0; now 4"),
        ({"overrides": ["num_envs=8"]}, ConfigError, r"begun with num_envs=4; now 8"),
        ({"space": None}, ConfigError, r"begun with space="),
        ({"space": Path("nowhere.yaml")}, ConfigError, "space='nowhere.yaml': cannot be read"),
    ],
)
def test_wrong_arguments_are_named(
    changes: dict[str, Any],
    error: type[Exception],
    what: str,
    whole: TuneResult,
) -> None:
    folder = whole.best.parents[4]
    with pytest.raises(error, match=what) as caught:
        search(folder, **{"trials": 4, **changes})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ({"gama": None}, r"space\.yaml: gama: not tuned; did you mean gamma"),
        ({"gamma": 0.9}, r"gamma=0\.9: allowed: a list of values, or \{low: , high: \}"),
        ({"gamma": {"low": 0.9}}, "gamma=.*allowed: a list"),
        ({"gamma": {"low": 0.5, "high": 0.9}}, r"gamma\.low=0\.5: allowed: 0\.8 to 0\.9999"),
        ({"gamma": {"low": 0.99, "high": 0.9}}, r"gamma\.low=0\.99: allowed: at most high, 0\.9"),
        ({"gamma": {"low": "a", "high": 0.9}}, r"gamma\.low='a'"),
        ({"n_steps": {"low": 8, "high": 100}}, r"n_steps\.high=100: .*a power of two"),
        ({"n_epochs": {"low": 1, "high": 3}}, "n_epochs=.*allowed: a list of values"),
        ([], "allowed: a mapping"),
        (dict.fromkeys(SPACES["ppo"]), "leaves nothing to tune"),
    ],
)
def test_mistakes_in_a_space_are_named(entries: Any, what: str, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(entries))
    with pytest.raises(ConfigError, match=what) as caught:
        space_of(small("ppo"), path)
    assert "\n" not in str(caught.value)


def test_a_file_narrows_the_space(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("gamma: {low: 0.9, high: 0.99}\nn_steps: [24]\nclip_range:\n")
    space = space_of(small("ppo"), path)
    assert space["gamma"].distribution() == optuna.distributions.FloatDistribution(
        1.0 - 0.99, 1.0 - 0.9, log=True
    )
    assert space["n_steps"] == Choice((24,))
    assert "clip_range" not in space
    assert space["batch_size"] == SPACES["ppo"]["batch_size"]


def test_what_has_no_use_is_not_tuned() -> None:
    myopic = small("ppo", hyperparameters={**SMALL["ppo"], "gamma": 0.0})
    assert {"gamma", "gae_lambda"}.isdisjoint(space_of(myopic))
    begun = small("ppo", start="netgpt/ppo_myopic")
    assert not any(key.startswith("policy_kwargs") for key in space_of(begun))


def test_imitation_is_not_tuned() -> None:
    cloning = [name for name in shipped() if name.endswith("/bc")]
    if cloning:
        with pytest.raises(ConfigError, match="algorithm='bc': cannot be tuned; allowed: ppo"):
            space_of(TrainConfig.load(cloning[0]))


def test_a_minibatch_is_never_larger_than_the_rollout() -> None:
    config = changed(small("ppo"), {"n_steps": 8, "batch_size": 2048})
    assert config.chosen["batch_size"] == 8 * config.num_envs


def corners(space: Space) -> list[dict[str, Any]]:
    """Both ends of all ranges, and every choice."""
    found = []
    for place in range(5):
        changes = {}
        for key, dimension in space.items():
            drawn = dimension.distribution()
            if isinstance(dimension, Choice):
                changes[key] = dimension.options[place % len(dimension.options)]
            else:
                changes[key] = dimension.value(drawn.low if place % 2 else drawn.high)  # type: ignore[attr-defined]
        found.append(changes)
    return found


@pytest.mark.parametrize("algorithm", SMALL)
def test_every_corner_of_every_space_makes_a_model(algorithm: str) -> None:
    config = small(algorithm, num_envs=2)
    for changes in corners(space_of(config)):
        env = make_env(config)
        make_model(changed(config, changes), 0, env)
        env.close()


def test_powers_are_drawn_by_their_exponents() -> None:
    power = Power(8, 256)
    drawn = power.distribution()
    assert [power.value(drawn.low), power.value(drawn.high)] == [8, 256]  # type: ignore[attr-defined]


def test_two_processes_cannot_be_at_one_study(whole: TuneResult) -> None:
    folder = whole.best.parents[4]
    (lock,) = folder.rglob("*.lock")
    other = sqlite3.connect(lock, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(ConfigError, match=r"small\.lock: another process is at this study"):
            search(folder, 3)
    finally:
        other.close()
    search(folder, 3)


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs/tune/gate/small.db"
    path.parent.mkdir(parents=True)
    path.write_text("a text, and no database at all; " * 40)
    with pytest.raises(ConfigError, match=r"small\.db: not a study") as caught:
        search(tmp_path, 1)
    assert "\n" not in str(caught.value)


def test_the_command_prints_the_trials(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from sixgym.cli.main import app

    arguments = ["tune", str(write(tmp_path)), "--trials", "2", "--minutes", str(LONG)]
    arguments += ["--space", str(narrow(tmp_path)), "--output", str(tmp_path / "runs")]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "(as written)" in result.output
    assert "learning_rate 0.000" in result.output
    assert "best: trial " in result.output
    assert str(tmp_path / "runs/tune/gate/small/best.yaml") in result.output
