"""Claims of NetGPT about the tool-calling edge agent: C8 and C9.

The bounds of C8 are of the exact minimisers for one prompt; what training does is read from the
evaluations that were stored with the runs of `sixgym.agents.toolcall`, a file a seed.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import NamedTuple

import numpy as np
import torch

from sixgym.agents.toolcall.loop_runs import change_of
from sixgym.agents.toolcall.tabular import drift_bound, fixed_point, minimiser
from sixgym.baselines.netgpt.law import Floats
from sixgym.leaderboard import stats
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome
from sixgym.leaderboard.claims.rules import Curve, Draw, Finding, draw_curves, told, verdict
from sixgym.leaderboard.stats import Interval

ANCHORED, FREE = "default", "no_anchor"
"""Recipes with the forward KL to the supervised start (lambda = 1) and without it."""
SEEDS = (0, 1, 2)
FOLDER = "curves"
"""In the package of the agent: ``<recipe>-<seed>.csv``, the ``curve.csv`` of that run."""
COLUMNS = ("hard_success", "hard_valid", "easy_success", "easy_valid", "kl_forward")
SCHEMA_SLACK = 0.005
LOOP, LOOP_SEEDS = "default", (0, 1, 2, 3, 4)
LOOPS = "loops"
"""In the package of the agent: ``<loop>-<seed>.csv``, the ``fifths.csv`` of that loop."""


class Course(NamedTuple):
    """The evaluations of one recipe."""

    step: tuple[int, ...]
    """Iterations, the same for all seeds; 0 is the supervised start."""
    values: Mapping[str, Floats]
    """(seeds, evaluations) by column."""

    def lost(self, column: str) -> Floats:
        """(seeds, evaluations) what was lost since the start."""
        return self.values[column][:, :1] - self.values[column]


def parsed(tables: Sequence[str]) -> Course:
    """The course of a recipe from the tables of its seeds, at the evaluations that all have."""
    rows = [list(csv.DictReader(table.splitlines())) for table in tables]
    steps = [{int(row["step"]) for row in table} for table in rows]
    common = tuple(sorted(set.intersection(*steps)))
    values = {
        name: np.array([[float(r[name]) for r in t if int(r["step"]) in common] for t in rows])
        for name in COLUMNS
    }
    return Course(common, values)


def stored(recipe: str) -> Course | None:
    """The stored evaluations of all seeds of a recipe; None where some are missing."""
    folder = resources.files("sixgym.agents.toolcall") / FOLDER
    files = [folder / f"{recipe}-{seed}.csv" for seed in SEEDS]
    if not all(file.is_file() for file in files):
        return None
    return parsed([file.read_text(encoding="utf-8") for file in files])


def over_seeds(values: Floats) -> Interval:
    """Mean over training seeds, which are resampled."""
    return stats.ratio_interval(stats.sample(np.asarray(values)[:, None]))


def loop_course() -> dict[str, Floats] | None:
    """(seeds, fifths) of the closed loop with real agents, by column; None where none is stored."""
    folder = resources.files("sixgym.agents.toolcall") / LOOPS
    files = [folder / f"{LOOP}-{seed}.csv" for seed in LOOP_SEEDS]
    if not all(file.is_file() for file in files):
        return None
    tables = [list(csv.DictReader(f.read_text(encoding="utf-8").splitlines())) for f in files]
    return {
        name: np.array([[float(row[name]) for row in table] for table in tables])
        for name in LOOP_COLUMNS
    }


LOOP_COLUMNS = {
    "offload_mix": "offload in the mean over networks",
    "draft_success": "drafts right",
    "success": "answers right",
    "valid": "answers valid",
}


def loop_words(course: Mapping[str, Floats]) -> str:
    """First and last fifth of the closed loop, its change over seeds, and offload seed by seed."""
    parts = []
    for name, words in LOOP_COLUMNS.items():
        first, last = course[name][:, 0], course[name][:, -1]
        change = change_of((last - first).tolist())
        parts.append(f"{words} {first.mean():.3f} to {last.mean():.3f} ({change})")
    ends = zip(course["offload_mix"][:, 0], course["offload_mix"][:, -1], strict=True)
    each = ", ".join(f"{a:.2f} to {b:.2f}" for a, b in ends)
    return (
        f"Real agents in the closed loop (not judged), {len(course['valid'])} seeds, first and "
        f"last fifth: {'; '.join(parts)}; offload by seed {each}"
    )


def _lines(courses: Mapping[str, Course], column: str, *, is_loss: bool = False) -> list[Curve]:
    """A column over iterations."""
    found: list[Curve] = []
    for name, course in courses.items():
        values = course.lost(column) if is_loss else course.values[column]
        found.append((name, list(map(float, course.step)), [over_seeds(v) for v in values.T]))
    return found


def _missing(recipes: Sequence[str]) -> str:
    return f"no stored evaluations of {', '.join(recipes)} (seeds {', '.join(map(str, SEEDS))})"


# ------------------------------------------------------------------------- C8: bounded drift

DRAWS, ANSWERS, STEPS = 100, 6, 400
LAMBDAS = (0.3, 1.0, 3.0)
BETA = 0.05
ROUNDING = 1e-9


class Tabular(NamedTuple):
    """The exact minimisers of the objective on random prompts (4.6)."""

    drift_slack: float
    """Least of ln(1 + range/lambda) - D(p || u)."""
    ratio_slack: float
    """Least of u/p - lambda/(range + lambda)."""
    invalid_rise: float
    """Most that an answer of the lowest advantage gains."""
    distance: float
    """Between repeated steps (32) and their limit (33)."""
    free_drift: float
    """Least of D(p || u) - bound (at lambda = 1) after as many steps without anchor."""


def tabular(draws: int = DRAWS, steps: int = STEPS, seed: int = 0) -> Tabular:
    """Measure the bounds.

    Args:
        draws: random prompts, each with `ANSWERS` answers.
        steps: of the repeated minimisation.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    prior = torch.from_numpy(rng.dirichlet(np.ones(ANSWERS), draws)).clamp_min(1e-6)
    prior = prior / prior.sum(-1, keepdim=True)
    advantage = torch.from_numpy(rng.normal(size=(draws, ANSWERS)))
    worst = advantage.argmin(-1, keepdim=True)
    spread = advantage.amax(-1) - advantage.amin(-1)
    drift, ratio, rise = [], [], []
    for weight in LAMBDAS:
        u = fixed_point(advantage, prior, weight)
        drift.append(float((drift_bound(advantage, weight) - _kl(prior, u)).min()))
        ratio.append(float(((u / prior).amin(-1) - weight / (spread + weight)).min()))
        rise.append(float((u - prior).gather(-1, worst).max()))
    repeated = free = prior
    for _ in range(steps):
        repeated = minimiser(advantage, repeated, prior, BETA, 1.0)
        free = minimiser(advantage, free.clamp_min(1e-300), prior, BETA, 0.0)
    away = _kl(prior, free.clamp_min(1e-300)) - drift_bound(advantage, 1.0)
    distance = float((repeated - fixed_point(advantage, prior, 1.0)).abs().max())
    return Tabular(min(drift), min(ratio), max(rise), distance, float(away.min()))


