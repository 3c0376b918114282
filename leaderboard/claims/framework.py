"""What a claim is, and how a table of claims is measured.

A claim names the plays (policy, environment, parameters) that it needs and judges their results.
Plays that several claims share are played once, on common row seeds, so every comparison is paired.
A claim that fails stays in the table as failed. Thresholds are those of the system's dossier, fixed
before these numbers were seen.
"""

from __future__ import annotations

import importlib
import json
import os
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sixgym.envs.core.errors import UnknownIdError
from sixgym.envs.core.registry import entry
from sixgym.leaderboard import stats
from sixgym.leaderboard.protocol import VERSION
from sixgym.leaderboard.stats import Interval, Sample
from sixgym.leaderboard.store import Result, write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EPISODES = 64
"""Episodes of a play: more than the 48 environments of the prototype, each at full length."""

Verdict = Literal["pass", "fail", "not measured"]


@dataclass(frozen=True)
class Play:
    """One policy in one variant of an environment.

    Attributes:
        policy: name of a baseline, of an entry of ``PLAYERS``, or of shipped weights.
        env_id: whose baseline it is.
        params: parameters that differ from the defaults, as sorted pairs; see `play`.
        needs_weights: the policy is trained: without its weights the claim is not measured.
    """

    policy: str
    env_id: str
    params: tuple[tuple[str, Any], ...] = ()
    needs_weights: bool = False


def play(policy: str, env_id: str, *, needs_weights: bool = False, **params: Any) -> Play:
    """A `Play` from keyword arguments."""
    return Play(policy, env_id, tuple(sorted(params.items())), needs_weights)


@dataclass(frozen=True)
class Outcome:
    """What a claim's judge found.

    Attributes:
        verdict: see `Claim`.
        measured: the numbers, in words.
        reason: why it failed or was not measured, as far as known; or what else to know.
        values: the numbers, as plain data.
        draw: paints the figure; None for none.
    """

    verdict: Verdict
    measured: str
    reason: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    draw: Callable[[Axes], None] | None = None


class Claim(NamedTuple):
    """One statement.

    Attributes:
        id: as in the dossier.
        mark: where it comes from: [paper], [related: ...], [standard: ...], [derived].
        statement: what is claimed.
        expected: the shape or number that passes.
        plays: what must be played.
        judge: from the results to the outcome.
    """

    id: str
    mark: str
    statement: str
    expected: str
    plays: tuple[Play, ...]
    judge: Callable[[Evidence], Outcome]


TIMING_ROUNDS = 7
"""How often plays are timed in turn."""
TIMING_SLOTS = 40
"""Steps of a play that is only timed."""


class Evidence:
    """The results of the plays, for a judge.

    Args:
        results: by play.
        again: plays the first steps of a play once more in so many rows, to time it.
    """

    def __init__(
        self, results: Mapping[Play, Result], again: Callable[[Play, int], Result] | None = None
    ) -> None:
        self._results = results
        self._again = again

    def result(self, one: Play) -> Result:
        """The stored form of a play."""
        return self._results[one]

    def sample(self, one: Play, score: str | None = None) -> Sample:
        """The terms of a score of a play; the headline by default."""
        result = self._results[one]
        return result.sample(None if score is None else result.task.score(score))

    def value(self, one: Play, score: str | None = None) -> Interval:
        """A score with its interval."""
        return stats.ratio_interval(self.sample(one, score))

    def ratio(self, one: Play, other: Play) -> Interval:
        """Headline of one over that of another, paired."""
        return stats.paired_ratio(self.sample(one), self.sample(other))

    def paces(self, one: Play, others: Sequence[Play], rows: int) -> list[Interval]:
        """Processor time of a slot of one over that of others, for a batch of so many rows.

        They are timed in turn on one thread, when nothing else of ours runs. The value compares the
        fastest round of each, which other load disturbs least; the interval is the range of the
        rounds.
        """
        assert self._again is not None, "only where plays can be repeated"
        rounds = [
            [slot_seconds(self._again(each, rows)) for each in (one, *others)]
            for _ in range(TIMING_ROUNDS)
        ]
        best, *bests = (min(times) for times in zip(*rounds, strict=True))
        ratios = [[mine / theirs[i] for mine, *theirs in rounds] for i in range(len(others))]
        return [Interval(best / b, min(r), max(r)) for b, r in zip(bests, ratios, strict=True)]


