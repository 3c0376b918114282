"""A submission's play in a process of its own: limits, no network, and an end in any case."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from sixgym.envs.core.errors import ResultError, SubmissionError
from sixgym.leaderboard.protocol import Task
from sixgym.leaderboard.runner import ROWS
from sixgym.leaderboard.store import Result, loads
from sixgym.leaderboard.submissions.player import policy_card
from sixgym.leaderboard.submissions.schema import MANIFEST, Received

FILE_BYTES = 64 * 1024**2
"""What the process may write into one file."""

MOST_ANSWER = 256 * 1024**2
"""What is read of its answer."""


class Limits(NamedTuple):
    """What a play may take.

    Attributes:
        wall_s: time after which it is stopped.
        cpu_s: time of the processor, of all threads.
        memory_bytes: of addresses, of which a library takes more than of memory.
        threads: of torch.
    """

    wall_s: float = 1800.0
    cpu_s: int = 1800
    memory_bytes: int = 8 * 1024**3
    threads: int = 1


class Isolation(NamedTuple):
    """What held during a play.

    Attributes:
        own_network: it was in a network of its own, without any connection; else only Python's
            own sockets were refused.
        limited: the limits of time and memory were the system's own.
    """

    own_network: bool
    limited: bool

    def __str__(self) -> str:
        network = "none" if self.own_network else "Python's sockets refused (no namespaces here)"
        limits = "held by the system" if self.limited else "of wall time only"
        return f"network: {network}; limits: {limits}"


def judge(
    received: Received,
    task: Task,
    *,
    origin: str,
    limits: Limits = Limits(),  # noqa: B008 - a tuple of numbers
    rows: int = ROWS,
) -> tuple[Result, Isolation]:
    """Play a submission's episodes of a task.

    Args:
        received: the submission, checked.
        task: what is played.
        origin: where it came from, as it was typed.
        limits: what it may take.
        rows: episodes side by side.

    Raises:
        SubmissionError: it cannot be played, gave no action, or took more than it may.
    """
    with tempfile.TemporaryDirectory(prefix="sixgym-judge-") as scratch:
        job, answer = Path(scratch, "job.json"), Path(scratch, "answer.json")
        content = {
            "answer": str(answer),
            "cpu_s": limits.cpu_s,
            "file_bytes": FILE_BYTES,
            "folder": str(received.folder.resolve()),
            "manifest": (received.folder / MANIFEST).read_text(encoding="utf-8"),
            "memory_bytes": limits.memory_bytes,
            "origin": origin,
            "rows": rows,
            "sha256": received.sha256,
            "task": task.model_dump(mode="json"),
            "threads": limits.threads,
        }
        job.write_text(json.dumps(content), encoding="utf-8")
        code, said = _run(job, scratch, limits)
        told = _answer(answer)
    if told is None or "row" not in told:
        raise SubmissionError(_reason(received, told, code, said, limits))
    return _row(received, task, origin, told), Isolation(
        own_network=told.get("own_network") is True, limited=told.get("limited") is True
    )


def _run(job: Path, scratch: str, limits: Limits) -> tuple[int | None, str]:
    """Run the worker; its exit status (None: it was stopped) and the last it said."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH")}
    threads = str(limits.threads)
    environment = {
        **kept,
        "HOME": scratch,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": "1",  # a process with threads cannot leave the network
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": scratch,
    }
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "sixgym.leaderboard.worker", str(job)],
        cwd=scratch,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=limits.wall_s)
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        _stop(process)
    return process.returncode, errors.decode("utf-8", "replace").strip()[-300:]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs, and all that it started."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)  # it leads a group of its own
    else:
        process.kill()
    process.communicate()


def _answer(path: Path) -> dict[str, Any] | None:
    """What the worker wrote; None where that is nothing that can be read."""
    try:
        if path.stat().st_size > MOST_ANSWER:
            return None
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def _reason(
    received: Received, told: dict[str, Any] | None, code: int | None, said: str, limits: Limits
) -> str:
    """Why there is no row."""
    name = received.submission.name
    if code is None:
        return f"{name}: stopped after {limits.wall_s:g} s of wall time"
    if told is not None and isinstance(told.get("error"), str):
        return f"{name}: {told['error'].removeprefix(f'{name}: ')}"
    if code in (-signal.SIGXCPU, -signal.SIGKILL) and code < 0:
        return f"{name}: stopped: allowed: {limits.cpu_s} s of the processor"
    last = said.splitlines()[-1] if said else "nothing said"
    return (
        f"{name}: ended with status {code} within {limits.memory_bytes / 1024**3:g} GiB "
        f"of memory: {last}"
    )


def _row(received: Received, task: Task, origin: str, told: dict[str, Any]) -> Result:
    """The row, which must be of this task and of this submission.

    Raises:
        SubmissionError: it is of another.
    """
    name = received.submission.name
    try:
        row = loads(str(told["row"]))
    except ResultError as error:
        raise SubmissionError(f"{name}: its row is no row: {error}") from None
    hashes = [received.sha256[w.file] for w in received.submission.weights]
    is_its_own = (
        row.task == task
        and row.policy == policy_card(received, origin)
        and [run.weights for run in row.runs] == hashes
    )
    if not is_its_own:
        raise SubmissionError(f"{name}: its row is of another task or policy")
    return row