def _kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """D(p || q), nats."""
    return (p * (p.log() - q.log())).sum(-1)


def bounds(found: Tabular) -> list[Finding]:
    """Whether the bounds of 4.6 hold."""
    return [
        Finding(
            found.drift_slack >= -ROUNDING, f"drift exceeds its bound by {-found.drift_slack:.2g}"
        ),
        Finding(found.ratio_slack >= -ROUNDING, f"u/p is {-found.ratio_slack:.2g} below its bound"),
        Finding(found.invalid_rise <= ROUNDING, f"the worst answer gains {found.invalid_rise:.2g}"),
        Finding(found.distance <= 1e-8, f"repeated steps end {found.distance:.2g} from the limit"),
    ]


def anchoring(anchored: Course, free: Course) -> tuple[list[Finding], list[Interval]]:
    """Whether drift and easy-law loss are lower with the anchor at equal iterations.

    Returns:
        The findings, and what no anchor adds to both after the last evaluation, paired by seed.
    """
    last = max(set(anchored.step) & set(free.step))
    places = [course.step.index(last) for course in (anchored, free)]
    ours, theirs = (
        (course.values["kl_forward"][:, k], course.lost("easy_success")[:, k])
        for course, k in zip((anchored, free), places, strict=True)
    )
    more = [over_seeds(b - a) for a, b in zip(ours, theirs, strict=True)]
    names = ("forward KL", "easy-law loss")
    return [
        Finding(gap.low > 0.0, f"{name} without anchor less that with it: {gap}")
        for name, gap in zip(names, more, strict=True)
    ], more


