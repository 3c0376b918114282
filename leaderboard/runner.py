"""Playing tasks: one row with `evaluate`, a whole board with `benchmark`."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

import sixgym
from sixgym.envs.core.errors import OptionsError, PolicyError
from sixgym.envs.core.guest_rows import GuestRows
from sixgym.envs.core.make import make_vector_env
from sixgym.envs.core.registry import entry
from sixgym.envs.core.rollout import Episodes, Policy, rollout
from sixgym.leaderboard.players import Member, Player, find_player, kwargs_of, reference_of
from sixgym.leaderboard.protocol import EPISODES, Task, make_task
from sixgym.leaderboard.splits import TRAIN, parts_of, why_not
from sixgym.leaderboard.store import Result, file_name, load_all, run_of, save

if TYPE_CHECKING:
    from sixgym.agents.engine import Engine
    from sixgym.envs.core.vector_view import SixgymVectorEnv
    from sixgym.leaderboard.table import Display

ROWS = 256
"""Episodes played side by side: the chunk in which eager batches are fastest."""

Progress = Callable[[int, int], None]
"""Called with (episodes ended, episodes in all)."""


def make_rows(id: str, rows: int, kwargs: Mapping[str, Any]) -> SixgymVectorEnv:
    """The native vector environment of an id with its registered time limit, or a guest's rows.

    Args:
        id: registered.
        rows: episodes side by side.
        kwargs: parameters, and what `sixgym.envs.core.make.make_system` takes; also
            ``max_episode_steps``.
    """
    found = entry(id)
    if found.is_guest:
        return cast("SixgymVectorEnv", GuestRows(found, rows, kwargs))
    merged = {"max_episode_steps": found.max_episode_steps, **kwargs}
    return make_vector_env(found.system, rows, **merged)


def task_of(
    id: str,
    *,
    episodes: int = EPISODES,
    seed: int | None = None,
    params: Mapping[str, Any] | None = None,
) -> Task:
    """The task of an environment.

    Args:
        id: registered.
        episodes: how many.
        seed: row seed of the first episode; None is the protocol's evaluation world.
        params: what differs from the defaults. What the entry of the environment says of
            evaluations (data held back for judging) is added unless it is given here.

    Raises:
        OptionsError: no episodes.
    """
    if episodes < 1:
        raise OptionsError(f"episodes={episodes!r}: allowed: at least 1")
    if seed is not None and seed < 0:
        raise OptionsError(f"seed={seed!r}: allowed: at least 0")
    typed = {**entry(id).evaluation, **(params or {})}
    env = make_rows(id, 1, typed)
    return make_task(
        id,
        env.system,
        horizon=env.rows.max_episode_steps,
        reference=reference_of(id),
        params=typed,
        episodes=episodes,
        seed=seed,
    )


def evaluate(
    id: str,
    policy: str | Policy = "random",
    *,
    episodes: int = EPISODES,
    seed: int | None = None,
    rows: int = ROWS,
    deterministic: bool = True,
    progress: Progress | None = None,
    **params: Any,
) -> Result:
    """Play one policy's episodes.

    Args:
        id: registered environment.
        policy: name of a baseline or of shipped weights, path of weights, or an object with
            ``predict``.
        episodes: how many; the board's number by default.
        seed: row seed of the first episode; None is the protocol's evaluation world.
        rows: episodes side by side; changes the speed, and the numbers by rounding only.
        deterministic: the policy's best action rather than a sample; trained policies that are
            meant to be sampled are sampled anyway.
        progress: see `Progress`; counts the episodes of all training seeds.
        **params: parameters of the environment, as for ``gym.make``.

    Raises:
        UnknownIdError: no such environment or policy.
        ParamsError: a parameter is unknown or out of range.
        PolicyError: the policy returned something that is not an action.
    """
    task = task_of(id, episodes=episodes, seed=seed, params=params)
    return play(
        task,
        find_player(id, policy),
        rows=rows,
        deterministic=deterministic,
        progress=progress,
    )


def play(
    task: Task,
    player: Player,
    *,
    full: bool = True,
    rows: int = ROWS,
    deterministic: bool = True,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Result:
    """A player's row of a task: each of its members plays the episodes.

    Args:
        task: what is played.
        player: who plays.
        full: all of the task's episodes; false asks only for the first of them if it is slow.
        rows: episodes side by side.
        deterministic: see `evaluate`.
        progress: see `Progress`.
        clock: tells the time in seconds.
    """
    seeds = task.seeds[: episodes_of(task, player, full=full)]
    runs = []
    for place, member in enumerate(player.members):
        tell = None if progress is None else _shifted(progress, place, len(player.members))
        episodes = play_member(
            task,
            player,
            member,
            seeds,
            rows=rows,
            deterministic=deterministic,
            progress=tell,
            clock=clock,
        )
        runs.append(
            run_of(
                episodes,
                training_seed=member.training_seed,
                training_steps=member.training_steps,
                weights=member.weights,
                curve=member.curve,
            )
        )
    return Result(task=task, policy=player.card, runs=runs, versions=versions())


def episodes_of(task: Task, player: Player, *, full: bool) -> int:
    """How many of a task's episodes a player has to play; see `play`."""
    return task.episodes if full or player.cost == "fast" else task.slow_episodes


