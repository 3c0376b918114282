"""Claims of twin synchronisation about the algorithm of one round: C1 and C2."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.bounds import lower_bound
from sixgym.baselines.twin_mobility.instances import instance
from sixgym.baselines.twin_mobility.matching import (
    MAX_MOVES,
    deviations,
    keys,
    match,
    propose,
    tolerance_of,
)
from sixgym.baselines.twin_mobility.problem import Ingredients
from sixgym.baselines.twin_mobility.regions import BIG
from sixgym.baselines.twin_mobility.two_layer import LEAST_GAIN, PASSES, solve
from sixgym.envs.core.worlds import row_seed
from sixgym.envs.twin_mobility.round_params import TwinRoundParams
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome
from sixgym.leaderboard.claims.rules import Draw, Finding, draw_bars, draw_curves, verdict
from sixgym.leaderboard.claims.twin_mobility_solved import (
    AGES_ZERO,
    ROWS,
    Floats,
    Outer,
    Solved,
    Table,
    anyone,
    assigned,
    feasible,
    geometric,
    mean_of,
    penalty,
    percent,
    solved,
    tabled,
)
from sixgym.leaderboard.protocol import VERSION

# ------------------------------------------------------------------------------- C1: convergence

MANY_PASSES = 2 * PASSES
"""Passes that the solver is offered, to see that half of them are enough."""


class Course(NamedTuple):
    """A matching, move by move."""

    gamma: Floats
    """(moves + 1, rows) the largest deviation; stays where a row has ended."""
    moves: Floats
    """(rows,)."""
    always_falls: bool
    """Whether each move lowered the deviations in leximax order."""
    ends: bool
    """Whether no accepted move was left in any row."""


def course(table: Table, start: Tensor, most: int = MAX_MOVES) -> Course:
    """Move by move from a start, (rows, N), at most so many moves."""
    movable, now = anyone(table), start
    before = deviations(table.levels, table.goal, now, table.params)
    gamma, moves, falls = [before.amax(-1)], torch.zeros(len(start)), True
    for _ in range(most):
        step = match(table.levels, table.goal, now, movable, table.params, max_moves=1)
        moved = step.moves > 0
        falls &= bool(is_lower(step.deviation, before)[moved].all())
        moves, now, before = moves + moved, step.assignment, step.deviation
        gamma.append(before.amax(-1))
        if not bool(moved.any()):
            break
    end = match(table.levels, table.goal, now, movable, table.params, max_moves=1)
    return Course(
        np.asarray(torch.stack(gamma).numpy()),
        np.asarray(moves.double().numpy()),
        falls,
        bool(end.is_stable.all()),
    )


def is_lower(after: Tensor, before: Tensor) -> Tensor:
    """(rows,) bool, whether deviations (rows, R), the largest first, are smaller in order."""
    tolerance = tolerance_of(after.dtype)
    new, old = (keys(item, tolerance).tolist() for item in (after, before))
    return torch.tensor([a < b for a, b in zip(new, old, strict=True)])


class Passes(NamedTuple):
    """The two layers, pass by pass."""

    best: Floats
    """(rows, passes + 1) the least largest deviation so far."""
    passes: Floats
    """(rows,) until a row stopped by itself."""


@cache
def passes(rows: int = ROWS) -> Passes:
    """The default round, with more passes than the solver has otherwise."""
    params = TwinRoundParams.create()
    problem = instance(params, rows, row_seed("evaluation", VERSION))
    found = solve(problem, params, passes=MANY_PASSES, table_dtype=torch.float32)
    return Passes(
        np.asarray(found.trace[found.is_feasible].numpy()),
        np.asarray(found.passes.double().numpy()),
    )


@cache
def courses(rows: int = ROWS) -> dict[str, Course]:
    """Matchings of the default round, from its own start and from balanced random groups."""
    table = tabled(8, 4, rows)
    random = assigned(table.problem, "random")
    assert random is not None
    own = propose(table.levels, table.goal, anyone(table), table.params)
    return {"proposal": course(table, own), "random groups": course(table, random)}


def converging(every: dict[str, Course], both: Passes) -> list[Finding]:
    """Whether matching and passes do what an algorithm that converges does."""
    most = max(float(one.moves.max()) for one in every.values())
    late = float((both.best[:, PASSES - 1] / both.best[:, -1]).max()) - 1.0
    return [
        *(
            Finding(one.always_falls, f"from {name} a move does not lower the deviations")
            for name, one in every.items()
        ),
        *(
            Finding(one.ends, f"from {name} moves are left after {MAX_MOVES}")
            for name, one in every.items()
        ),
        Finding(most <= MAX_MOVES, f"{most:.0f} moves"),
        Finding(bool((np.diff(both.best, axis=1) <= 0.0).all()), "the best pass gets worse"),
        Finding(
            late <= LEAST_GAIN, f"after {PASSES} passes {MANY_PASSES - PASSES} more gain {late:.2g}"
        ),
    ]


def _c1(evidence: Evidence) -> Outcome:
    every, both = courses(), passes()
    holds, why = verdict(converging(every, both))
    told = "; ".join(
        f"from {name} {mean_of(one.moves)} moves, at most {one.moves.max():.0f}"
        for name, one in every.items()
    )
    gain = geometric(both.best[:, 0] / both.best[:, -1])
    return Outcome(
        holds,
        f"{ROWS} rounds: {told}, each lower in leximax order, none left at the end. Passes of both "
        f"layers {mean_of(both.passes)}, at most {both.passes.max():.0f} of {MANY_PASSES} offered "
        f"({int((both.passes > PASSES).sum())} rounds take more than {PASSES}); first over last "
        f"pass {gain}",
        why,
        draw=_draw_courses(every, both),
    )


def _draw_courses(every: dict[str, Course], both: Passes) -> Draw:
    """The largest deviation over that at the end, geometric means."""
    curves = []
    for name, one in every.items():
        served = (one.gamma < BIG).all(0)
        shown = one.gamma[:, served] / one.gamma[-1, served]
        steps = list(map(float, range(len(shown))))
        curves.append((f"moves, from {name}", steps, [geometric(v) for v in shown]))
    counts = int(both.passes.max())
    values = (both.best[:, :counts] / both.best[:, -1:]).T
    steps = [float(k + 1) for k in range(counts)]
    curves.append(("passes of both layers", steps, [geometric(v) for v in values]))
    return draw_curves(curves, "moves of a matching, or passes", "largest deviation over the last")


# ------------------------------------------------------------------------------- C2: superiority


class Rival(NamedTuple):
    """A scheme with one ingredient replaced."""

    outer: Outer = "matching"
    free: Ingredients = Ingredients()
    least: float = 1.0
    """Of its largest deviation over the proposed one's."""