def _c8(evidence: Evidence) -> Outcome:
    found = tabular()
    exact_part = (
        f"{DRAWS} random prompts, exact: least slack of the drift bound {found.drift_slack:.2g} "
        f"nat, of u/p {found.ratio_slack:.2g}; the worst answer gains at most "
        f"{found.invalid_rise:.2g}; "
        f"{STEPS} steps end {found.distance:.1g} from the limit, without anchor at least "
        f"{found.free_drift:.2g} nat beyond the bound"
    )
    anchored, free = stored(ANCHORED), stored(FREE)
    if anchored is None or free is None:
        return Outcome("not measured", exact_part, _missing([ANCHORED, FREE]))
    findings, more = anchoring(anchored, free)
    holds, why = verdict([*bounds(found), *findings])
    drift = [over_seeds(course.values["kl_forward"][:, -1]) for course in (anchored, free)]
    lost = [over_seeds(course.lost("easy_success")[:, -1]) for course in (anchored, free)]
    return Outcome(
        holds,
        f"{len(SEEDS)} seeds, lambda=1 and 0 after {anchored.step[-1]} iterations: forward KL "
        f"{drift[0]} and {drift[1]} nat (difference {more[0]}), easy-law success lost {lost[0]} "
        f"and {lost[1]} (difference {more[1]}). {exact_part}",
        why,
        draw=_draw_drift(anchored, free),
    )


def _draw_drift(anchored: Course, free: Course) -> Draw:
    courses = {"anchor (lambda = 1)": anchored, "no anchor": free}
    drift = [(f"forward KL, {n}", x, y) for n, x, y in _lines(courses, "kl_forward")]
    lost = [
        (f"10 x easy-law loss, {n}", x, [Interval(*(10.0 * v for v in i)) for i in y])
        for n, x, y in _lines(courses, "easy_success", is_loss=True)
    ]
    return draw_curves([*drift, *lost], "iterations", "nat a sequence; 10 x share of requests")


# ------------------------------------------------------------------------- C9: schema preserved


def least_margin(course: Course) -> dict[str, Floats]:
    """(seeds,) least valid rate after the start less that of the start, of both laws."""
    return {
        name: (course.values[name][:, 1:] - course.values[name][:, :1]).min(1)
        for name in ("hard_valid", "easy_valid")
    }


def preserved(course: Course) -> list[Finding]:
    """Whether no evaluation is below the supervised start by more than the slack."""
    return [
        Finding(
            bool((margin >= -SCHEMA_SLACK - ROUNDING).all()), f"{name} falls by {told(-margin, 4)}"
        )
        for name, margin in least_margin(course).items()
    ]


def _c9(evidence: Evidence) -> Outcome:
    anchored, free = stored(ANCHORED), stored(FREE)
    if anchored is None:
        return Outcome("not measured", "-", _missing([ANCHORED]))
    holds, why = verdict(preserved(anchored))
    courses = {ANCHORED: anchored, **({} if free is None else {FREE: free})}
    parts = []
    for name, course in courses.items():
        hard, easy = (told(margin, 4) for margin in least_margin(course).values())
        parts.append(f"{name}: hard {hard}, easy {easy}")
    start = anchored.values["hard_valid"][:, 0]
    return Outcome(
        holds,
        f"valid drafts of the supervised start {told(start, 4)} (hard requests); least change "
        f"since then at {len(anchored.step) - 1} evaluations, by seed: {'; '.join(parts)}",
        why,
        draw=draw_curves(
            _lines(courses, "hard_valid"), "iterations", "schema-valid drafts, hard requests"
        ),
    )


CLAIMS: dict[str, Claim] = {
    "C8": Claim(
        "C8",
        "[paper; bounds: derived]",
        "The anchor keeps learning stable and its drift bounded.",
        "tiny agent: forward KL and easy-law loss lower with lambda > 0 than with 0 after equal "
        "iterations, intervals apart; the bounds of the exact minimisers hold",
        (),
        _c8,
    ),
    "C9": Claim(
        "C9",
        "[paper]",
        "Reinforcement learning preserves the schema.",
        f"valid drafts >= the supervised start's - {SCHEMA_SLACK} at every evaluation, each seed",
        (),
        _c9,
    ),
}