def slot_seconds(result: Result) -> float:
    """Time of a slot per row: the decision and the environment's step.

    The median over slots in a batch, where slots are alike; the mean of a row alone, where they
    are not (a chooser's slots cost what they choose).
    """
    timings = [run.timing for run in result.runs]
    slots = [
        (t.decision_median_s + t.step_median_s) / t.rows if t.rows > 1 else t.slot_mean_s
        for t in timings
    ]
    return sum(slots) / len(slots)


class ClaimRow(NamedTuple):
    """One row of the printed table."""

    id: str
    mark: str
    statement: str
    expected: str
    measured: str
    verdict: Verdict
    reason: str
    figure: str


def run_claims(
    id: str,
    output: Path | str = "runs/claims",
    *,
    only: Sequence[str] | None = None,
    episodes: int = EPISODES,
    jobs: int | None = None,
    retrain: bool = False,
    quiet: bool = False,
) -> list[ClaimRow]:
    """Measure the claims of an environment, print the table, write figures and ``claims.json``.

    Args:
        id: a registered environment whose entry names claims.
        output: folder of the figures and the JSON file.
        only: ids of claims; None is all.
        episodes: row seeds of each play, the first ones of the evaluation world.
        jobs: processes; None is one a core, at most 4.
        retrain: train the policies of learned claims afresh instead of using shipped weights.
        quiet: print nothing.

    Raises:
        UnknownIdError: no such environment, it has no claims, or no such claim.
    """
    from sixgym.leaderboard.claims.report import Reporter

    module = _module(id)
    claims = _chosen(module.CLAIMS, only, id)
    began = time.monotonic()
    weights = _retrained(module, claims, Path(output)) if retrain else None
    with Reporter(quiet=quiet) as reporter:
        wanted = list(dict.fromkeys(one for claim in claims for one in claim.plays))
        results, missing = _play_all(module.__name__, wanted, episodes, jobs, weights, reporter)

        def again(one: Play, rows: int) -> Result:
            short = replace(one, params=(*one.params, ("max_episode_steps", TIMING_SLOTS)))
            with _single_thread():
                found = _attempt(module.__name__, short, rows, weights, time.process_time)
            assert isinstance(found, Result)
            return found

        rows = []
        for claim in claims:
            lacking = [one for one in claim.plays if one in missing]
            outcome = _lacks(lacking, missing) if lacking else claim.judge(Evidence(results, again))
            figure = _figure(claim, outcome, Path(output))
            rows.append(_row(claim, outcome, figure))
        seconds = time.monotonic() - began
        reporter.table(id, rows, episodes, seconds)
    _write(id, rows, results, Path(output), episodes)
    return rows


def _module(id: str) -> Any:
    name = entry(id).claims
    if name is None:
        raise UnknownIdError(f"id={id!r}: has no claims")
    return importlib.import_module(name)


def _chosen(claims: Sequence[Claim], only: Sequence[str] | None, id: str) -> list[Claim]:
    known = {claim.id.lower(): claim for claim in claims}
    if only is None:
        return list(claims)
    unknown = [name for name in only if name.lower() not in known]
    if unknown:
        raise UnknownIdError(f"claim={unknown[0]!r}: unknown; claims of {id}: {', '.join(known)}")
    return [known[name.lower()] for name in only]


# ------------------------------------------------------------------------------------------ playing


def _play_all(
    module: str,
    plays: Sequence[Play],
    episodes: int,
    jobs: int | None,
    weights: Mapping[str, str] | None,
    reporter: Any,
) -> tuple[dict[Play, Result], dict[Play, str]]:
    """Results of all plays that can be played, and why the others cannot."""
    results: dict[Play, Result] = {}
    missing: dict[Play, str] = {}
    workers = min(jobs or os.cpu_count() or 1, 4, max(len(plays), 1))
    tell = reporter.plays(len(plays))
    if workers == 1:
        for one in plays:
            _keep(one, _attempt(module, one, episodes, weights), results, missing)
            tell()
        return results, missing
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_one_thread
    ) as pool:
        running: dict[Future[Result | str], Play] = {
            pool.submit(_attempt, module, one, episodes, weights): one for one in plays
        }
        for done in as_completed(running):
            _keep(running[done], done.result(), results, missing)
            tell()
    return results, missing


