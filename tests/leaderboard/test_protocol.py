"""The rules of a board: slow policies, training budgets, what is untuned, and splits."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sixgym.agents.config import TrainConfig, parse
from sixgym.agents.config import shipped as configurations
from sixgym.agents.policies import Architecture, NeuralPolicy, save_policy
from sixgym.baselines.policy import load_baselines
from sixgym.cli.main import app
from sixgym.envs.core.errors import OptionsError, ResultError
from sixgym.envs.core.make import make_system
from sixgym.envs.core.registry import SPLITS, entries, entry, register
from sixgym.leaderboard import benchmark, players, runner, stats
from sixgym.leaderboard.board import UNTUNED, make_board, make_boards
from sixgym.leaderboard.players import find_player
from sixgym.leaderboard.protocol import EPISODES, SLOW_EPISODES, TRAINING_STEPS, Task
from sixgym.leaderboard.runner import task_of
from sixgym.leaderboard.splits import ALL, NONE, TRAIN, left_out, parts_of, split_of, why_not
from sixgym.leaderboard.store import PolicyCard, Result, Run, Timing, dumps, load, loads
from sixgym.leaderboard.table import board_table, footnote
from sixgym.leaderboard.verify import verify

MAC, SELECT = "sixgym/LlmMac-v0", "sixgym/RisNomaSelect-v0"
OURS = [e.id for e in entries() if e.id.startswith("sixgym/")]

TASK = Task(
    env_id="toy/Thing-v3",
    version=1,
    params_hash="0123456789abcdef",
    horizon=5,
    first_seed=7,
    episodes=EPISODES,
    scores=[
        {  # type: ignore[list-item]
            "name": "gain",
            "unit": "1",
            "numerator": "reward",
            "denominator": "episodes",
            "higher_is_better": True,
        }
    ],
    random="random",
    reference="best",
    training_budget=1000,
)
WORLDS = np.random.default_rng(5).normal(size=EPISODES)
"""What the luck of each world adds to any policy's reward."""


def row(
    name: str,
    mean: float,
    *,
    episodes: int = EPISODES,
    steps: int | None = None,
    ranked: bool = True,
    noise: int = 1,
) -> Result:
    """A row whose episodes have a mean, and the worlds' luck."""
    own = 0.1 * np.random.default_rng(noise).normal(size=EPISODES)
    reward = (mean + WORLDS + own)[:episodes]
    timing = Timing(
        rows=1, decision_median_s=0.0, decision_p99_s=0.0, step_median_s=0.0, slot_mean_s=0.0
    )
    run = Run(
        training_seed=None if steps is None else 0,
        training_steps=steps,
        reward=reward.tolist(),
        length=[5] * episodes,
        sums={},
        timing=timing,
    )
    card = PolicyCard(
        name=name,
        source="baseline" if steps is None else "zoo",
        kind="heuristic" if steps is None else "learned",
        sees="observation",
        description="For the test.",
        env_id=TASK.env_id,
        ranked=ranked,
    )
    return Result(task=TASK, policy=card, runs=[run])


# --- slow policies --------------------------------------------------------------------------------


def test_a_row_holds_all_episodes_or_the_first_32() -> None:
    assert row("slow", 1.0, episodes=SLOW_EPISODES).episodes == SLOW_EPISODES == 32
    assert loads(dumps(row("slow", 1.0, episodes=32))).episodes == 32
    with pytest.raises(ValueError, match=r"runs\.0 has 31 episodes, the task 256, or 32 if it is"):
        row("chosen", 1.0, episodes=31)
    whole, part = row("one", 1.0), row("one", 1.0, episodes=32)
    content = json.loads(dumps(whole))
    content["runs"] += json.loads(dumps(part))["runs"]
    with pytest.raises(ResultError, match=r"runs\.1 has 32 episodes, runs\.0 256"):
        loads(json.dumps(content))


def test_a_slow_policy_is_compared_on_the_episodes_that_it_played() -> None:
    """Its 32 worlds were kind: against all 256 of the others the luck would count as skill."""
    rand, best = row("random", 0.0, noise=2), row("best", 2.0, noise=3)
    slow = row("slow", 1.0, episodes=32)
    board = make_board([rand, best, slow])
    by_name = {r.policy.name: r for r in board.rows}
    found = by_name["slow"]
    assert (found.episodes, by_name["best"].episodes) == (32, 256)
    first = best.sample().numerator[:, :32].mean()
    assert found.to_best is not None
    assert found.to_best.value == pytest.approx(slow.sample().value - first)
    assert found.normalised is not None
    assert found.normalised.value == pytest.approx(0.5, abs=0.05)
    assert found.improvement is not None
    assert found.improvement.value < 0.05
    scored = board.entry("slow")
    assert scored is not None
    assert {s.numerator.shape for s in scored} == {(1, 32)}
    whole = board.entry("random")
    assert whole is not None
    assert whole.one.numerator.shape == (1, 256)


