"""Datasets: Minari loads them, and replayed they give the rewards that are stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("minari")

import minari
from toy_systems import Gate, Tank
from typer.testing import CliRunner

from sixgym.cli.main import app
from sixgym.envs.core import registry
from sixgym.envs.core.errors import OptionsError, UnknownIdError
from sixgym.envs.core.worlds import row_seed
from sixgym.leaderboard import dataset as datasets
from sixgym.leaderboard.dataset import Written, default_name, load, replay, write_dataset
from sixgym.leaderboard.runner import evaluate

SELECT = "sixgym/RisNomaSelect-v0"


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    before = dict(gym.registry)
    registry.register("toy/Gate-v0", Gate, max_episode_steps=20)
    registry.register("toy/Tank-v0", Tank, max_episode_steps=9)
    yield
    gym.registry.clear()
    gym.registry.update(before)


def test_minari_loads_what_was_played(tmp_path: Path) -> None:
    written = write_dataset(SELECT, "round_robin", episodes=3, folder=tmp_path, rows=2, seed=5)
    assert written == Written("sixgym/RisNomaSelect/round_robin-v0", tmp_path, 300)
    found = load(written)
    assert (found.total_episodes, found.total_steps) == (3, 300)
    assert found.spec.env_spec.id == SELECT
    metadata = list(found.storage.get_episode_metadata(range(3)))
    assert [told["seed"] for told in metadata] == [5, 6, 7]
    (run,) = evaluate(SELECT, "round_robin", episodes=3, seed=5).runs
    for i, episode in enumerate(found.iterate_episodes()):
        assert len(episode.observations) == len(episode.actions) + 1 == 101
        assert found.observation_space.contains(episode.observations[0])
        assert episode.truncations.tolist() == [False] * 99 + [True]
        assert not episode.terminations.any()
        assert np.isclose(episode.rewards.sum(), run.reward[i], rtol=1e-6)
        for name, sums in run.sums.items():  # the costs, the info of the reset first
            assert episode.infos[name].shape == (101,)
            assert np.isclose(episode.infos[name].sum(), sums[i], rtol=1e-5)


@pytest.mark.parametrize(
    ("id", "policy", "episodes"),
    [
        (SELECT, "random", 3),
        ("toy/Gate-v0", "random", 6),
        ("toy/Tank-v0", "random", 3),
        ("sixgym/LlmMac-v0", "random", 3),
        ("CartPole-v1", "random", 4),
    ],
)
def test_a_replay_gives_the_stored_rewards(
    id: str, policy: str, episodes: int, tmp_path: Path
) -> None:
    """Discrete and Dict spaces, ends by the system and by the limit, a game, a guest."""
    written = write_dataset(id, policy, episodes=episodes, folder=tmp_path, rows=4)
    assert replay(load(written)) <= 1e-5


def test_one_row_at_a_time_is_replayed_to_the_bit(tmp_path: Path) -> None:
    assert replay(load(write_dataset(SELECT, episodes=2, folder=tmp_path, rows=1))) == 0.0


def test_a_replay_notices_another_environment(tmp_path: Path) -> None:
    dear = {"num_users": 2}
    written = write_dataset(SELECT, episodes=1, folder=tmp_path, params=dear)
    found = load(written)
    assert found.spec.env_spec.kwargs["num_users"] == 2
    assert replay(found) <= 1e-5
    with h5py_of(found) as file:
        file["episode_0/rewards"][3] += 1.0
    assert replay(load(written)) > 0.5
    with h5py_of(found) as file:
        file["episode_0/truncations"][3] = True
    with pytest.raises(OptionsError, match="step 3: it does not end"):
        replay(load(written))


def h5py_of(found: Any) -> Any:
    import h5py

    return h5py.File(Path(found.spec.data_path) / "main_data.hdf5", "a")


def test_dictionaries_keep_their_parts(tmp_path: Path) -> None:
    (episode,) = load(write_dataset("toy/Tank-v0", episodes=1, folder=tmp_path)).iterate_episodes()
    assert episode.observations["level"].shape == (10, 2)
    assert episode.observations["level"].dtype == np.float32
    assert episode.actions["valve"].shape == (9,)


def test_the_world_is_that_of_training_unless_told_otherwise(tmp_path: Path) -> None:
    found = load(write_dataset("toy/Gate-v0", episodes=2, folder=tmp_path))
    seeds = [told["seed"] for told in found.storage.get_episode_metadata(range(2))]
    assert seeds == [row_seed("train", 0), row_seed("train", 0) + 1]


@pytest.mark.parametrize(
    ("id", "policy", "name"),
    [
        (SELECT, "ao", "sixgym/RisNomaSelect/ao-v0"),
        ("CartPole-v1", "random", "CartPole/random-v0"),
        (SELECT, "runs/a b/best.safetensors", "sixgym/RisNomaSelect/best-v0"),
        (SELECT, "exp3.p", "sixgym/RisNomaSelect/exp3-v0"),
    ],
)
def test_names_are_minaris(id: str, policy: str, name: str) -> None:
    assert default_name(id, policy) == name
    assert minari.dataset.minari_dataset.parse_dataset_id(name)[2] == 0


def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x", "x-v", "../x-v0", "/x-v0", "a b-v0"):
        with pytest.raises(OptionsError, match="allowed: namespace/name-vN"):
            write_dataset("toy/Gate-v0", episodes=1, folder=tmp_path, name=name)
    with pytest.raises(OptionsError, match="Tuple"):
        write_dataset("Blackjack-v1", episodes=1, folder=tmp_path)
    with pytest.raises(UnknownIdError, match="policy='nobody'"):
        write_dataset("toy/Gate-v0", "nobody", episodes=1, folder=tmp_path)

    def full() -> dict[str, str]:
        raise OSError("no space left on device")

    monkeypatch.setattr(datasets, "versions", full)
    with pytest.raises(OSError, match="no space"):
        write_dataset("toy/Gate-v0", episodes=1, folder=tmp_path)
    assert list(tmp_path.rglob("*-v0")) == []


def test_the_command_writes_where_minari_looks_and_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(datasets.FOLDER_VARIABLE, str(tmp_path))
    command = ["dataset", "toy/Gate-v0", "--episodes", "3"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.exception
    assert "replayed 3 episodes: rewards differ by at most 0" in done.stdout
    assert minari.load_dataset("toy/Gate/random-v0").total_episodes == 3
    again = CliRunner().invoke(app, command)
    assert "exists already; allowed: another --name" in str(again.exception)