def play_member(
    task: Task,
    player: Player,
    member: Member,
    seeds: NDArray[np.int64],
    *,
    rows: int = ROWS,
    deterministic: bool = True,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Episodes:
    """Some episodes of a task, played by one member of a player.

    Args:
        task: what is played.
        player: who plays.
        member: with which weights.
        seeds: row seeds of the episodes, those of the task or some of them.
        rows: episodes side by side, at most as many as there are.
        deterministic: see `evaluate`.
        progress: see `Progress`.
        clock: tells the time in seconds.
    """
    with _rows_for(player, task, min(rows, len(seeds))) as env:
        return rollout(
            env,
            member.make(env.system),
            seeds,
            deterministic=deterministic and member.deterministic,
            progress=progress,
            clock=clock,
        )


@contextmanager
def _rows_for(player: Player, task: Task, rows: int) -> Iterator[SixgymVectorEnv]:
    """The environment that a player acts in.

    Raises:
        PolicyError: its horizon is not the task's, so its episodes could not be paired.
    """
    card = player.card
    env = make_rows(card.env_id, rows, kwargs_of(player, task))
    if env.rows.max_episode_steps != task.horizon:
        raise PolicyError(
            f"policy {card.name}: acts in {card.env_id} with a horizon of "
            f"{env.rows.max_episode_steps}; allowed: the task's {task.horizon}"
        )
    try:
        yield env
    finally:
        env.close()


def _shifted(progress: Progress, place: int, members: int) -> Progress:
    """Progress of one member told as progress of all."""

    def tell(ended: int, total: int) -> None:
        progress(place * total + ended, members * total)

    return tell


def versions() -> dict[str, str]:
    """What the numbers were made with: where all of it is the same, they are to the last bit."""
    import gymnasium
    import torch

    return {
        "gymnasium": gymnasium.__version__,
        "machine": machine(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "sixgym": sixgym.__version__,
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
    }


def machine() -> str:
    """Class of the machine: system, architecture, processor, and the instructions torch uses.

    Matrix products choose their kernels, hence the order of their sums, by all of these.
    """
    import torch

    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{platform.system()} {platform.machine()}, {_processor()}, {instructions}"


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    table = Path("/proc/cpuinfo")
    for line in table.read_text(errors="replace").splitlines() if table.is_file() else ():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown processor"


def benchmark(
    ids: str | Sequence[str],
    output: Path | str,
    *,
    policies: Sequence[str] | None = None,
    episodes: int | None = None,
    seed: int | None = None,
    full: bool = False,
    splits: str = TRAIN,
    rows: int = ROWS,
    resume: bool = False,
    quiet: bool = False,
    probe: bool = False,
    engine: Engine = "local",
    workers: int | None = None,
    **params: Any,
) -> list[Result]:
    """Play every policy of some environments on the same episodes, store the rows, print the table.

    Each row is stored as soon as it is played, so an interrupted benchmark goes on with
    ``resume=True`` where it was.

    Args:
        ids: one environment or several.
        output: results folder; see `sixgym.leaderboard.store`.
        policies: names (or paths of weights); None is those of `policy_names`.
        episodes: how many each; None is the protocol's number, of which slow policies play the
            first `sixgym.leaderboard.protocol.SLOW_EPISODES`.
        seed: row seed of the first episode; None is the protocol's evaluation world.
        full: slow policies play all of the protocol's episodes too.
        splits: ``train`` is the task that agents train for; ``held_out``, ``generalisation`` and
            ``all`` are further tasks, see `sixgym.leaderboard.splits`. A policy that cannot play
            one of those (its network is of other sizes) is left out of it, and that is said.
        rows: episodes side by side.
        resume: keep rows of the same task that are there already.
        quiet: print nothing.
        probe: also time single decisions, see `sixgym.leaderboard.latency`; and ask of each task
            whether it is a contextual bandit, see `sixgym.leaderboard.bandit`.
        engine: ``ray`` plays rows on Ray; see `sixgym.agents.engine.run_jobs`. All numbers but the
            times are those of ``local``.
        workers: rows played at a time. ``local``: 1, and None, play in this process.
        **params: parameters of the environments.

    Raises:
        UnknownIdError: no such environment or policy.
        OptionsError: two policies have one name; no such engine, number of workers or split; or
            parameters were given for a split, which has its own.
        ResultError: a stored row that is to be kept is malformed.
    """
    from sixgym.leaderboard.jobs import play_apart
    from sixgym.leaderboard.table import Display

    full = full or episodes is not None
    size = EPISODES if episodes is None else episodes
    jobs = []
    left_out = []
    for id, changed, is_split in _tasks(ids, splits, params):
        task = task_of(id, episodes=size, seed=seed, params=changed)
        if probe:
            task = with_bandit(task)
        names = list(policies) if policies is not None else policy_names(id, params)
        players = [find_player(id, name) for name in names]
        _check_names(players)
        for player in players:
            reason = why_not(task, player) if is_split else ""
            if reason:
                left_out.append(f"{id}, {_told(changed)}: {player.card.name} left out: {reason}")
            else:
                jobs.append((task, player))
    kept = {}
    if resume and Path(output).is_dir():
        kept = {result.file_name: result for result in load_all(output)}
    found = {}
    missing = []
    for task, player in jobs:
        name = file_name(task, player.card)
        old = kept.get(name)
        enough = episodes_of(task, player, full=full)
        if old is not None and old.task.agrees(task) and old.episodes >= enough:
            found[name] = old
        else:
            missing.append((task, player))
    missing.sort(key=lambda pair: pair[1].cost == "fast")  # the longest first: none is left alone
    with Display(sys.stdout, quiet=quiet) as display:
        for line in left_out:
            display.say(line)
        how: dict[str, Any] = {"full": full, "rows": rows, "probe": probe}
        if engine == "local" and workers in (None, 1):
            played = _play_here(missing, display, **how)
        else:
            played = play_apart(missing, display, **how, engine=engine, workers=workers)
        for result in played:
            save(result, output)
            found[result.file_name] = result
        results = [found[file_name(task, player.card)] for task, player in jobs]
        display.boards(results)
    return results


def _play_here(
    pairs: Sequence[tuple[Task, Player]], display: Display, *, full: bool, rows: int, probe: bool
) -> Iterator[Result]:
    """Rows as they are played, one after another, in this process."""
    for task, player in pairs:
        with display.task(task.env_id, player.card.name) as progress:
            result = play(task, player, full=full, rows=rows, progress=progress)
        yield with_latency(result, player) if probe else result


def _tasks(
    ids: str | Sequence[str], splits: str, params: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """The tasks of a benchmark: id, parameters, and whether it is one to generalise to.

    Raises:
        OptionsError: no such split, or one of its own parameters and others.
    """
    if splits != TRAIN and params:
        raise OptionsError(f"splits={splits!r}: allowed without other parameters ({_told(params)})")
    for id in [ids] if isinstance(ids, str) else ids:
        for part in parts_of(id, splits):
            yield id, {**part.params, **params}, part.split != TRAIN


def _told(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in params.items())


def with_latency(result: Result, player: Player) -> Result:
    """A row with the times of single decisions of its first run."""
    from sixgym.leaderboard.latency import decision_latency

    first, *others = result.runs
    timed = first.model_copy(update={"latency": decision_latency(player, result.task)})
    return result.model_copy(update={"runs": [timed, *others]})


def with_bandit(task: Task) -> Task:
    """A task that says whether it is a contextual bandit."""
    from sixgym.leaderboard.bandit import is_bandit

    return task.model_copy(update={"is_bandit": is_bandit(task)})


def _check_names(players: Sequence[Player]) -> None:
    """Two rows of one name would overwrite each other."""
    names = [player.card.name for player in players]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise OptionsError(f"policies: two are called {twice[0]!r}; allowed: different names")


def policy_names(id: str, params: Mapping[str, Any] | None = None) -> list[str]:
    """Every policy that a benchmark of an environment plays.

    Args:
        id: registered.
        params: of the task; a preset is a task of its own.

    Returns:
        The shipped weights that were trained in that preset, then all baselines.
    """
    from sixgym.baselines.policy import load_baselines
    from sixgym.leaderboard.players import shipped

    return [*shipped(id, (params or {}).get("preset")), *load_baselines(id)]
