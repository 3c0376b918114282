"""The process that plays a submission: limits first, then everything else.

Started by `sixgym.leaderboard.submissions.sandbox` as ``python -m``, with the path of a job. The
limits are set before torch or ONNX Runtime are loaded (so this module lies outside the package of
submissions, which loads them), and before any file of the submission is opened.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.system",
    "pty.",
    "webbrowser.",
)
"""Audited events of Python that a play has no use for. [standard: Python, "Audit events table"]"""

NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
"""Flags of Linux's ``unshare``: namespaces of users, and of networks."""


def leave_network() -> bool:
    """Move into a network of its own, in which there is nothing; false where that is not possible.

    Needs Linux with namespaces for everybody, and a process that has no threads yet.
    """
    import ctypes

    try:
        return bool(ctypes.CDLL(None).unshare(NEW_USER | NEW_NETWORK) == 0)
    except (OSError, AttributeError):
        return False


def forbid_events() -> None:
    """Refuse what Python audits and a play has no use for: sockets and other processes.

    This holds for what is done through Python's own library; what a library did by itself would
    only be held by `leave_network`.
    """

    def hook(event: str, _: tuple[Any, ...]) -> None:
        if event.startswith(FORBIDDEN):
            raise PermissionError(f"{event} is not allowed here")

    sys.addaudithook(hook)


def limit(cpu_s: int, memory_bytes: int, file_bytes: int) -> bool:
    """Set the process's limits; false where the system has none (Windows)."""
    try:
        import resource
    except ImportError:
        return False
    for what, value in (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (value, value))
    return True


def main(job_path: str) -> int:
    """Play the job and write the row, or why there is none."""
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    answer = Path(job["answer"])
    alone = leave_network()
    limited = limit(job["cpu_s"], job["memory_bytes"], job["file_bytes"])
    told: dict[str, Any] = {"own_network": alone, "limited": limited}
    try:
        told["row"] = _play(job)
    except MemoryError:
        told["error"] = "out of memory"
    except Exception as error:
        from sixgym.envs.core.errors import SixgymError

        known = isinstance(error, SixgymError)
        told["error"] = str(error) if known else f"{type(error).__name__}: {error}"
    answer.write_text(json.dumps(told), encoding="utf-8")
    return 0 if "row" in told else 1


def _play(job: dict[str, Any]) -> str:
    """The row of a submission, as it is stored."""
    import torch

    import sixgym  # noqa: F401 - registers the environments
    from sixgym.leaderboard.protocol import Task
    from sixgym.leaderboard.runner import play
    from sixgym.leaderboard.store import dumps
    from sixgym.leaderboard.submissions.player import player_of
    from sixgym.leaderboard.submissions.schema import Received, read_manifest

    torch.set_num_threads(job["threads"])
    folder = Path(job["folder"])
    forbid_events()  # after the imports, which ask the system about itself
    manifest = read_manifest(job["manifest"])
    received = Received(manifest, folder, job["sha256"])
    task = Task.model_validate_json(json.dumps(job["task"]))
    player = player_of(received, job["origin"])
    return dumps(play(task, player, rows=job["rows"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
