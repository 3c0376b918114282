"""Stored results: one canonical JSON file a row, checked field by field when it is read.

A row keeps what every episode summed up to, not only averages, so that any later statistic
(intervals, paired differences, performance profiles) needs no new rollout and anybody can re-run
the row from its seeds. Writes are atomic: a file is there in full or not at all.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sixgym.envs.core.errors import ResultError
from sixgym.envs.core.rollout import Episodes
from sixgym.leaderboard.protocol import ScoreSpec, Task
from sixgym.leaderboard.stats import Sample, sample

SCHEMA = "sixgym-result/1"
"""Name and version of the file format."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PolicyCard(_Model):
    """Which policy a row is about.

    Attributes:
        name: as on the command line.
        source: ``baseline``, ``zoo`` (trained weights that ship), ``file`` (somebody's own),
            ``submission`` (somebody's own, checked and played apart).
        kind: of a baseline: random, heuristic, reference, ablation, bound, exact; ``learned`` else.
        sees: observation, model or oracle.
        description: one sentence.
        origin: for ``file`` and ``submission``, the path as it was typed.
        env_id: the environment it acted in, where not the task's own.
        env_kwargs: the parameters it acted with beyond the task's.
        ranked: whether it has a rank; false for weights whose hyper-parameters nobody searched for,
            which are shown below those that have.
    """

    name: str
    source: Literal["baseline", "zoo", "file", "submission"]
    kind: Literal["random", "heuristic", "reference", "ablation", "bound", "exact", "learned"]
    sees: Literal["observation", "model", "oracle"]
    description: str
    origin: str = ""
    env_id: str
    env_kwargs: dict[str, Any] = Field(default_factory=dict)
    ranked: bool = True


class Timing(_Model):
    """Wall time of one run; the only part of a row that differs from run to run.

    Attributes:
        rows: episodes played side by side; divide by it for the time of one decision.
        decision_median_s: median time of one ``predict`` for all rows.
        decision_p99_s: 99th percentile of it.
        step_median_s: median time of one step of the environment for all rows; where the step
            contains a solver, its time is here.
        slot_mean_s: mean time of a decision and a step together, for all rows.
    """

    rows: int = Field(ge=1)
    decision_median_s: float = Field(ge=0.0)
    decision_p99_s: float = Field(ge=0.0)
    step_median_s: float = Field(ge=0.0)
    slot_mean_s: float = Field(ge=0.0)


class Latency(_Model):
    """Wall time of single decisions on one machine, beside which `Timing` is that of a whole play.

    Attributes:
        rows: observations decided at once.
        median_s: median time of one ``predict`` for all of them.
        p99_s: 99th percentile of it.
        calls: how many were timed.
    """

    rows: int = Field(ge=1)
    median_s: float = Field(ge=0.0)
    p99_s: float = Field(ge=0.0)
    calls: int = Field(ge=1)


class Run(_Model):
    """The episodes of one policy with one set of weights, in the order of the task's seeds.

    Attributes:
        training_seed: None for what does not learn.
        training_steps: environment steps it was trained for.
        weights: SHA-256 of the weights, empty for what has none.
        curve: (environment steps, headline score on the validation episodes) while it was trained.
        reward: undiscounted return of each episode.
        length: steps of each episode.
        sums: sum of each level-0 metric over each episode.
        timing: how long it took here.
        latency: how long single decisions take, at some sizes of the batch, where it was measured.
    """

    training_seed: int | None = None
    training_steps: int | None = None
    weights: str = ""
    curve: list[tuple[int, float]] = Field(default_factory=list)
    reward: list[float]
    length: list[int]
    sums: dict[str, list[float]]
    timing: Timing
    latency: list[Latency] = Field(default_factory=list)

    @model_validator(mode="after")
    def _equally_long(self) -> Self:
        sizes = {"length": len(self.length), **{k: len(v) for k, v in self.sums.items()}}
        for name, size in sizes.items():
            if size != len(self.reward):
                raise ValueError(f"{name} has {size} episodes, reward {len(self.reward)}")
        return self

    def terms(self, score: ScoreSpec) -> tuple[list[float], list[float]]:
        """Numerator and denominator of a score in each episode."""
        return self._term(score.numerator), self._term(score.denominator)

    def _term(self, name: str) -> list[float]:
        if name == "episodes":
            return [1.0] * len(self.reward)
        if name == "steps":
            return [float(n) for n in self.length]
        if name == "reward":
            return self.reward
        return self.sums[name]


class Result(_Model):
    """One row of a leaderboard: a task, a policy, and what its episodes summed up to.

    The episodes are all of the task, or the first of them where the policy is slow: no others and
    no other number, so that nobody chooses which.
    """

    format: Literal["sixgym-result/1"] = "sixgym-result/1"
    task: Task
    policy: PolicyCard
    runs: list[Run] = Field(min_length=1)
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        allowed = {self.task.episodes, self.task.slow_episodes}
        for place, run in enumerate(self.runs):
            if len(run.reward) not in allowed:
                told = f"{self.task.episodes}, or {self.task.slow_episodes} if it is slow"
                raise ValueError(f"runs.{place} has {len(run.reward)} episodes, the task {told}")
            if len(run.reward) != self.episodes:
                raise ValueError(
                    f"runs.{place} has {len(run.reward)} episodes, runs.0 {self.episodes}"
                )
            known = {"reward", "steps", "episodes", *run.sums}
            for score in self.task.scores:
                for name in (score.numerator, score.denominator):
                    if name not in known:
                        raise ValueError(
                            f"runs.{place}.sums lacks {name!r} of score {score.name!r}"
                        )
        return self

    def sample(self, score: ScoreSpec | None = None) -> Sample:
        """The terms of a score (the headline by default), (runs, episodes) each.

        Raises:
            ResultError: the denominators sum to zero.
        """
        wanted = self.task.scores[0] if score is None else score
        pairs = [run.terms(wanted) for run in self.runs]
        return sample([top for top, _ in pairs], [bottom for _, bottom in pairs])

    @property
    def episodes(self) -> int:
        """How many episodes each run has: the first so many of the task's seeds."""
        return len(self.runs[0].reward)

    @property
    def file_name(self) -> str:
        """Where the row lives below a results folder."""
        return file_name(self.task, self.policy)


