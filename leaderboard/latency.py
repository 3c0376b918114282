"""How long a policy takes to decide: one observation alone, and a thousand at once.

The times of a whole play (`sixgym.leaderboard.store.Timing`) are those of the board's batch. Here
single calls of ``predict`` are timed at fixed sizes, so that policies can be compared whatever they
were played with. Times are those of one machine; everything else of a row is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from sixgym.envs.core.rollout import Actor
from sixgym.leaderboard.players import Player, kwargs_of
from sixgym.leaderboard.protocol import Task
from sixgym.leaderboard.store import Latency

ROWS = (1, 1024)
"""Sizes of the batch."""
CALLS = 100
"""Calls that are timed at most: the 99th percentile is then the second longest."""
WARM_UP = 2
"""Calls before them: the first one allocates."""
LIMIT_S = 0.5
"""Time after which no further call is begun; at least `LEAST` are timed."""
LEAST = 5
"""Calls that are timed at least, of a policy whose single calls keep the limit."""
TOO_LONG_S = 0.02
"""Median time of a decision for which larger batches are not timed: a solver that takes this long
for one observation would need minutes for a thousand."""
STEP_EVERY = {1: 1, 1024: 10}
"""Calls from one step of the environment to the next, whose step may be slow at many rows."""


def decision_latency(
    player: Player,
    task: Task,
    *,
    sizes: Sequence[int] = ROWS,
    limit_s: float = LIMIT_S,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Latency]:
    """Time the decisions of a player's first member, up to the size that takes `TOO_LONG_S`.

    Args:
        player: who decides.
        task: where; its worlds are those of the small seeds.
        sizes: observations decided at once.
        limit_s: see `LIMIT_S`, for each size.
        clock: tells the time in seconds.
    """
    timed: list[Latency] = []
    for rows in sizes:
        if timed and timed[-1].median_s > TOO_LONG_S:
            break
        timed.append(_timed(player, task, rows, limit_s, clock))
    return timed


def _timed(
    player: Player, task: Task, rows: int, limit_s: float, clock: Callable[[], float]
) -> Latency:
    from sixgym.leaderboard.runner import make_rows

    env = make_rows(player.card.env_id, rows, kwargs_of(player, task))
    try:
        member = player.members[0]
        policy = member.make(env.system)
        attach = getattr(policy, "attach", None)
        if attach is not None:
            attach(env)
        actor = Actor(env, policy, member.deterministic)
        observation, _ = env.reset(seed=list(range(rows)))
        start = np.ones(rows, dtype=bool)
        took: list[float] = []
        began_all = clock()
        while len(took) < CALLS + WARM_UP and (
            len(took) < _least(took) or clock() - began_all < limit_s
        ):
            began = clock()
            action = actor.act(observation, start)
            took.append(clock() - began)
            if len(took) % STEP_EVERY.get(rows, 1) == 0:
                observation, _, terminated, truncated, _ = env.step(action)
                start = np.asarray(terminated) | np.asarray(truncated)
    finally:
        env.close()
    timed = took[WARM_UP:] or took[-1:]
    return Latency(
        rows=rows,
        median_s=float(np.median(timed)),
        p99_s=float(np.percentile(timed, 99)),
        calls=len(timed),
    )


def _least(took: Sequence[float]) -> int:
    """How many calls are made whatever they take: one after a warm-up where each is too long."""
    return 2 if took and took[-1] > LIMIT_S else LEAST + WARM_UP
