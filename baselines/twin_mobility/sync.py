"""The table of baselines of ``sixgym/TwinSync-v0``.

Rules that play from the central observation with fixed resources, a static partition whose
resources are tuned, and the two-layer algorithm as a dispatcher, which reads the model's state. All
act through the environment's own flat action. No bound of J_max stands here: none is known that is
cheap, proved and of use.

Scores are normalised by ``static_partition``: it is the best of the rules with common resources,
plays in every variant from what all may see, and costs next to nothing, while the dispatcher takes
minutes and knows the model. So 1 is what division of labour alone gives, and more can be had.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sixgym.baselines.policy import Baseline, Cost, Kind, Sees
from sixgym.baselines.twin_mobility.sync_dispatch import Dispatcher
from sixgym.baselines.twin_mobility.sync_rules import (
    CoordinatedMaxDeviation,
    NaiveMaxDeviation,
    NearestRegion,
    RandomRegion,
    RoundRobin,
    StaticPartition,
    TunedPartition,
)
from sixgym.baselines.twin_mobility.sync_view import FLAT, ID

if TYPE_CHECKING:
    from sixgym.envs.core.rollout import Policy
    from sixgym.envs.core.system import System

__all__ = ["BASELINES", "ID"]


def _entry(
    name: str,
    make: Callable[[System[Any, Any], str], Policy],
    description: str,
    kind: Kind = "heuristic",
    sees: Sees = "observation",
    cost: Cost = "fast",
) -> Baseline:
    return Baseline(
        name,
        lambda system: make(system, name),
        sees,
        kind,
        description,
        env_kwargs=FLAT,
        cost=cost,
    )


_TABLE = (
    _entry(
        "random_region", RandomRegion, "Idle agents go to any region; common resources throughout."
    ),
    _entry("nearest_region", NearestRegion, "Idle agents go to the nearest region."),
    _entry(
        "naive_maxdev", NaiveMaxDeviation, "All idle agents go to the region of largest deviation."
    ),
    _entry(
        "coordinated_maxdev",
        CoordinatedMaxDeviation,
        "Idle agents, one after the other, go to the largest deviation over one more than the "
        "agents that serve the region.",
    ),
    _entry("round_robin", RoundRobin, "Each agent visits the regions in turn."),
    _entry(
        "static_partition",
        StaticPartition,
        "Each agent keeps to one region: balanced groups of least distance, made anew at a death.",
        "reference",
    ),
    _entry(
        "static_tuned",
        TunedPartition,
        "The static partition; each agent senses until its packet suffices alone, and drives by "
        "what its battery has left for the time left. Tuned by hand for the default preset.",
    ),
    _entry(
        "hierarchical",
        Dispatcher,
        "Idle agents get regions by matching and cycles by the two-layer algorithm, on top of what "
        "is on its way, with an even pace of energy. Slow.",
        sees="model",
        cost="slow",
    ),
)

BASELINES: dict[str, Baseline] = {entry.name: entry for entry in _TABLE}
"""Baselines of `sixgym/TwinSync-v0`."""
