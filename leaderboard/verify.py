"""Playing stored rows again: does a row say what its seeds give?

Everything of a row is compared but the times: the task with the environment as it is now, the card
with the policy of that name, the weights, and then what every episode summed up to. Where the row
was made with the same versions on the same class of machine, the sums must be the same to the last
bit; elsewhere they must agree within the protocol's `TOLERANCE`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.agents.runs import torch_threads
from sixgym.envs.core.errors import OptionsError, ResultError, SixgymError
from sixgym.leaderboard.players import LANGUAGE_MODEL, Member, Player, find_player
from sixgym.leaderboard.protocol import TOLERANCE, VERSION, ScoreSpec, Task, Tolerance
from sixgym.leaderboard.runner import episodes_of, play_member, task_of, versions
from sixgym.leaderboard.stats import paired_difference
from sixgym.leaderboard.store import Result, Run, load, run_of

Status = Literal[
    "equal", "within", "diverges", "deviates", "no weights", "not playable", "other protocol"
]
"""``equal``: to the last bit. ``within``: the tolerance. ``diverges``: beyond it, and so is the row
when it is played in float64: rounding alone leads its episodes elsewhere, and its scores agree as
closely as so many episodes can tell. ``deviates``: none of these, or something else of the row is
not what it was. ``no weights``: those it was played with are not here. ``not playable``: its
environment or its policy is not here, or fails. ``other protocol``: of another version, which stays
what it was and is not played."""

PASSED: tuple[Status, ...] = ("equal", "within", "diverges", "other protocol")
"""What is no fault."""

MOST = 0.5
"""Share of episodes from which on a row is said to diverge."""

MOST_THREADS = 256
"""More than that a row is not believed to have been played on."""

FLOAT64 = {"dtype": "float64"}
"""The argument of an environment whose physics is to be played more exactly."""

Floats = NDArray[np.float64]

Progress = Callable[[int, int], None]
"""Called with (episodes ended, episodes in all)."""


class Check(NamedTuple):
    """What came of one row.

    Attributes:
        path: of the row.
        status: see `Status`.
        episodes: how many were played again, those of all training seeds.
        largest: largest relative difference of an episode's sum; NaN where none was played.
        changed: share of the episodes with a sum beyond the tolerance.
        score: largest relative difference of a score.
        message: what is wrong, and where.
    """

    path: Path
    status: Status
    episodes: int = 0
    largest: float = float("nan")
    changed: float = float("nan")
    score: float = float("nan")
    message: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong with the row."""
        return self.status in PASSED


class Gap(NamedTuple):
    """How far a stored run and one played again are apart.

    Attributes:
        largest: see `Check`.
        changed: see `Check`.
        score: see `Check`.
        where: the column and the seed of the largest difference, or the score.
        is_equal: to the last bit.
    """

    largest: float
    changed: float
    score: float
    where: str
    is_equal: bool


def find_rows(
    root: Path | str,
    *,
    paths: Sequence[Path] = (),
    ids: Sequence[str] = (),
    policies: Sequence[str] = (),
) -> list[Path]:
    """Files of stored rows.

    Args:
        root: results folder.
        paths: rows, or folders of rows; none: all below ``root``.
        ids: only rows of these environments; none: of all.
        policies: only rows of these policies; none: of all.

    Raises:
        ResultError: a path is missing, or no row is left.
    """
    for path in paths or (Path(root),):
        if not path.exists():
            raise ResultError(f"{path}: no such row and no folder of rows")
    found = [
        file
        for path in (paths or (Path(root),))
        for file in ([path] if path.is_file() else sorted(path.rglob("*.json")))
    ]
    if ids or policies:
        found = [file for file in found if _is_wanted(file, ids, policies)]
    if not found:
        raise ResultError(f"no rows in {', '.join(map(str, paths or (root,)))} that are asked for")
    return found


def _is_wanted(file: Path, ids: Sequence[str], policies: Sequence[str]) -> bool:
    """Whether a row is of one of the environments and of one of the policies."""
    row = load(file)
    return (not ids or row.task.env_id in ids) and (not policies or row.policy.name in policies)


