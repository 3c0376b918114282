"""Submissions are played in a process of their own: honest ones score, others end in an error."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from submitting import SELECT, honest, model, network, onnx_manifest, write, zipped
from typer.testing import CliRunner

from sixgym.cli.main import app
from sixgym.envs.core.errors import SubmissionError
from sixgym.leaderboard import evaluate
from sixgym.leaderboard.store import load
from sixgym.leaderboard.submissions import Limits, submit
from sixgym.leaderboard.submissions.sandbox import Isolation
from sixgym.leaderboard.verify import verify

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def shipped() -> Any:
    """What the weights that ship score, the first of their seeds."""
    return evaluate(SELECT, "ppo", episodes=4).runs[0]


def test_honest_weights_score_as_they_do_here(tmp_path: Path, shipped: Any) -> None:
    source = zipped(honest(tmp_path / "mine"), tmp_path / "mine.zip")
    rows = tmp_path / "rows"
    arguments = ["leaderboard", "submit", str(source), "--results", str(rows), "--episodes", "4"]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.output
    (path,) = rows.rglob("*.json")
    assert path.name == "my_ppo.json"
    row = load(path)
    assert row.policy.source == "submission"
    assert row.policy.origin == str(source)
    assert "submitted by A. Tester" in row.policy.description
    assert row.runs[0].sums == shipped.sums
    assert row.runs[0].training_steps == 520000
    again = verify(path)
    assert (again.status, again.episodes) == ("equal", 4), again.message
    taken = CliRunner().invoke(app, arguments)
    assert isinstance(taken.exception, SubmissionError)
    assert "--replace" in str(taken.exception)
    source.unlink()
    assert verify(path).status == "no weights"


def can_leave_network() -> bool:
    """Whether this machine has namespaces for everybody, by the system's own command."""
    command = shutil.which("unshare")
    if command is None:
        return False
    return subprocess.run([command, "--user", "--net", "true"], capture_output=True).returncode == 0


def test_an_honest_graph_scores_alike(tmp_path: Path, shipped: Any) -> None:
    source = write(tmp_path / "mine", onnx_manifest(), net__onnx=network())
    judged = submit(source, tmp_path / "rows", episodes=4)
    assert judged.result.runs[0].reward == pytest.approx(shipped.reward, rel=1e-3)
    assert judged.isolation.limited
    assert judged.isolation.own_network == can_leave_network()


def test_what_kept_it_apart_is_said() -> None:
    assert "network: none" in str(Isolation(own_network=True, limited=True))
    assert "Python's sockets refused" in str(Isolation(own_network=False, limited=True))


def test_a_graph_that_eats_memory_ends_in_an_error(tmp_path: Path) -> None:
    """Forty doublings: a terabyte from a hundred numbers."""
    nodes = [
        onnx.helper.make_node("Concat", [f"x{i}", f"x{i}"], [f"x{i + 1}"], axis=0)
        for i in range(40)
    ]
    nodes.insert(0, onnx.helper.make_node("Identity", ["observation"], ["x0"]))
    nodes.append(onnx.helper.make_node("Neg", ["x40"], ["action"]))
    source = write(tmp_path / "mine", onnx_manifest(), net__onnx=model(nodes))
    # A build of torch for GPUs maps gigabytes of libraries before anything is played.
    enough = 3 * 2**29 if torch.version.cuda is None else 6 * 2**30
    with pytest.raises(SubmissionError, match=r"my_onnx: .*(memory|alloc|status)"):
        submit(source, tmp_path / "rows", episodes=2, limits=Limits(memory_bytes=enough))
    assert not (tmp_path / "rows").exists()


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (Limits(wall_s=0.3), r"stopped after 0\.3 s of wall time"),
        (Limits(cpu_s=1), "stopped: allowed: 1 s of the processor"),
    ],
)
def test_a_play_without_end_is_ended(limits: Limits, what: str, tmp_path: Path) -> None:
    began = time.monotonic()
    source = honest(tmp_path / "mine")
    with pytest.raises(SubmissionError, match=what):
        submit(source, tmp_path / "rows", episodes=256, limits=limits)
    assert time.monotonic() - began < 60.0
    assert not (tmp_path / "rows").exists()


NETWORK = """
import socket, subprocess, sys
from sixgym.leaderboard.worker import forbid_events, leave_network
listening = socket.create_server(("127.0.0.1", 0))
port = listening.getsockname()[1]
alone = leave_network()
def reached():
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        return True
    except PermissionError:
        return "refused"
    except OSError:
        return False
print(alone, reached() if alone else "-")
forbid_events()
print(reached())
try:
    subprocess.run([sys.executable, "--version"])
    print("ran")
except PermissionError:
    print("refused")
"""


def test_there_is_no_network_and_no_other_process() -> None:
    """By a server of our own, which is there before and cannot be reached after."""
    done = subprocess.run(
        [sys.executable, "-c", NETWORK], capture_output=True, text=True, check=True
    )
    first, second, third = done.stdout.split("\n")[:3]
    assert first in ("True False", "False -")
    assert second == "refused"
    assert third == "refused"
