"""A benchmark that is killed loses the row it was at and nothing else: resumed, the board is whole.

The process is killed by SIGKILL, which it can neither catch nor delay.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sixgym.leaderboard import benchmark
from sixgym.leaderboard.board import make_boards
from sixgym.leaderboard.store import Result, load_all

MAC = "sixgym/LlmMac-v0"
NAMES = ["random", "aloha", "csma", "round_robin", "longest_queue"]

PLAY = f"""
import os, sys, time
from pathlib import Path
from sixgym.leaderboard import benchmark, runner, store

folder, moment, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
stored = lambda: len(list(folder.rglob("*.json")))

def stop():
    (folder / "here").write_text("")
    time.sleep(600)

sync, play = os.fsync, runner.play
def slow_sync(handle):
    if moment == "writing" and stored() == number:
        stop()
    sync(handle)
def slow_play(task, player, **kwargs):
    seen = 0
    def progress(ended, total):
        if moment == "playing" and stored() == number:
            stop()
    return play(task, player, **{{**kwargs, "progress": progress}})

os.fsync, runner.play = slow_sync, slow_play
benchmark({MAC!r}, folder, policies={NAMES!r}, episodes=16, quiet=True)
"""
"""Plays until a moment, says that it is there, and waits: while an episode goes on, or when all of
a row is written but its name."""


def content(rows: list[Result]) -> list[Any]:
    """All of the rows but the times."""
    found = [row.model_dump() for row in sorted(rows, key=lambda row: row.file_name)]
    for row in found:
        for run in row["runs"]:
            del run["timing"]
    return found


def table(rows: list[Result]) -> list[Any]:
    """The board less its times."""
    (board,) = make_boards(rows)
    return [row._replace(decision_s=0.0, step_s=0.0) for row in board.rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    folder = tmp_path_factory.mktemp("whole")
    return benchmark(MAC, folder, policies=NAMES, episodes=16, quiet=True)


@pytest.mark.parametrize(
    ("moment", "number"), [("playing", 0), ("writing", 1), ("playing", 3), ("writing", 4)]
)
def test_killed_and_resumed_it_is_the_same_board(
    moment: str, number: int, whole: list[Result], tmp_path: Path
) -> None:
    script = tmp_path / "play.py"
    script.write_text(PLAY)
    folder = tmp_path / "rows"
    folder.mkdir()
    process = subprocess.Popen([sys.executable, str(script), str(folder), moment, str(number)])
    while not (folder / "here").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    left = load_all(folder)  # nothing half: every row that is there can be read
    assert len(left) == number
    assert bool(list(folder.rglob("*.part"))) == (moment == "writing")
    resumed = benchmark(MAC, folder, policies=NAMES, episodes=16, quiet=True, resume=True)
    assert content(load_all(folder)) == content(resumed) == content(whole)
    assert table(resumed) == table(whole)
    kept = {row.file_name: row for row in left}
    assert all(kept.get(row.file_name, row) == row for row in resumed)  # times and all