def verify(
    path: Path | str,
    *,
    sample: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Check:
    """Play a stored row again and compare.

    Args:
        path: of the row.
        sample: episodes to play, a random choice of them; None plays all. Fewer episodes make
            another batch, so that only the tolerance can be asked for. A policy that is sampled
            draws by its place in the batch and is played in full anyway.
        seed: of the choice.
        progress: see `Progress`; counts the episodes of all training seeds.

    Raises:
        OptionsError: no episodes are asked for.
    """
    if sample is not None and sample < 1:
        raise OptionsError(f"sample={sample}: allowed: at least 1 episode")
    file = Path(path)
    try:
        row = load(file)
    except ResultError as error:
        return Check(file, "deviates", message=str(error).removeprefix(f"{file}: "))
    task = row.task
    if task.version != VERSION:
        message = f"protocol {task.version}; this is protocol {VERSION}"
        return Check(file, "other protocol", message=message)
    if row.policy.origin.startswith(LANGUAGE_MODEL):
        message = "a language model behind a server, whose answers are not ours to repeat"
        return Check(file, "not playable", message=message)
    try:
        with torch_threads(_threads(row)):
            return _checked(file, row, sample, seed, progress)
    except _WeightsError as error:
        return Check(file, "no weights", message=str(error))
    except SixgymError as error:
        missing = bool(row.policy.origin) and not Path(row.policy.origin).exists()
        return Check(file, "no weights" if missing else "not playable", message=str(error))


def _threads(row: Result) -> int:
    """On how many threads a row was played: another number sums in another order. 1 if untold."""
    told = row.versions.get("threads", "")
    return int(told) if told.isdecimal() and 0 < int(told) <= MOST_THREADS else 1


def _checked(
    file: Path, row: Result, sample: int | None, seed: int, progress: Progress | None
) -> Check:
    """What comes of a row of this protocol.

    Raises:
        SixgymError: it cannot be played, or its weights are not here.
    """
    task = row.task
    fault = _task_fault(task)
    if fault:
        return Check(file, "deviates", message=fault)
    if row.policy.source == "submission":
        return _submitted(file, row)
    player = find_player(task.env_id, row.policy.origin or row.policy.name)
    members = [_member_of(run, player, row) for run in row.runs]
    fault = _card_fault(row, player, members) or _episodes_fault(row, player)
    if fault:
        return Check(file, "deviates", message=fault)
    return _played(file, row, player, members, sample, seed, progress)


def _episodes_fault(row: Result, player: Player) -> str:
    """Whether a row has fewer episodes than the protocol asks of its policy."""
    least = episodes_of(row.task, player, full=False)
    if row.episodes >= least:
        return ""
    return f"episodes={row.episodes}: allowed for {row.policy.name}, which is not slow: {least}"


class _WeightsError(SixgymError):
    """The weights of a row are not here."""


def _task_fault(task: Task) -> str:
    """What of a task is not as its environment has it now; empty where all is."""
    seed, episodes = task.first_seed, task.episodes
    now = task_of(task.env_id, episodes=episodes, seed=seed, params=task.params)
    return _first_difference("task", task.without_unsaid(now), now.without_unsaid(task))


def _card_fault(row: Result, player: Player, members: Sequence[Member]) -> str:
    """What a row says of its policy and its training that is not so; empty where all is."""
    card = player.card.model_copy(update={"origin": row.policy.origin})
    fault = _first_difference("policy", row.policy.model_dump(), card.model_dump())
    if fault:
        return fault
    for place, (run, member) in enumerate(zip(row.runs, members, strict=True)):
        stored = {
            "training_seed": run.training_seed,
            "training_steps": run.training_steps,
            "curve": [tuple(point) for point in run.curve],
        }
        known = {
            "training_seed": member.training_seed,
            "training_steps": member.training_steps,
            "curve": list(member.curve),
        }
        fault = _first_difference(f"runs.{place}", stored, known)
        if fault:
            return fault
    if len(members) != len(player.members):
        return f"runs={len(members)}: the policy has weights of {len(player.members)} seeds"
    return ""


def _first_difference(where: str, stored: object, known: object) -> str:
    """The first field in which two nested values differ, as a message; empty where none does."""
    if isinstance(stored, dict) and isinstance(known, dict):
        pairs = [(k, stored.get(k), known.get(k)) for k in sorted({*stored, *known})]
        found = (_first_difference(f"{where}.{k}", a, b) for k, a, b in pairs)
        return next((fault for fault in found if fault), "")
    if isinstance(stored, list) and isinstance(known, list) and len(stored) == len(known):
        triples = zip(stored, known, strict=True)
        found = (_first_difference(f"{where}.{i}", a, b) for i, (a, b) in enumerate(triples))
        return next((fault for fault in found if fault), "")
    return "" if stored == known else f"{where}={_short(stored)}: now {_short(known)}"


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _member_of(run: Run, player: Player, row: Result) -> Member:
    """Who played a run: the member with its weights, or the only one of what has none.

    Raises:
        _WeightsError: nobody has them.
    """
    for member in player.members:
        if member.weights == run.weights and (run.weights or len(player.members) == 1):
            return member
    have = ", ".join(member.weights[:8] or "none" for member in player.members)
    raise _WeightsError(
        f"weights {run.weights[:8] or 'none'} of training seed {run.training_seed} are not those "
        f"of {row.policy.name} here ({have})"
    )


def _played(
    file: Path,
    row: Result,
    player: Player,
    members: Sequence[Member],
    sample: int | None,
    seed: int,
    progress: Progress | None,
) -> Check:
    """Play all runs of a row again and compare them."""
    places = np.arange(row.episodes)
    if sample is not None and sample < row.episodes:
        draw = np.random.default_rng(seed).choice(row.episodes, sample, replace=False)
        places = np.sort(draw)
    must_equal = row.versions == versions()
    plays, gaps = [], []
    for number, (run, member) in enumerate(zip(row.runs, members, strict=True)):
        chosen = places if member.deterministic else np.arange(row.episodes)
        must_equal &= len(chosen) == row.episodes
        tell = None if progress is None else _shifted(progress, number, len(members))
        again = _play(row, player, member, chosen, run.timing.rows, tell)
        plays.append(again)
        gaps.append(compare(row, run, again, chosen))
    found = _verdict(file, plays, gaps, must_equal)
    drawn = not all(member.deterministic for member in members)
    beyond = found.status == "deviates" and not must_equal
    if beyond and not drawn and _diverges(row, player, members, plays, places):
        return found._replace(status="diverges")
    return found


def _verdict(file: Path, plays: Sequence[Run], gaps: Sequence[Gap], must_equal: bool) -> Check:
    """What the differences of all runs of a row come to, but for rows that diverge."""
    worst = max(gaps, key=lambda gap: (not gap.is_equal, gap.changed, gap.largest))
    found = Check(
        file,
        "equal",
        episodes=sum(len(again.reward) for again in plays),
        largest=max(gap.largest for gap in gaps),
        changed=max(gap.changed for gap in gaps),
        score=max(gap.score for gap in gaps),
        message=worst.where,
    )
    if all(gap.is_equal for gap in gaps):
        return found
    if must_equal:
        message = f"{worst.where}: not bit for bit, made with the same versions on such a machine"
        return found._replace(status="deviates", message=message)
    numbers = zip(plays, gaps, strict=True)
    if all(TOLERANCE.allows(len(p.reward), gap.changed, gap.score) for p, gap in numbers):
        return found._replace(status="within")
    return found._replace(status="deviates")


def _submitted(file: Path, row: Result) -> Check:
    """Play a submission's row again, apart from us as it was the first time; all its episodes.

    Raises:
        SubmissionError: it cannot be played.
    """
    from sixgym.leaderboard.submissions import judge, receive

    origin = row.policy.origin
    if not Path(origin).exists():
        raise _WeightsError(f"{origin}: no such submission")
    with tempfile.TemporaryDirectory(prefix="sixgym-submission-") as folder:
        received = receive(origin, folder)
        here = [received.sha256[w.file] for w in received.submission.weights]
        if here != [run.weights for run in row.runs]:
            raise _WeightsError(f"{origin}: other weights than those of the row")
        again, _ = judge(received, row.task, origin=origin)
    fault = _first_difference("policy", row.policy.model_dump(), again.policy.model_dump())
    for place, (run, other) in enumerate(zip(row.runs, again.runs, strict=True)):
        names = ("training_seed", "training_steps", "curve")
        stored, known = ({n: getattr(r, n) for n in names} for r in (run, other))
        fault = fault or _first_difference(f"runs.{place}", stored, known)
    if row.episodes != again.episodes:
        fault = fault or f"episodes={row.episodes}: allowed of a submission: {again.episodes}"
    if fault:
        return Check(file, "deviates", message=fault)
    places = np.arange(row.episodes)
    pairs = zip(row.runs, again.runs, strict=True)
    gaps = [compare(row, run, other, places) for run, other in pairs]
    return _verdict(file, again.runs, gaps, row.versions == again.versions)


def _play(
    row: Result,
    player: Player,
    member: Member,
    places: NDArray[np.int64],
    rows: int,
    progress: Progress | None = None,
) -> Run:
    """Some episodes of a row again."""
    seeds = row.task.seeds[places]
    return run_of(play_member(row.task, player, member, seeds, rows=rows, progress=progress))


def _diverges(
    row: Result,
    player: Player,
    members: Sequence[Member],
    plays: Sequence[Run],
    places: NDArray[np.int64],
) -> bool:
    """Whether rounding alone leads a row's episodes elsewhere, with the same scores on average.

    The episodes are played once more in float64. Where most of them change by that, what they sum
    up to is no function of their seeds alone, but of the build too.
    """
    exact = player.card.model_copy(update={"env_kwargs": {**player.card.env_kwargs, **FLOAT64}})
    exact_player = replace(player, card=exact)
    task = row.task.model_copy(update={"episodes": len(places)})
    for run, member, play in zip(row.runs, members, plays, strict=True):
        other = _play(row, exact_player, member, places, run.timing.rows)
        gap = compare(row, play, other, np.arange(len(places)))
        if gap.changed < MOST:
            return False
        kept = {name: column.tolist() for name, column in _columns(run, places).items()}
        old = run.model_copy(
            update={
                "reward": kept.pop("reward"),
                "length": [int(n) for n in kept.pop("length")],
                "sums": kept,
            }
        )
        sides = [row.model_copy(update={"task": task, "runs": [r]}) for r in (old, play)]
        for score in task.scores:
            try:
                less = paired_difference(*(side.sample(score) for side in sides))
            except ResultError:  # nothing to divide by
                continue
            if abs(less.value) > less.high - less.low:
                return False
    return True


def _shifted(progress: Progress, place: int, members: int) -> Progress:
    """Progress of one run told as progress of all."""

    def tell(ended: int, total: int) -> None:
        progress(place * total + ended, members * total)

    return tell


def compare(
    row: Result,
    run: Run,
    again: Run,
    places: NDArray[np.int64],
    tolerance: Tolerance = TOLERANCE,
) -> Gap:
    """How far a stored run and one played again are apart.

    A difference of an episode's sum is relative to the larger of that sum and the mean size of the
    column, so that a sum near zero among large ones is not held to the last bit; a score's is
    relative to the score of the sizes of its terms, for the same reason.

    Args:
        row: the row.
        run: of the row.
        again: what was played.
        places: which of the task's episodes those are.
        tolerance: beyond which an episode has changed.
    """
    stored, now = _columns(run, places), _columns(again)
    if stored.keys() != now.keys():
        odd = ", ".join(sorted(stored.keys() ^ now.keys()))
        return Gap(float("inf"), 1.0, float("inf"), f"sums: missing or unknown: {odd}", False)
    largest, where = 0.0, ""
    changed = np.zeros(len(places), dtype=bool)
    for name, old in stored.items():
        new = now[name]
        scale = np.maximum(np.abs(old), np.abs(old).mean())
        relative = _relative(old, new, scale)
        changed |= relative > tolerance.episode
        worst = int(np.argmax(relative))
        if relative[worst] > largest:
            largest = float(relative[worst])
            place = int(places[worst])
            where = (
                f"{name} of episode {place} (row seed {row.task.first_seed + place}): "
                f"stored {float(old[worst])!r}, played {float(new[worst])!r}"
            )
    score = max(_score_gap(s, run, again, places) for s in row.task.scores)
    return Gap(largest, float(changed.mean()), score, where, largest == 0.0)


def _columns(run: Run, places: NDArray[np.int64] | None = None) -> dict[str, Floats]:
    """Every number of the episodes of a run, or of some of them, by name."""
    columns = {"reward": run.reward, "length": run.length, **run.sums}
    arrays = {name: np.asarray(column, dtype=np.float64) for name, column in columns.items()}
    return arrays if places is None else {k: v[places] for k, v in arrays.items()}


def _relative(old: Floats, new: Floats, scale: Floats) -> Floats:
    """Sizes of differences over a scale; infinite where that is zero and they are not."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(old == new, 0.0, np.abs(new - old) / scale)


def _score_gap(score: ScoreSpec, run: Run, again: Run, places: NDArray[np.int64]) -> float:
    """Relative difference of a score over the same episodes; 0 where it has no value in both."""
    pairs = [np.asarray(term)[places].astype(np.float64) for term in run.terms(score)]
    top, bottom = pairs
    new_top, new_bottom = (float(np.sum(term)) for term in again.terms(score))
    if bottom.sum() == 0.0 or new_bottom == 0.0:
        return 0.0 if bottom.sum() == new_bottom else float("inf")
    scale = max(float(np.abs(top).sum()), abs(new_top)) / abs(float(bottom.sum()))
    old, new = float(top.sum() / bottom.sum()), new_top / new_bottom
    return 0.0 if old == new else abs(new - old) / scale
