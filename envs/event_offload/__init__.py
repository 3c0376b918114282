"""Event-triggered offloading: rare events, multi-exit inference, dual thresholds.

A device watches a stream of events of which few are rare ("tail") and worth reporting. A network
with several exits rates each event; below a lower threshold it is dropped, above an upper one it is
sent to an edge server that names its class, in between the next block runs. Computing and sending
cost energy, sending costs more the worse the fading channel, and there is a budget. The agent sets
the thresholds.

This is a reconstruction: of You Zhou, Changsheng You, Kaibin Huang, "Communication Efficient
Cooperative Edge AI via Event-Triggered Computation Offloading", arXiv 2501.02001, only the abstract
and the first page were read. What is said of its body comes from third-party reading notes, and is
marked so; its multi-device companion FREDI (arXiv 2609.15847) was read.

============================== =====================================================================
`sixgym/EventOffload-v0`       two thresholds in every slot
`sixgym/EventOffloadExit-v0`   exit, continue or offload at each exit of each event
`sixgym/EventOffloadMulti-v0`  several devices, a shared uplink and server: a game
============================== =====================================================================

============ =======================================================================================
module       what it holds
============ =======================================================================================
params       every parameter with unit, range and source, and the presets
link         the uplink: rate, energy, outage, capacity
rule         the dual-threshold rule
scores       where confidence scores come from: traces and score models
tables       what every pair of thresholds achieves, counted exactly
lookup       the best pair for every SNR
sources      the channel from trace files and from Sionna
state        the typed state of a batch of rows
bank         the events as tensors, and drawing from them
slot         one slot: requests, service, counts
expectation  the tables on the device: budgets, and expectations instead of samples
observation  what the agent sees
metrics      what is reported, and the scores
system       start, advance, observe
scene        the picture
exit_*       parameters, system and picture of `sixgym/EventOffloadExit-v0`
multi*       parameters, state, metrics, system and picture of `sixgym/EventOffloadMulti-v0`
devices      what differs from device to device
allocation   how a resource is shared: water-filling, knapsack, bids
sharing      how uplinks and servers are shared in a slot
============ =======================================================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sixgym.envs.event_offload.exit_params import EventOffloadExitParams
    from sixgym.envs.event_offload.exit_system import EventOffloadExit
    from sixgym.envs.event_offload.multi import EventOffloadMulti
    from sixgym.envs.event_offload.multi_params import EventOffloadMultiParams
    from sixgym.envs.event_offload.params import EventOffloadParams
    from sixgym.envs.event_offload.system import EventOffload

_HOMES = {
    "EventOffload": "system",
    "EventOffloadExit": "exit_system",
    "EventOffloadExitParams": "exit_params",
    "EventOffloadMulti": "multi",
    "EventOffloadMultiParams": "multi_params",
    "EventOffloadParams": "params",
}
__all__ = [
    "EventOffload",
    "EventOffloadExit",
    "EventOffloadExitParams",
    "EventOffloadMulti",
    "EventOffloadMultiParams",
    "EventOffloadParams",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first touch, so that listing the systems imports no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
