"""Digital twins of regions, kept in step with the world by mobile agents.

A base station holds a twin of every region of a map. Agents refresh them in cycles of five stages:
move to sense, sense together, process on board, move towards the station for a better channel,
transmit on a shared uplink. Twins age and are imperfect; the aim is a small largest deviation under
limited energy.

This is a reconstruction: of "Digital Twin Synchronization Over Mobile Embodied AI Network With
Agentic Intelligence" (arXiv 2605.14625) only the abstract was read, and of its companion on agent
aggregation (arXiv 2604.02381) the abstract and what a public reproduction restates. No number here
is the paper's.

=================================== ================================================================
`sixgym/AgentAggregation-v0`        agents of the companion hand over what they know, pair by pair
`sixgym/TwinRound-v0`               round by round, all five stages at once; one round by default
`sixgym/TwinSync-v0`                slot by slot, agents in different stages
=================================== ================================================================

=============== ====================================================================================
module          what it holds
=============== ====================================================================================
base_params     what the systems of twin synchronisation share, with unit, range and source
params          the parameters of `sixgym/TwinSync-v0`
geometry        sensing points, ways, distances
cycle           times, energies and information of a cycle in closed form
link            gain and rate of the uplink
sharing         how those who transmit share the band
twin            deviation, buffers and fusion, sums over slots in which nobody moves
layout          where regions and agents stand, and what is drawn for an episode
state           the typed state of a batch of rows
actions         three layouts of an action, the resources it stands for, masks
slot            one pass over the stages, and the uplink
account         batteries and deaths, packets at the station, sampled twins
report          reward and account of a slot
observation     what agents and a controller see
options         the option ``instance`` of a reset
metrics         what is reported, and the scores
sync            `sixgym/TwinSync-v0`
scene           the picture
round           `sixgym/TwinRound-v0`
round_*         its parameters, state, observation, physics of a round, time integral of the
                largest deviation, report, metrics and picture
aggregation     `sixgym/AgentAggregation-v0`
aggregation_*   its parameters, areas, moves, pairing, physics of a round, state, observation,
                metrics, reset option and picture
=============== ====================================================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sixgym.envs.twin_mobility.aggregation import AgentAggregation
    from sixgym.envs.twin_mobility.aggregation_params import AgentAggregationParams
    from sixgym.envs.twin_mobility.params import TwinSyncParams
    from sixgym.envs.twin_mobility.round import TwinRound
    from sixgym.envs.twin_mobility.round_params import TwinRoundParams
    from sixgym.envs.twin_mobility.sync import TwinSync

_HOMES = {
    "AgentAggregation": "aggregation",
    "AgentAggregationParams": "aggregation_params",
    "TwinRound": "round",
    "TwinRoundParams": "round_params",
    "TwinSync": "sync",
    "TwinSyncParams": "params",
}
__all__ = [
    "AgentAggregation",
    "AgentAggregationParams",
    "TwinRound",
    "TwinRoundParams",
    "TwinSync",
    "TwinSyncParams",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first touch, so that listing the systems imports no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