RIVALS: dict[str, Rival] = {
    "random groups": Rival("random", least=1.5),
    "speed 5 m/s": Rival(free=Ingredients(speed_mps=5.0), least=1.4),
    "no compression": Rival(free=Ingredients(compress=False), least=1.1),
    "proposal only": Rival("proposal", least=1.05),
    "nearest region": Rival("nearest", least=1.05),
    "speed 10 m/s": Rival(free=Ingredients(speed_mps=10.0), least=1.05),
    "no channel mobility": Rival(free=Ingredients(approach=False), least=1.02),
    "largest speed": Rival(free=Ingredients(speed_mps=20.0)),
    "equal bandwidth": Rival(free=Ingredients(equal_bandwidth=True)),
}
"""The thresholds are loose ones of a prototype: ours."""
POWER, POWER_TOLERANCE = "full power", 0.01


@cache
def bound(rows: int = ROWS) -> Floats:
    """(rows,) below which no scheme brings the largest deviation."""
    params = TwinRoundParams.create(**AGES_ZERO)
    problem = instance(params, rows, row_seed("evaluation", VERSION))
    return np.asarray(lower_bound(problem, params).numpy())


@cache
def rivals(rows: int = ROWS) -> dict[str, Solved]:
    """What the schemes make of the same rounds, full power last."""
    found = {
        name: solved(one.free, one.outer, rows=rows, **AGES_ZERO) for name, one in RIVALS.items()
    }
    found[POWER] = solved(Ingredients(full_power=True), rows=rows, **AGES_ZERO)
    return found


def superior(proposed: Solved, others: dict[str, Solved]) -> list[Finding]:
    """Whether each rival is worse by its threshold, and full power no different."""
    found = []
    for name, one in others.items():
        ratio = penalty(one, proposed)
        if name == POWER:
            near = abs(ratio.value - 1.0) <= POWER_TOLERANCE
            found.append(Finding(near, f"{name}: ratio {ratio}, not 1"))
            continue
        least = RIVALS[name].least
        good = ratio.value >= least if least == 1.0 else ratio.value > least
        found.append(Finding(good, f"{name}: ratio {ratio}, not above {least:g}"))
    return found


def _c2(evidence: Evidence) -> Outcome:
    proposed, others = solved(**AGES_ZERO), rivals()
    holds, why = verdict(superior(proposed, others))
    ratios = {name: penalty(one, proposed) for name, one in others.items()}
    shares = {name: feasible(one) for name, one in others.items()}
    told = "; ".join(
        f"{name} {ratio} ({percent([shares[name]])} solved)" for name, ratio in ratios.items()
    )
    gap = geometric((proposed.gamma / bound())[proposed.is_feasible])
    return Outcome(
        holds,
        f"largest deviation over the two-layer algorithm's, {ROWS} rounds: {told}. The proposed "
        f"solves {percent([feasible(proposed)])}, and is {gap} of a bound that lets everyone help "
        "every region with all the band",
        why,
        draw=draw_bars(
            [f"{name} ({percent([shares[name]])})" for name in ratios],
            list(ratios.values()),
            "ratio of largest deviations (rounds solved)",
            line=1.0,
        ),
    )


CLAIMS: dict[str, Claim] = {
    "C1": Claim(
        "C1",
        "[paper; the rule: ours]",
        "The two-layer algorithm converges.",
        f"every move of the matching lowers the deviations in leximax order; none is left after "
        f"{MAX_MOVES} at most; the best pass never gets worse, and after {PASSES} passes as many "
        f"again gain at most {LEAST_GAIN:g} in any round",
        (),
        _c1,
    ),
    "C2": Claim(
        "C2",
        "[paper, without numbers; rivals and thresholds: ours]",
        "The two-layer algorithm clearly beats several baselines in the largest deviation.",
        "geometric mean of the ratio, N=8, R=4, ages 0: "
        + ", ".join(
            f"{name} {'>=' if one.least == 1.0 else '>'} {one.least:g}"
            for name, one in RIVALS.items()
        )
        + f"; {POWER} 1 within {POWER_TOLERANCE:g}",
        (),
        _c2,
    ),
}
