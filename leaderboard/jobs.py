"""Rows as jobs, to be played or checked: each by a process of this machine or a worker of Ray."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixgym.agents.engine import Engine, Job, run_jobs
from sixgym.envs.core.errors import OptionsError, SixgymError
from sixgym.leaderboard.players import Player, find_player
from sixgym.leaderboard.protocol import Task
from sixgym.leaderboard.store import Result, dumps, file_name, loads
from sixgym.leaderboard.verify import Check, verify

if TYPE_CHECKING:
    from sixgym.leaderboard.table import Display


def play_apart(
    pairs: Sequence[tuple[Task, Player]],
    display: Display,
    *,
    full: bool,
    rows: int,
    probe: bool,
    engine: Engine,
    workers: int | None,
) -> Iterator[Result]:
    """Rows as they are played, by workers.

    A row that cannot be played does not keep the others from being played.

    Args:
        pairs: what is played, and who plays it.
        display: is told of each row.
        full: all episodes of each task, for slow policies too.
        rows: episodes side by side.
        probe: also time single decisions.
        engine: see `sixgym.agents.engine.run_jobs`.
        workers: see there.

    Raises:
        OptionsError: a policy is a Python object, which cannot travel.
        SixgymError: at the end, if there were rows that could not be played.
    """
    how = {"full": full, "rows": rows, "probe": probe}
    jobs = [_job(task, player, how) for task, player in pairs]
    names = [f"{task.env_id}: {player.card.name}" for task, player in pairs]
    named = dict(zip((job.key for job in jobs), names, strict=True))
    failed = []
    with display.task("all rows", engine) as tell:
        for count, done in enumerate(run_jobs(jobs, engine=engine, workers=workers), 1):
            if tell is not None:
                tell(count, len(jobs))
            if done.error is not None:
                failed.append(f"{named[done.key]}: {done.error}")
                continue
            display.say(f"{named[done.key]} ({count} of {len(jobs)})")
            yield loads(done.value)
    if failed:
        raise SixgymError(f"{len(failed)} of {len(jobs)} rows not played: {'; '.join(failed)}")


def row(task: str, policy: str, full: bool, rows: int, probe: bool) -> str:
    """A row of a board, as it is stored.

    Args:
        task: what is played, in JSON.
        policy: its name or path.
        full: all of the task's episodes, if it is slow too.
        rows: episodes side by side.
        probe: also time single decisions.
    """
    from sixgym.leaderboard.runner import play, with_latency

    what = Task.model_validate_json(task)
    player = find_player(what.env_id, policy)
    result = play(what, player, full=full, rows=rows)
    return dumps(with_latency(result, player) if probe else result)


def check_apart(
    files: Sequence[Path],
    display: Display,
    *,
    sample: int | None,
    seed: int,
    engine: Engine = "local",
    workers: int | None,
) -> list[Check]:
    """What comes of stored rows that workers play again, in the order of the files.

    Args:
        files: the rows; with Ray, where its workers can read them.
        display: is told of each row.
        sample: see `sixgym.leaderboard.verify.verify`.
        seed: see there.
        engine: see `sixgym.agents.engine.run_jobs`.
        workers: see there.
    """
    how = {"sample": sample, "seed": seed}
    call = "sixgym.leaderboard.jobs:check"
    jobs = [Job(str(file), call, {"path": str(file.absolute()), **how}) for file in files]
    found = {}
    with display.task("all rows", engine) as tell:
        for count, done in enumerate(run_jobs(jobs, engine=engine, workers=workers), 1):
            if tell is not None:
                tell(count, len(jobs))
            file = Path(done.key)
            if done.error is None:
                checked = Check(file, *done.value)
            else:
                checked = Check(file, "not playable", message=done.error)
            display.say(f"{'/'.join(file.parts[-3:])}: {checked.status} ({count} of {len(jobs)})")
            found[file] = checked
    return [found[file] for file in files]


def check(path: str, sample: int | None, seed: int) -> list[Any]:
    """What comes of one stored row that is played again: a `Check` less its path.

    Args:
        path: of the row.
        sample: see `sixgym.leaderboard.verify.verify`.
        seed: see there.
    """
    return list(verify(path, sample=sample, seed=seed)[1:])


def _job(task: Task, player: Player, how: Mapping[str, Any]) -> Job:
    card = player.card
    if card.source == "file" and not card.origin:
        raise OptionsError(
            f"policies: {card.name} is a Python object, which cannot travel to workers; "
            "allowed: names and paths"
        )
    args = {
        "task": task.model_dump_json(),
        "policy": card.origin or card.name,
        **how,
    }
    return Job(file_name(task, card), "sixgym.leaderboard.jobs:row", args)
