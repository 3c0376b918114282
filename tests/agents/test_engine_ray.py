"""Jobs on Ray: the answers of this process, also when a node dies under them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import agent_cases  # noqa: F401 - registers the toys
import pytest
from engine_jobs import is_running

from sixgym.agents.engine import Done, Job, run_jobs
from sixgym.envs.core.errors import ConfigError

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that runs nothing, and two nodes of one core each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    store = 100 * 2**20
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": store, "include_dashboard": False},
    )
    for _ in range(2):
        made.add_node(num_cpus=1, object_store_memory=store)
    ray.init(address=made.address, log_to_driver=False, logging_level="error")
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_node_that_dies_costs_a_try(cluster: Any, tmp_path: Path) -> None:
    started, go = tmp_path / "started", tmp_path / "go"
    nodes = {node.node_id: node for node in cluster.worker_nodes}
    killed: list[str] = []

    def kill() -> None:
        while not (started.exists() and len(started.read_text().splitlines()) == 2):
            time.sleep(0.05)
        node, pid = started.read_text().splitlines()[0].split()
        killed.append(node)
        cluster.remove_node(nodes[node], allow_graceful=False)
        while is_running(int(pid)):  # its worker outlives it by moments
            time.sleep(0.05)
        go.touch()

    args = {"path": str(started), "until": str(go)}
    jobs = [Job(f"wait{n}", "engine_jobs:node", args) for n in range(2)]
    jobs += [Job(f"sum{n}", "engine_jobs:add", {"a": n, "b": 0.1}) for n in range(8)]
    jobs += [Job("env", "engine_jobs:doors", {"id": "toy/Gate-v0"})]
    killer = threading.Thread(target=kill)
    killer.start()
    found = {done.key: done for done in run_jobs(jobs, engine="ray")}
    killer.join()
    assert set(found) == {job.key for job in jobs}
    assert [done.error for done in found.values()] == [None] * len(jobs)
    survivors = set(nodes) - set(killed)
    assert {found["wait0"].value, found["wait1"].value} == survivors
    assert len(started.read_text().splitlines()) == 3  # one of them began twice
    assert all(found[f"sum{n}"].value == [n, n + 0.1] for n in range(8))
    assert ray.is_initialized()  # it was not ours to shut down


def test_without_a_cluster_one_is_started_and_shut_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    jobs = [
        Job("once", "engine_jobs:die", {"path": str(tmp_path / "once"), "times": 1}),
        Job("always", "engine_jobs:die", {"path": str(tmp_path / "always"), "times": 99}),
        Job("failed", "engine_jobs:fail", {"path": str(tmp_path / "failed")}),
        Job("threads", "engine_jobs:threads", {}),
    ]
    found = {done.key: done for done in run_jobs(jobs, engine="ray", workers=1, retries=1)}
    assert found["once"] == Done("once", "alive", None)
    assert (found["always"].error or "").startswith("WorkerCrashedError")
    assert found["failed"].error == "KeyError: 'spoon'"
    assert len((tmp_path / "failed").read_text().splitlines()) == 1
    assert found["threads"].value == 1
    assert not ray.is_initialized()


def test_no_ray_at_the_address_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"RAY_ADDRESS='127\.0\.0\.1:9': no Ray there") as caught:
        list(run_jobs([Job("a", "engine_jobs:leave", {})], engine="ray"))
    assert "\n" not in str(caught.value)