def test_a_slow_reference_normalises_on_its_episodes() -> None:
    board = make_board([row("random", 0.0, noise=2), row("best", 2.0, episodes=32, noise=3)])
    assert [r.normalised.value for r in board.rows if r.normalised] == [1.0, 0.0]


def test_common_is_the_shortest_prefix() -> None:
    one, other = stats.sample(np.arange(6.0)), stats.sample(np.arange(8.0).reshape(2, 4))
    cut = stats.common([one, other])
    assert [s.numerator.shape for s in cut] == [(1, 4), (2, 4)]
    assert cut[0].numerator.tolist() == [[0.0, 1.0, 2.0, 3.0]]


def test_the_table_shows_n_where_policies_differ() -> None:
    from rich.console import Console

    def printed(*rows: Result) -> str:
        stream = io.StringIO()
        Console(width=80, file=stream).print(board_table(make_board(list(rows))))
        return stream.getvalue()

    fast = row("random", 0.0)
    text = printed(fast, row("slow", 1.0, episodes=32))
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert lines["policy"][1] == "n"
    assert (lines["slow"][1], lines["random"][1]) == ("32", "256")
    assert " n " not in printed(fast, row("other", 1.0))
    board = make_board([fast, row("slow", 1.0, episodes=32)])
    assert "slow policies play the first episodes" in footnote(board)


@pytest.fixture
def slow_aloha(monkeypatch: pytest.MonkeyPatch) -> None:
    """In which aloha says that it is slow."""
    own = replace(load_baselines(MAC)["aloha"], cost="slow")

    def found(id: str) -> Any:
        return {**load_baselines(id), "aloha": own}

    monkeypatch.setattr(players, "load_baselines", found)


@pytest.mark.usefixtures("slow_aloha")
def test_a_benchmark_asks_slow_policies_for_fewer_episodes(tmp_path: Path) -> None:
    names = ["random", "aloha"]
    few = benchmark(MAC, tmp_path, policies=names, quiet=True)
    assert [r.episodes for r in few] == [256, 32]
    assert few[0].task == few[1].task == task_of(MAC)
    file = tmp_path / few[1].file_name
    assert verify(file).status == "equal"
    kept = benchmark(MAC, tmp_path, policies=names, quiet=True, resume=True)
    assert kept == few
    whole = benchmark(MAC, tmp_path, policies=names, quiet=True, resume=True, full=True)
    assert [r.episodes for r in whole] == [256, 256]
    assert whole[0] == few[0]
    assert verify(file).status == "equal"
    # The first episodes of the whole row are those of the short one, to rounding.
    assert whole[1].runs[0].reward[:32] == pytest.approx(few[1].runs[0].reward, rel=1e-3)
    # What has more than is asked for is kept.
    assert benchmark(MAC, tmp_path, policies=names, quiet=True, resume=True) == whole
    asked = benchmark(MAC, tmp_path / "asked", policies=["aloha"], episodes=40, quiet=True)
    assert asked[0].episodes == 40