def file_name(task: Task, policy: PolicyCard) -> str:
    """Where a row lives below a results folder."""
    return f"{task.folder}/{slug(policy.name)}.json"


def run_of(
    episodes: Episodes,
    *,
    training_seed: int | None = None,
    training_steps: int | None = None,
    weights: str = "",
    curve: Sequence[tuple[int, float]] = (),
) -> Run:
    """The stored form of a rollout.

    Raises:
        ResultError: a sum is not finite.
    """
    columns = {"reward": episodes.reward, **episodes.sums}
    for name, values in columns.items():
        if not np.isfinite(values).all():
            place = int(np.argwhere(~np.isfinite(values))[0][0])
            raise ResultError(
                f"{name} of episode {place} (seed {episodes.seeds[place]}): not finite"
            )
    return Run(
        training_seed=training_seed,
        training_steps=training_steps,
        weights=weights,
        curve=list(curve),
        reward=[float(v) for v in episodes.reward],
        length=[int(v) for v in episodes.length],
        sums={name: [float(v) for v in values] for name, values in episodes.sums.items()},
        timing=Timing(
            rows=episodes.rows,
            decision_median_s=float(np.median(episodes.decision_seconds)),
            decision_p99_s=float(np.percentile(episodes.decision_seconds, 99)),
            step_median_s=float(np.median(episodes.step_seconds)),
            slot_mean_s=float(np.mean(episodes.decision_seconds + episodes.step_seconds)),
        ),
    )


def slug(name: str) -> str:
    """A name as a file name: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "unnamed"


def dumps(result: Result) -> str:
    """Canonical JSON: sorted keys, one value a line but for long lists, floats that round-trip."""
    content = result.model_dump(mode="json")
    _leave_out(content["task"], "is_bandit", None)
    _leave_out(content["task"], "training_budget", None)
    _leave_out(content["policy"], "ranked", True)
    for score in content["task"]["scores"]:
        _leave_out(score, "budget", None)
    for run in content["runs"]:
        _leave_out(run, "latency", [])
    return _canonical(content, "") + "\n"


def _leave_out(content: dict[str, Any], name: str, unsaid: object) -> None:
    """Drop a field that says nothing: first rows, older than it, stay as they are to the byte."""
    if content[name] == unsaid:
        del content[name]


def _canonical(value: Any, indent: str) -> str:
    if isinstance(value, dict) and value:
        inner = indent + " "
        lines = [f"{inner}{json.dumps(k)}: {_canonical(value[k], inner)}" for k in sorted(value)]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(v, dict) for v in value):
        inner = indent + " "
        return "[\n" + ",\n".join(inner + _canonical(v, inner) for v in value) + f"\n{indent}]"
    return json.dumps(value, sort_keys=True, allow_nan=False)


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader (or a crash) finds the old one or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save(result: Result, root: Path | str) -> Path:
    """Store a row below ``root``, replacing an older row of the same task and policy."""
    path = Path(root) / result.file_name
    write_atomically(path, dumps(result))
    return path


def load(path: Path | str) -> Result:
    """Read one row.

    Raises:
        ResultError: the file is missing, is not JSON, or a field is missing, unknown or wrong.
    """
    file = Path(path)
    try:
        return loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ResultError(f"{file}: not a text file") from None
    except ResultError as error:
        raise ResultError(f"{file}: {error}") from None


def loads(text: str) -> Result:
    """The row in a text.

    Raises:
        ResultError: it is not JSON, or a field is missing, unknown or wrong.
    """
    try:
        raw = json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ResultError(f"not JSON: {error.msg} in line {error.lineno}") from None
    except ResultError:
        raise
    except (ValueError, RecursionError) as error:  # too many digits, too deep
        raise ResultError(f"not JSON: {error}") from None
    try:
        return Result.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        raise ResultError(first_fault(error)) from None


def first_fault(error: ValidationError) -> str:
    """The first thing that a validation found, as field, value and what is wrong."""
    item = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    if not where:
        return message
    try:
        shown = repr(item["input"])
    except ValueError:  # Python prints no number of more than 4,300 digits
        shown = "a number of thousands of digits"
    value = shown if len(shown) <= 40 else shown[:37] + "..."
    return f"{where}: {message}" if item["type"] == "missing" else f"{where}={value}: {message}"


def _refuse(constant: str) -> float:
    raise ResultError(f"not JSON: {constant} is not a number")


def load_all(root: Path | str) -> list[Result]:
    """Every row below a folder, by path.

    Raises:
        ResultError: there is no such folder, a file is bad, or does not lie where its content says.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise ResultError(f"results={str(folder)!r}: no such folder; run `sixgym benchmark` first")
    found = []
    for path in sorted(folder.rglob("*.json")):
        result = load(path)
        if path.relative_to(folder).as_posix() != result.file_name:
            raise ResultError(f"{path}: holds the row {result.file_name}")
        found.append(result)
    return found
