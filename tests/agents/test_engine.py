"""Jobs in this process and in others: the same answers, whatever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import agent_cases  # noqa: F401 - registers the toys
import pytest
import torch
from engine_jobs import is_running

from sixgym.agents.engine import Done, Job, run_jobs
from sixgym.envs.core import plugins
from sixgym.envs.core.errors import ConfigError, OptionsError


def job(key: str, name: str, **args: Any) -> Job:
    return Job(key, f"engine_jobs:{name}", args)


def answers(jobs: list[Job], **how: Any) -> dict[str, Done]:
    done = list(run_jobs(jobs, **how))
    assert sorted(d.key for d in done) == sorted(j.key for j in jobs)
    return {d.key: d for d in done}


def wait_until(holds: Any) -> None:
    limit = time.monotonic() + 60.0
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_processes_answer_as_this_process_does(tmp_path: Path) -> None:
    jobs = [
        job("sum", "add", a=1, b=0.1),
        job("text", "echo", value={"ö": [None, True, "\n"], "long": "x" * 200_000}),
        job("tiny", "echo", value=5e-324),
        job("loud", "print_much"),
        job("refused", "refuse"),
        job("failed", "fail", path=str(tmp_path / "calls")),
        job("left", "leave"),
        job("nowhere", "nothing"),
    ]
    here = answers(jobs, workers=1)
    assert here["sum"].value == [1, 1.1]
    assert here["text"].value == jobs[1].args["value"]
    assert here["refused"] == Done("refused", None, "spoon=3: allowed: a fork")
    assert here["failed"].error == "KeyError: 'spoon'"
    assert here["left"].error == "SystemExit: 3"
    assert "nothing" in (here["nowhere"].error or "")
    assert answers(jobs, workers=2) == here
    assert len((tmp_path / "calls").read_text().splitlines()) == 2  # once each: no second try


@pytest.mark.slow
def test_workers_know_what_is_registered_here_and_have_one_thread() -> None:
    jobs = [job("env", "doors", id="toy/Gate-v0"), job("threads", "threads")]
    before = torch.get_num_threads()
    here = answers(jobs, workers=1)
    assert torch.get_num_threads() == before
    assert here["threads"].value == 1
    assert here["env"].error is None
    assert answers(jobs, workers=2) == here


def test_a_worker_that_is_killed_costs_its_own_job_a_try_and_no_other(tmp_path: Path) -> None:
    jobs = [
        job("once", "die", path=str(tmp_path / "once"), times=1),
        *(job(f"sum{n}", "add", a=n, b=1) for n in range(6)),
        job("always", "die", path=str(tmp_path / "always"), times=99),
    ]
    found = answers(jobs, workers=2, retries=1)
    assert found["once"] == Done("once", "alive", None)
    assert [found[f"sum{n}"].value for n in range(6)] == [[n, n + 1] for n in range(6)]
    assert found["always"].value is None
    assert found["always"].error == (
        "its process died in each of 2 tries, the last time by SIGKILL"
    )
    assert len((tmp_path / "always").read_text().splitlines()) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_the_next_job_is_drawn_when_the_last_was_given_back(workers: int) -> None:
    told: list[float] = []

    def jobs() -> Iterator[Job]:
        for place in range(workers):
            yield job(f"first{place}", "add", a=0, b=1)
        while len(told) < 5:
            yield job(f"{len(told)}", "add", a=max(told), b=1)

    for done in run_jobs(jobs(), workers=workers):
        told += done.value[1:]
    assert max(told) >= 5 - workers
    assert told[0] == 1


def test_leaving_the_loop_ends_the_workers(tmp_path: Path) -> None:
    there, never = tmp_path / "there", tmp_path / "never"
    jobs = [job("stay", "wait", path=str(there), until=str(never)), job("sum", "add", a=1, b=1)]
    for done in run_jobs(jobs, workers=2):
        assert done.key == "sum"
        wait_until(there.exists)
        break
    (pid,) = map(int, there.read_text().split())
    wait_until(lambda: not is_running(pid))


DRIVE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from sixgym.agents.engine import Job, run_jobs
print(list(run_jobs([Job(name, "engine_jobs:wait", {"path": sys.argv[1], "until": sys.argv[2]})
                     for name in "ab"], workers=2)))
"""
"""As a user's script would be: without a guard against being imported again. Ctrl-C counts, though
the tests may run in the background of a shell, where it does not."""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_do_not_outlive_who_hands_out_the_jobs(how: signal.Signals, tmp_path: Path) -> None:
    script, there, never = tmp_path / "drive.py", tmp_path / "there", tmp_path / "never"
    script.write_text(DRIVE)
    process = subprocess.Popen(
        [sys.executable, str(script), str(there), str(never)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: there.exists() and len(there.read_text().splitlines()) == 2)
    pids = [int(pid) for pid in there.read_text().split()]
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert ("KeyboardInterrupt" in errors) == (how == signal.SIGINT)
    wait_until(lambda: not any(map(is_running, pids)))


def test_workers_import_what_the_user_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "guest_of_mine.py").write_text(
        "import gymnasium as gym\n"
        "gym.register('mine/Cart-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_IMPORTED", [])
    plugins.import_module("guest_of_mine")
    plugins.import_module("guest_of_mine")
    assert plugins.imported() == ["guest_of_mine"]
    (done,) = run_jobs([job("env", "doors", id="mine/Cart-v0")], workers=2)
    assert done == Done("env", 2, None)


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({"engine": "slurm"}, "engine='slurm': allowed: local, ray"),
        ({"workers": 0}, "workers=0: allowed: at least 1"),
        ({"retries": -1}, "retries=-1: allowed: at least 0"),
    ],
)
def test_wrong_arguments_are_told_before_anything_runs(how: dict[str, Any], what: str) -> None:
    with pytest.raises(OptionsError, match=what):
        run_jobs([job("sum", "add", a=1, b=1)], **how)


@pytest.mark.parametrize(
    ("jobs", "what"),
    [
        ([job("a", "leave"), job("a", "leave")], "two are called 'a'"),
        ([job("a", "echo", value={1, 2})], "job 'a': args: not JSON"),
    ],
)
def test_jobs_that_cannot_be_told_apart_or_sent_are_refused(jobs: list[Job], what: str) -> None:
    with pytest.raises(OptionsError, match=what):
        list(run_jobs(jobs, workers=1))


def test_nothing_to_do_is_nothing_done() -> None:
    assert list(run_jobs([], workers=2)) == []


def test_missing_ray_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"ray is not installed: pip install 'sixgym\[ray\]'"):
        run_jobs([], engine="ray")