def test_fewer_episodes_of_a_fast_policy_deviate(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request.getfixturevalue("slow_aloha")
    (short,) = benchmark(MAC, tmp_path, policies=["aloha"], quiet=True)
    monkeypatch.undo()
    found = verify(tmp_path / short.file_name)
    assert found.status == "deviates"
    assert found.message == "episodes=32: allowed for aloha, which is not slow: 256"


def test_what_is_slow_says_so() -> None:
    slow = {(id, n) for id in OURS for n, b in load_baselines(id).items() if b.cost == "slow"}
    assert ("sixgym/TwinSync-v0", "hierarchical") in slow
    assert ("sixgym/TwinRound-v0", "brute_force") in slow
    # What scores are normalised by should not be, lest all are normalised on a few episodes.
    assert not {(id, runner.reference_of(id)) for id in OURS} & slow


# --- training budgets and what is untuned ---------------------------------------------------------


def test_a_policy_that_trained_for_too_long_ranks_below() -> None:
    rows = [
        row("random", 0.0),
        row("best", 2.0),
        row("kept", 1.0, steps=1000),
        row("long", 3.0, steps=1001),
    ]
    board = make_board(rows)
    assert [r.policy.name for r in board.rows] == ["best", "kept", "random", "long"]
    assert board.rows[-1].over_training
    assert board.rows[-1].is_ranked
    assert board.rows[-1].remarks == ["over budget: 1,001 training steps"]
    assert [r.remarks for r in board.rows[:-1]] == [[], [], []]
    assert board.best_learned == "kept"
    unsaid = [
        r.model_copy(update={"task": TASK.model_copy(update={"training_budget": None})})
        for r in rows
    ]
    assert make_board(unsaid).rows[0].policy.name == "long"
    assert make_board([*unsaid[:3], rows[3]]).rows[-1].policy.name == "long"


def test_the_budget_is_each_seeds_own() -> None:
    seeds = row("seeds", 1.0, steps=900)
    seeds = seeds.model_copy(update={"runs": seeds.runs * 3})
    found = make_board([seeds]).rows[0]
    assert (found.training_steps, found.most_steps, found.over_training) == (2700, 900, False)


def test_the_protocol_says_its_budget_and_what_ships_keeps_it() -> None:
    assert task_of(SELECT).training_budget == TRAINING_STEPS
    for id in OURS:
        for name in players.shipped(id):
            steps = [m.training_steps or 0 for m in find_player(id, name).members]
            assert max(steps) <= TRAINING_STEPS, name


def test_the_untuned_stand_below_the_ranking() -> None:
    rows = [
        row("random", 0.0),
        row("best", 2.0),
        row("tuned", 1.0, steps=10),
        row("untuned", 3.0, steps=10, ranked=False),
        row("both", 4.0, steps=2000, ranked=False),
    ]
    board = make_board(rows)
    assert [r.policy.name for r in board.rows] == ["best", "tuned", "random", "untuned", "both"]
    assert [r.is_ranked for r in board.rows] == [True, True, True, False, False]
    assert board.rows[3].remarks == [UNTUNED] == ["untuned, one seed"]
    assert board.rows[4].remarks == ["over budget: 2,000 training steps", UNTUNED]
    assert board.best_learned == "tuned"
    assert make_board([rows[0], rows[3]]).best_learned is None
    cells = list(board_table(board).columns[0].cells)
    assert cells[3] == "untuned x1 untuned"
    assert cells[1] == "tuned x1"


def trained(folder: Path, **config: Any) -> Path:
    """Random weights with a card that says by which configuration they were trained."""
    system = make_system(entry(SELECT).system)
    torch.manual_seed(0)
    architecture = Architecture(hidden=[8], activation="tanh", head="distribution")
    policy = NeuralPolicy(architecture, system.observation_space, system.action_space)
    about = {"name": "mine/0", "seed": 0, "algorithm": "ppo"}
    about["config"] = {"total_steps": 1000, **config}
    save_policy(policy, folder / "mine-0", env=SELECT, env_kwargs={}, about=about)
    return folder / "mine-0.json"


def test_a_card_says_whether_it_is_untuned_or_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = {"plain": {}, "untuned": {"untuned": True}, "slow": {"cost": "slow"}}
    zoo = {(SELECT, n): [trained(tmp_path / n, **c)] for n, c in cases.items()}
    monkeypatch.setattr(players, "_zoo", lambda: zoo)
    found = {name: find_player(SELECT, name) for name in cases}
    assert {n: p.card.ranked for n, p in found.items()} == {
        "plain": True,
        "untuned": False,
        "slow": True,
    }
    assert {n: p.cost for n, p in found.items()} == {
        "plain": "fast",
        "untuned": "fast",
        "slow": "slow",
    }
    # Somebody's own weights are theirs to rank.
    assert find_player(SELECT, str(zoo[SELECT, "untuned"][0])).card.ranked


# --- splits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", OURS)
def test_every_environment_has_playable_splits(id: str) -> None:
    """Parameters exist, tasks differ, and those that scores are normalised by can play them."""
    parts = parts_of(id, ALL)
    assert parts[0] == (TRAIN, "", {})
    assert {part.split for part in parts} == {TRAIN, *SPLITS}
    tasks = [task_of(id, episodes=2, params=part.params) for part in parts]
    assert len({task.params_hash for task in tasks}) == len(tasks)
    for part, task in zip(parts, tasks, strict=True):
        assert split_of(task) == part
        assert split_of(Task.model_validate_json(task.model_dump_json())) == part
        for name in (task.random, task.reference):
            assert name is not None
            assert why_not(task, find_player(id, name)) == ""


def test_nobody_trained_in_what_is_held_out() -> None:
    trained_in: dict[str, set[Any]] = {}
    for name, file in configurations().items():
        raw = parse(file.read_text(encoding="utf-8"), name)
        if "total_steps" in raw:  # not the recipe of a tool
            config = TrainConfig.create({"name": "any", **raw})
            presets = trained_in.setdefault(config.env, set())
            presets |= {config.preset, config.env_kwargs.get("preset")}
    assert len(trained_in) > 5
    for id in OURS:
        held_out = {part.params.get("preset") for part in parts_of(id, "held_out")}
        assert None not in held_out
        assert not held_out & trained_in.get(id, set())


def test_a_task_of_no_split_is_of_none() -> None:
    assert split_of(task_of(SELECT, params={"num_users": 3})) == NONE
    assert split_of(TASK) == NONE  # of an environment that is not here
    assert make_board([row("random", 0.0)]).split == ""


def test_networks_of_other_sizes_are_left_out_with_the_reason() -> None:
    (six,) = (p for p in parts_of(SELECT, "generalisation") if p.variant == "six_users")
    found = left_out(task_of(SELECT, params=six.params))
    assert "ppo" in found
    assert found["ppo"].startswith("observation space")  # no path of this machine
    assert not set(found) & set(load_baselines(SELECT))


def test_a_benchmark_of_a_split_leaves_out_who_cannot_play(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["random", "ppo"]
    rows = benchmark(SELECT, tmp_path, policies=names, episodes=1, splits="generalisation")
    boards = {(b.split, b.variant): b for b in make_boards(rows)}
    variants = list(entry(SELECT).splits["generalisation"])
    assert set(boards) == {("generalisation", v) for v in variants}
    assert set(boards["generalisation", "high_load"].results) == set(names)
    assert set(boards["generalisation", "six_users"].results) == {"random"}
    assert f"{SELECT}, num_users=6: ppo left out: observation space" in capsys.readouterr().out
    assert len({r.task.folder for r in rows}) == len(variants)
    assert verify(tmp_path / rows[-1].file_name).status == "equal"


@pytest.mark.parametrize("id", [id for id in OURS if "EventOffload" in id])
def test_held_back_data_stays_held_back_in_a_split(id: str) -> None:
    tasks = [task_of(id, episodes=2, params=part.params) for part in parts_of(id, ALL)]
    assert {task.params["split"] for task in tasks} == {"test"}


def test_wrong_splits_are_one_line_errors(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="split='tomorrow': allowed: train, held_out"):
        benchmark(SELECT, tmp_path, policies=["random"], splits="tomorrow")
    with pytest.raises(OptionsError, match="splits='held_out': allowed without other parameters"):
        benchmark(SELECT, tmp_path, policies=["random"], splits="held_out", num_users=2)
    with pytest.raises(OptionsError, match="splits='tomorrow': allowed: held_out, generalisation"):
        register(
            "toy/Split-v0",
            "sixgym.envs.ris_noma:RisNoma",
            max_episode_steps=5,
            splits={"tomorrow": {}},
        )


def test_the_command_takes_a_split(tmp_path: Path) -> None:
    words = f"benchmark --env {SELECT} --policy random --episodes 2 --split held_out"
    done = CliRunner().invoke(app, [*words.split(), "--results", str(tmp_path)])
    assert done.exit_code == 0, done.output
    stored = [load(path) for path in tmp_path.rglob("*.json")]
    assert {split_of(r.task).split for r in stored} == {"held_out"}
    bad = CliRunner().invoke(app, [*words.split()[:-1], "mine", "--results", str(tmp_path)])
    assert bad.exit_code == 2


# --- verify in processes --------------------------------------------------------------------------


@pytest.mark.slow  # starts two processes a time
def test_workers_find_what_one_process_finds(tmp_path: Path) -> None:
    benchmark(MAC, tmp_path, policies=["random", "aloha", "csma"], episodes=4, quiet=True)
    command = ["leaderboard", "verify", "--all", "--workers", "2", "--results", str(tmp_path)]
    good = CliRunner().invoke(app, command)
    assert good.exit_code == 0, good.output
    assert "3 rows: 3 equal" in good.output
    path = next(tmp_path.rglob("csma.json"))
    content = json.loads(path.read_text())
    content["runs"][0]["reward"][1] += 0.5
    path.write_text(json.dumps(content))
    bad = CliRunner().invoke(app, command)
    assert bad.exit_code == 1
    assert f"{path}: deviates: reward of episode 1" in bad.output
    assert "3 rows: 1 deviates, 2 equal" in bad.output


def test_a_row_is_checked_on_as_many_threads_as_it_was_made(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    (row,) = benchmark(MAC, tmp_path, policies=["random"], episodes=2, quiet=True)
    path = tmp_path / row.file_name
    content = json.loads(path.read_text())
    content["versions"]["threads"] = "3"
    path.write_text(json.dumps(content))
    found = verify(path, progress=lambda *_: seen.append(torch.get_num_threads()))
    assert set(seen) == {3}
    assert found.status == "equal"
    assert torch.get_num_threads() == before
