"""From a stranger's file to a stored row."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from sixgym.baselines.policy import load_baselines
from sixgym.envs.core.errors import SixgymError, SubmissionError, UnknownIdError
from sixgym.envs.core.registry import entry
from sixgym.leaderboard.players import shipped
from sixgym.leaderboard.protocol import EPISODES, Task
from sixgym.leaderboard.runner import make_rows, task_of
from sixgym.leaderboard.store import Result, file_name, save
from sixgym.leaderboard.submissions.files import receive
from sixgym.leaderboard.submissions.player import check_network, policy_card
from sixgym.leaderboard.submissions.sandbox import Isolation, Limits, judge
from sixgym.leaderboard.submissions.schema import Received


class Judged(NamedTuple):
    """A submission that was played: its row, where that is, and how it was kept apart."""

    result: Result
    path: Path
    isolation: Isolation


def submit(
    source: Path | str,
    output: Path | str,
    *,
    episodes: int = EPISODES,
    limits: Limits | None = None,
    replace: bool = False,
) -> Judged:
    """Check a submission, play it, and store its row beside those of the same task.

    Args:
        source: a folder or a zip.
        output: results folder.
        episodes: how many; the board's number by default.
        limits: what the play may take.
        replace: whether a row of the same name may be replaced.

    Raises:
        SubmissionError: it is not data that can be judged, or a name is taken.
    """
    with tempfile.TemporaryDirectory(prefix="sixgym-submission-") as folder:
        received = receive(source, folder)
        task = _task(received, episodes)
        row = Path(output) / file_name(task, policy_card(received, str(source)))
        if row.exists() and not replace:
            raise SubmissionError(f"{received.submission.name}: {row} is there; allowed: --replace")
        _check(received)
        result, isolation = judge(
            received, task, origin=str(source), limits=Limits() if limits is None else limits
        )
    return Judged(result, save(result, output), isolation)


def _check(received: Received) -> None:
    """Raise where the weights are not those of the network in the environment.

    Raises:
        SubmissionError: they are not, or the environment cannot be connected in this way.
    """
    said = received.submission
    try:
        env = make_rows(said.env, 1, {**entry(said.env).evaluation, **said.connection})
    except SixgymError as error:
        raise SubmissionError(f"{said.name}: env_kwargs: {error}") from None
    try:
        check_network(received, env.system)
    finally:
        env.close()


def _task(received: Received, episodes: int) -> Task:
    """The task of a submission, in which nobody else may have its name.

    Raises:
        SubmissionError: there is no such environment, or the name is one of ours.
    """
    said = received.submission
    try:
        entry(said.env)
    except UnknownIdError as error:
        raise SubmissionError(f"{said.name}: env: {error}") from None
    if said.name in {*load_baselines(said.env), *shipped(said.env)}:
        raise SubmissionError(f"name={said.name!r}: a policy that ships; allowed: another name")
    return task_of(said.env, episodes=episodes)
