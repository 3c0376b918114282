"""Rows played again: the same numbers pass, one changed number is found and its row is named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sixgym.agents.policies import Architecture, NeuralPolicy, save_policy
from sixgym.cli.main import app
from sixgym.envs.core.errors import OptionsError, ResultError
from sixgym.envs.core.make import make_system
from sixgym.envs.core.registry import entry
from sixgym.leaderboard import benchmark, evaluate
from sixgym.leaderboard.protocol import TOLERANCE
from sixgym.leaderboard.runner import versions
from sixgym.leaderboard.store import load, save
from sixgym.leaderboard.verify import Check, compare, find_rows, verify

MAC, SELECT, HYBRID = "sixgym/LlmMac-v0", "sixgym/RisNomaSelect-v0", "sixgym/RisNoma-v0"
NAMES = ["random", "aloha", "csma"]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    benchmark(MAC, folder, policies=NAMES, episodes=8, quiet=True)
    return folder


@pytest.fixture
def row(board: Path, tmp_path: Path) -> Path:
    """A copy of the row of aloha."""
    shutil.copytree(board, tmp_path / "rows")
    return next((tmp_path / "rows").rglob("aloha.json"))


def change(row: Path, edit: Callable[[Any], None]) -> None:
    content = json.loads(row.read_text())
    edit(content)
    row.write_text(json.dumps(content))


def elsewhere(content: Any) -> None:
    """As if the row had been made on another machine."""
    content["versions"]["machine"] = "an abacus"


def test_rows_pass_to_the_last_bit(board: Path) -> None:
    for path in find_rows(board):
        found = verify(path)
        assert (found.status, found.episodes, found.largest) == ("equal", 8, 0.0), found.message
        assert found.passed


def test_the_row_records_what_bit_for_bit_depends_on(row: Path) -> None:
    assert load(row).versions == versions()
    assert set(versions()) >= {"torch", "numpy", "machine", "threads"}


def _next_float(content: Any) -> None:
    values = content["runs"][0]["sums"]["delay"]
    values[3] = float(np.nextafter(values[3], np.inf))


def _double(content: Any) -> None:
    content["runs"][0]["reward"][5] = 2.0 * content["runs"][0]["reward"][5] + 1.0


def _longer(content: Any) -> None:
    content["runs"][0]["length"][0] -= 1


def _steps(content: Any) -> None:
    content["runs"][0]["training_steps"] = 5


def _hash(content: Any) -> None:
    content["task"]["params_hash"] = "844d63e6" + "0" * 8


def _oracle(content: Any) -> None:
    content["policy"]["sees"] = "oracle"


def _unit(content: Any) -> None:
    content["task"]["scores"][1]["higher_is_better"] ^= True


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (_next_float, r"delay of episode 3 \(row seed \d+\): stored .*not bit for bit"),
        (_double, r"reward of episode 5"),
        (_longer, r"length of episode 0"),
        (_steps, r"runs\.0\.training_steps=5: now None"),
        (_hash, r"task\.params_hash="),
        (_oracle, r"policy\.sees='oracle': now 'observation'"),
        (_unit, r"task\.scores\.1\.higher_is_better"),
    ],
)
def test_one_changed_number_is_found(row: Path, edit: Callable[[Any], None], what: str) -> None:
    change(row, edit)
    found = verify(row)
    assert found.status == "deviates"
    assert not found.passed
    assert re.search(what, found.message), found.message


def test_elsewhere_a_rounding_is_within_the_tolerance(row: Path) -> None:
    change(row, elsewhere)
    change(row, _next_float)
    found = verify(row)
    assert found.status == "within"
    assert 0.0 < found.largest < 1e-15


@pytest.mark.parametrize("edit", [_double, _longer])
def test_elsewhere_a_changed_number_is_found_too(row: Path, edit: Callable[[Any], None]) -> None:
    change(row, elsewhere)
    change(row, edit)
    assert verify(row).status == "deviates"


def test_a_sample_plays_the_episodes_that_it_names(row: Path) -> None:
    found = verify(row, sample=3, seed=1)
    assert (found.status, found.episodes) == ("equal", 3)
    change(row, _double)  # of episode 5
    chosen = {seed: set(np.random.default_rng(seed).choice(8, 3, replace=False)) for seed in (0, 1)}
    for seed, places in chosen.items():
        assert (verify(row, sample=3, seed=seed).status == "deviates") == (5 in places)
    with pytest.raises(OptionsError, match="sample=0"):
        verify(row, sample=0)


def test_a_row_that_is_no_row_deviates(row: Path) -> None:
    change(row, lambda content: content["runs"][0]["reward"].pop())
    found = verify(row)
    assert found.status == "deviates"
    assert "reward" in found.message
    row.write_text("{")
    assert "not JSON" in verify(row).message


def test_rows_of_another_protocol_stay_what_they_were(row: Path) -> None:
    change(row, lambda content: content["task"].update(version=0))
    found = verify(row)
    assert (found.status, found.episodes) == ("other protocol", 0)
    assert found.passed


def test_a_policy_that_is_gone_is_named(row: Path) -> None:
    change(row, lambda content: content["policy"].update(name="aloha_prime"))
    found = verify(row)
    assert found.status == "not playable"
    assert "aloha_prime" in found.message
    assert not found.passed


def test_a_language_model_is_not_asked_again(row: Path) -> None:
    change(row, lambda content: content["policy"].update(origin="llm:model.yaml"))
    found = verify(row)
    assert found.status == "not playable"
    assert "language model" in found.message


def trained(folder: Path, seed: int) -> Path:
    system = make_system(entry(SELECT).system)
    torch.manual_seed(seed)
    policy = NeuralPolicy(
        Architecture(hidden=[8], activation="tanh", head="distribution"),
        system.observation_space,
        system.action_space,
    )
    about = {"name": f"mine/{seed}", "seed": seed, "algorithm": "ppo"}
    return save_policy(policy, folder / f"mine-{seed}", env=SELECT, about=about)


def test_weights_that_are_not_here_are_told_from_wrong_numbers(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    for seed in (0, 1):
        trained(weights, seed)
    benchmark(
        SELECT,
        tmp_path / "rows",
        policies=[str(weights)],
        episodes=3,
        quiet=True,
        max_episode_steps=3,
    )
    (path,) = find_rows(tmp_path / "rows")
    found = verify(path)
    assert (found.status, found.episodes) == ("equal", 6), found.message
    trained(weights, 1)
    (weights / "mine-1.csv").write_text("step,energy_efficiency_bit_per_j\n0,1.0\n")
    assert "runs.1.curve" in verify(path).message
    (weights / "mine-1.csv").unlink()
    other = trained(tmp_path / "other", 2)
    for kind in (".safetensors", ".json"):
        shutil.copy(other.with_suffix(kind), weights / f"mine-1{kind}")
    gone = verify(path)
    assert gone.status == "no weights"
    assert "training seed 1" in gone.message
    shutil.rmtree(weights)
    assert verify(path).status == "no weights"


def test_a_few_flipped_decisions_pass_elsewhere_but_not_many(row: Path) -> None:
    """Rounding may turn single decisions, hence single episodes; not more than the tolerance."""
    stored = load(row)
    run = stored.runs[0]
    places = np.arange(8)
    gap = compare(stored, run, run, places)
    assert gap.is_equal
    assert gap.changed == gap.score == 0.0
    reward = [2.0 * v + 1.0 for v in run.reward]
    gap = compare(stored, run, run.model_copy(update={"reward": reward}), places)
    assert gap.changed == 1.0
    assert not TOLERANCE.allows(8, gap.changed, 0.0)


@pytest.mark.parametrize(
    ("episodes", "changed", "score", "wanted"),
    [
        (8, 0, 1e-3, True),
        (8, 1, 0.0, False),  # 2 % of 8 is 0.16, and two deviations 0.8: none
        (48, 2, 1e-3, True),  # 0.96 + 1.96
        (48, 3, 0.0, False),
        (256, 9, 5e-4, True),  # 5.12 + 4.53
        (256, 10, 0.0, False),
        (256, 0, 6e-4, False),
    ],
)
def test_the_tolerance_knows_how_many_episodes_there_are(
    episodes: int, changed: int, score: float, wanted: bool
) -> None:
    assert TOLERANCE.allows(episodes, changed / episodes, score) is wanted


def test_a_row_that_rounding_leads_elsewhere_is_held_to_its_averages(tmp_path: Path) -> None:
    """At fixed power the optimum of a slot jumps, and with it the queue: float64 changes nearly
    every episode by more than the tolerance, and its mean hardly."""
    short: dict[str, Any] = {"episodes": 8, "max_episode_steps": 24}
    benchmark(HYBRID, tmp_path, policies=["fixed_power"], quiet=True, **short)
    (path,) = find_rows(tmp_path)
    exact = evaluate(HYBRID, "fixed_power", dtype="float64", **short).runs[0]
    sums = dict(exact.sums)

    def other_build(content: Any) -> None:
        elsewhere(content)
        content["runs"][0].update(reward=exact.reward, sums=sums)

    change(path, other_build)
    found = verify(path)
    assert found.status == "diverges", found
    assert found.changed >= 0.5
    change(path, lambda c: c["runs"][0].update(reward=[2.0 * v for v in exact.reward]))
    assert verify(path).status == "deviates"


def test_the_command_names_the_row_and_exits_with_1(row: Path) -> None:
    root = str(row.parents[2])
    good = CliRunner().invoke(app, ["leaderboard", "verify", "--all", "--results", root])
    assert good.exit_code == 0, good.output
    assert "3 rows: 3 equal" in good.output
    change(row, _double)
    bad = CliRunner().invoke(app, ["leaderboard", "verify", "--all", "--results", root])
    assert bad.exit_code == 1
    assert f"{row}: deviates: reward of episode 5" in bad.output
    assert "3 rows: 1 deviates, 2 equal" in bad.output
    one = ["leaderboard", "verify", "--policy", "csma", "--env", MAC, "--results", root]
    assert CliRunner().invoke(app, one).exit_code == 0
    assert CliRunner().invoke(app, ["leaderboard", "verify", str(row)]).exit_code == 1


def test_nothing_to_verify_is_an_error(board: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no rows"):
        find_rows(board, policies=["nobody"])
    with pytest.raises(ResultError, match="no such row"):
        find_rows(board, paths=[tmp_path / "nothing.json"])
    found = CliRunner().invoke(app, ["leaderboard", "verify"])
    assert isinstance(found.exception, OptionsError)


def test_a_row_may_move(board: Path, tmp_path: Path) -> None:
    """Verified by its content: where it lies is the store's business."""
    source = next(board.rglob("csma.json"))
    assert verify(shutil.copy(source, tmp_path / "renamed.json")).status == "equal"
    assert save(load(source), tmp_path).read_text() == source.read_text()


def test_checks_say_whether_they_passed() -> None:
    path = Path("row.json")
    passed = {"equal": True, "within": True, "other protocol": True, "deviates": False}
    for status, wanted in passed.items():
        assert Check(path, status).passed is wanted  # type: ignore[arg-type]
