"""What is asked of a task and of a policy beside the scores: a bandit? how long to decide?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sixgym.leaderboard import benchmark
from sixgym.leaderboard.bandit import is_bandit
from sixgym.leaderboard.latency import LEAST, decision_latency
from sixgym.leaderboard.players import find_player
from sixgym.leaderboard.runner import task_of
from sixgym.leaderboard.store import load_all

MAC = "sixgym/LlmMac-v0"


@pytest.mark.parametrize(
    ("name", "params", "wanted"),
    [
        ("EventOffload", {}, True),  # every slot has its budget
        ("EventOffload", {"budget_mode": "battery"}, False),  # a battery has a past
        ("NetGptThreshold", {"max_episode_steps": 40}, True),
        ("RisNoma", {}, False),  # queues
        ("LlmMac", {}, False),
    ],
)
def test_a_contextual_bandit_is_told_from_what_has_a_past(
    name: str, params: dict[str, Any], wanted: bool
) -> None:
    assert is_bandit(task_of(f"sixgym/{name}-v0", params=params)) is wanted


def test_decisions_are_timed_at_the_sizes_that_are_asked_for() -> None:
    ticks = iter(range(10_000_000))
    found = decision_latency(
        find_player(MAC, "aloha"),
        task_of(MAC),
        sizes=(1, 8),
        limit_s=0.0,
        clock=lambda: next(ticks) / 1000,
    )
    assert [one.rows for one in found] == [1, 8]
    assert all(one.calls == LEAST for one in found)
    assert all(one.median_s == pytest.approx(0.001) for one in found)  # a tick from call to call
    assert all(one.p99_s == pytest.approx(0.001) for one in found)


def test_a_solver_that_takes_seconds_is_timed_once_and_alone() -> None:
    ticks = iter(range(10_000_000))
    found = decision_latency(
        find_player(MAC, "aloha"), task_of(MAC), sizes=(1, 8), clock=lambda: float(next(ticks))
    )
    assert [(one.rows, one.calls, one.median_s) for one in found] == [(1, 1, 1.0)]


def test_a_benchmark_stores_both_where_it_is_asked_to(tmp_path: Path) -> None:
    benchmark(MAC, tmp_path, policies=["aloha"], episodes=2, quiet=True, probe=True)
    (row,) = load_all(tmp_path)
    assert row.task.is_bandit is False
    assert [one.rows for one in row.runs[0].latency] == [1, 1024]
    assert row.runs[0].latency[0].median_s > 0.0
    kept = benchmark(MAC, tmp_path, policies=["aloha"], episodes=2, quiet=True, resume=True)
    assert kept == [row]