def _keep(
    one: Play, found: Result | str, results: dict[Play, Result], missing: dict[Play, str]
) -> None:
    if isinstance(found, str):
        missing[one] = found
    else:
        results[one] = found


def _one_thread() -> None:
    """Workers share the cores; torch's own threads would only get in their way."""
    import torch

    torch.set_num_threads(1)


@contextmanager
def _single_thread() -> Iterator[None]:
    """One torch thread, so that processor time means work and not waiting in a spin."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _attempt(
    module: str,
    one: Play,
    episodes: int,
    weights: Mapping[str, str] | None,
    clock: Callable[[], float] = time.perf_counter,
) -> Result | str:
    """Play; or say which weights are missing. Runs in a worker."""
    from sixgym.leaderboard.players import Player, find_player, player_of
    from sixgym.leaderboard.runner import play as play_task
    from sixgym.leaderboard.runner import task_of

    own = getattr(importlib.import_module(module), "PLAYERS", {})
    name = (weights or {}).get(one.policy, one.policy)
    player: Player
    if one.policy in own:
        player = player_of(own[one.policy], one.env_id)
    else:
        try:
            player = find_player(one.env_id, name)
        except UnknownIdError:
            if one.needs_weights:
                return f"no shipped weights of {one.policy} for {one.env_id}"
            raise
    task = task_of(one.env_id, episodes=episodes, params=dict(one.params))
    return play_task(task, player, clock=clock)


def _retrained(module: Any, claims: Iterable[Claim], output: Path) -> dict[str, str]:
    """Train what the claims need; the folders of the weights by policy name."""
    names = {one.policy for claim in claims for one in claim.plays if one.needs_weights}
    return {name: str(module.retrain(name, output / "retrained")) for name in sorted(names)}


def _lacks(plays: Sequence[Play], missing: Mapping[Play, str]) -> Outcome:
    reasons = list(dict.fromkeys(missing[one] for one in plays))
    return Outcome("not measured", "-", f"not measured: {'; '.join(reasons)}")


# ---------------------------------------------------------------------------------------- reporting


def _figure(claim: Claim, outcome: Outcome, output: Path) -> str:
    """Draw the figure of a claim; its path, or nothing."""
    if outcome.draw is None:
        return ""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    path = output / f"{claim.id.lower()}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(6.0, 4.0), dpi=120, layout="constrained")
    outcome.draw(axes)
    title = textwrap.fill(f"{claim.id} {claim.mark}: {claim.statement}", 72)
    figure.suptitle(f"{title}\n{outcome.verdict}", fontsize=9, x=0.01, ha="left")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
    return str(path)


def _row(claim: Claim, outcome: Outcome, figure: str) -> ClaimRow:
    return ClaimRow(
        claim.id,
        claim.mark,
        claim.statement,
        claim.expected,
        outcome.measured,
        outcome.verdict,
        outcome.reason,
        figure,
    )


def _write(
    id: str,
    rows: Sequence[ClaimRow],
    results: Mapping[Play, Result],
    output: Path,
    episodes: int,
) -> None:
    """``claims.json``: the table and the headline of every play."""
    played = []
    for one, result in results.items():
        value = stats.ratio_interval(result.sample())
        played.append(
            {
                "env_id": one.env_id,
                "params": dict(one.params),
                "policy": one.policy,
                "score": result.task.scores[0].name,
                **value._asdict(),
            }
        )
    played.sort(key=lambda row: json.dumps(row, sort_keys=True, default=str))
    content = {
        "claims": [row._replace(figure=Path(row.figure).name)._asdict() for row in rows],
        "env_id": id,
        "episodes": episodes,
        "plays": played,
        "protocol": VERSION,
    }
    write_atomically(output / "claims.json", json.dumps(content, indent=1, sort_keys=True) + "\n")
