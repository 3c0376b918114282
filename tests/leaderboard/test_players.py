"""Trained weights as players: one member a training seed, played in the task's physics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sixgym.agents.policies import Architecture, NeuralPolicy, save_policy
from sixgym.envs.core.errors import PolicyError, UnknownIdError
from sixgym.envs.core.make import make_system
from sixgym.envs.core.registry import entry
from sixgym.leaderboard import evaluate, players
from sixgym.leaderboard.board import make_board
from sixgym.leaderboard.claims.framework import _attempt, play
from sixgym.leaderboard.players import find_player, shipped
from sixgym.leaderboard.runner import policy_names

HYBRID, SELECT = "sixgym/RisNoma-v0", "sixgym/RisNomaSelect-v0"
SHORT: dict[str, Any] = {"episodes": 4, "max_episode_steps": 3}


def save(folder: Path, seed: int, env: str = SELECT, name: str = "mine", **env_kwargs: Any) -> Path:
    """Random weights of a small network, as a run of one training seed leaves them."""
    system = make_system(entry(env).system, **env_kwargs)
    torch.manual_seed(seed)
    policy = NeuralPolicy(
        Architecture(hidden=[8], activation="tanh", head="distribution"),
        system.observation_space,
        system.action_space,
    )
    about = {"name": f"{name}/{seed}", "seed": seed, "algorithm": "ppo"}
    about["config"] = {"total_steps": 1000}
    return save_policy(
        policy,
        folder / str(seed) / "policies" / "best",
        env=env,
        env_kwargs=env_kwargs,
        about=about,
    )


def test_a_run_of_several_seeds_is_one_row_with_several_runs(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        save(tmp_path, seed)
    result = evaluate(SELECT, str(tmp_path), **SHORT)
    assert result.policy.name == "mine"
    assert (result.policy.source, result.policy.kind) == ("file", "learned")
    assert result.policy.origin == str(tmp_path)
    assert [run.training_seed for run in result.runs] == [0, 1, 2]
    assert [run.training_steps for run in result.runs] == [1000] * 3
    assert len({run.weights for run in result.runs}) == 3
    assert make_board([result]).rows[0].training_seeds == [0, 1, 2]
    assert result.sample().numerator.shape == (3, 4)


def test_learning_curves_are_kept(tmp_path: Path) -> None:
    save(tmp_path, 0)
    table = tmp_path / "0" / "evaluations.csv"
    table.write_text("step,energy_efficiency_bit_per_j\n0,1.5e6\n100,\n200,2.5e6\n")
    assert evaluate(SELECT, str(tmp_path), **SHORT).runs[0].curve == [(0, 1.5e6), (200, 2.5e6)]
    table.write_text("step,loss\n0,1\n")
    with pytest.raises(PolicyError, match=r"evaluations\.csv: not a table of step and energy"):
        find_player(SELECT, str(tmp_path))


def test_one_seed_may_be_named_in_any_way(tmp_path: Path) -> None:
    weights = save(tmp_path, 7)
    paths = [tmp_path / "7", weights, weights.with_suffix(".json"), weights.with_suffix("")]
    results = [evaluate(SELECT, str(path), **SHORT) for path in paths]
    assert all(r.runs[0].reward == results[0].runs[0].reward for r in results)
    assert all(r.runs[0].training_seed == 7 for r in results)


def test_a_policy_brings_its_connection_but_not_its_physics(tmp_path: Path) -> None:
    """Trained on the full observation at half the load, it is judged at the task's load."""
    save(tmp_path, 0, HYBRID, observation="full", min_task_bits=1e4, max_task_bits=3e4)
    player = find_player(HYBRID, str(tmp_path))
    assert player.card.env_kwargs == {"observation": "full"}
    result = evaluate(HYBRID, str(tmp_path), **SHORT)
    other = evaluate(HYBRID, "random", **SHORT)
    assert np.array_equal(result.runs[0].sums["arrived_bits"], other.runs[0].sums["arrived_bits"])


def test_a_policy_of_the_sister_id_acts_in_its_own_but_on_the_same_worlds(tmp_path: Path) -> None:
    save(tmp_path, 0, HYBRID)
    result = evaluate(SELECT, str(tmp_path), hold="queue", **SHORT)
    assert result.policy.env_id == HYBRID
    arrived = evaluate(SELECT, "random", **SHORT).runs[0].sums["arrived_bits"]
    assert result.runs[0].sums["arrived_bits"] == arrived


def test_other_sizes_are_refused_by_name(tmp_path: Path) -> None:
    save(tmp_path, 0)
    with pytest.raises(PolicyError, match="observation space"):
        evaluate(SELECT, str(tmp_path), num_users=6, **SHORT)


def test_mixed_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no weights in it"):
        find_player(SELECT, str(tmp_path))
    save(tmp_path, 0)
    save(tmp_path, 1, name="theirs")
    with pytest.raises(PolicyError, match="several policies: mine, theirs"):
        find_player(SELECT, str(tmp_path))


def test_damaged_weights_are_refused_before_they_are_read(tmp_path: Path) -> None:
    weights = save(tmp_path, 0)
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(PolicyError, match="truncated or altered"):
        evaluate(SELECT, str(tmp_path), **SHORT)


def test_neither_name_nor_file(tmp_path: Path) -> None:
    with pytest.raises(UnknownIdError, match=r"and no such file; policies of .*round_robin"):
        find_player(SELECT, str(tmp_path / "nothing"))


def test_what_ships_can_be_played() -> None:
    for id in (HYBRID, SELECT):
        for name in shipped(id):
            player = find_player(id, name)
            assert player.card.source == "zoo"
            assert all(member.training_seed is not None for member in player.members)
            assert all(member.training_steps for member in player.members)
            evaluate(id, name, episodes=2, max_episode_steps=2)


def test_a_preset_is_a_task_of_its_own_for_what_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = {}
    for name, preset in (("plain", None), ("named", "default"), ("heavy", "fixed_power")):
        weights = save(tmp_path / name, 0, preset=preset)
        cards[SELECT, name] = [weights.with_suffix(".json")]
    monkeypatch.setattr(players, "_zoo", lambda: cards)
    assert shipped(SELECT) == ["heavy", "named", "plain"]
    assert policy_names(SELECT)[:3] == ["named", "plain", "random"]
    assert policy_names(SELECT, {"preset": "fixed_power"})[:2] == ["heavy", "random"]


def test_a_claim_is_judged_by_retrained_weights_where_they_are_given(tmp_path: Path) -> None:
    save(tmp_path, 5)
    one = play("some_policy", SELECT, needs_weights=True, max_episode_steps=2)
    module = "sixgym.leaderboard.claims.ris_noma"
    found = _attempt(module, one, 2, {"some_policy": str(tmp_path)})
    assert not isinstance(found, str)
    assert found.runs[0].training_seed == 5
    assert _attempt(module, one, 2, None) == (
        "no shipped weights of some_policy for sixgym/RisNomaSelect-v0"
    )
