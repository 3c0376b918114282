"""A benchmark by workers is the benchmark of one process, whatever happens to the workers."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sixgym.agents.engine import Done
from sixgym.envs.core.errors import OptionsError, SixgymError
from sixgym.leaderboard import benchmark, jobs
from sixgym.leaderboard.players import find_player
from sixgym.leaderboard.runner import task_of
from sixgym.leaderboard.store import Result, load_all
from sixgym.leaderboard.table import Display

MAC = "sixgym/LlmMac-v0"
NAMES = ["random", "aloha", "csma", "round_robin", "longest_queue"]
EPISODES = 64


def content(rows: list[Result]) -> list[Any]:
    """All of the rows but the times, and the threads of who played them."""
    found = [row.model_dump() for row in sorted(rows, key=lambda row: row.file_name)]
    for row in found:
        del row["versions"]["threads"]
        for run in row["runs"]:
            del run["timing"]
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("whole")
    return content(benchmark(MAC, folder, policies=NAMES, episodes=EPISODES, quiet=True))


@pytest.mark.slow
def test_rows_of_processes_are_those_of_this_process(
    whole: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = benchmark(MAC, tmp_path, policies=NAMES[:2], episodes=EPISODES, quiet=True)
    rows = benchmark(MAC, tmp_path, policies=NAMES, episodes=EPISODES, resume=True, workers=2)
    assert [row.policy.name for row in rows] == NAMES
    assert content(rows) == content(load_all(tmp_path)) == whole
    assert rows[:2] == first  # kept, times and all
    told = capsys.readouterr().out
    assert "(3 of 3)" in told
    assert "random (" not in told


def test_a_row_that_cannot_be_played_does_not_keep_the_others_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = jobs.row

    def some(planned: Any, **how: Any) -> Iterator[Done]:
        for place, job in enumerate(planned):
            value = good(**job.args) if place else None
            yield Done(job.key, value, None if place else "its process died")

    monkeypatch.setattr(jobs, "run_jobs", some)
    with pytest.raises(SixgymError, match=rf"1 of 2 rows not played: {MAC}: random: its process"):
        benchmark(MAC, tmp_path, policies=NAMES[:2], episodes=2, workers=2)
    assert [row.policy.name for row in load_all(tmp_path)] == NAMES[1:2]


def test_an_object_cannot_travel() -> None:
    class Mine:
        name = "mine"

        def predict(self, *_: Any, **__: Any) -> Any:
            raise AssertionError

    pair = (task_of(MAC, episodes=1), find_player(MAC, Mine()))
    with (
        Display(sys.stdout, quiet=True) as display,
        pytest.raises(OptionsError, match=r"mine is a Python object.*allowed: names and paths"),
    ):
        list(
            jobs.play_apart(
                [pair], display, full=True, rows=1, probe=False, engine="local", workers=2
            )
        )


@pytest.mark.slow
def test_a_node_killed_in_the_middle_changes_nothing(
    whole: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    store = {"object_store_memory": 100 * 2**20}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **store}
    )
    nodes = [cluster.add_node(num_cpus=1, **store) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    stored_then: list[int] = []

    def kill() -> None:
        while not list(tmp_path.rglob("*.json")):
            time.sleep(0.02)
        stored_then.append(len(list(tmp_path.rglob("*.json"))))
        cluster.remove_node(nodes[0], allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        rows = benchmark(MAC, tmp_path, policies=NAMES, episodes=EPISODES, engine="ray", quiet=True)
        killer.join(timeout=60)
        alive = [node.any_processes_alive() for node in nodes]
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert stored_then
    assert stored_then[0] < len(NAMES)  # it was the middle
    assert alive == [False, True]
    assert content(rows) == content(load_all(tmp_path)) == whole
