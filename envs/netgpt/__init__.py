"""NetGPT: cloud-edge routing of tool-calling requests, with an edge agent that improves itself.

A light language model at the edge and a large one in the cloud answer structured tool-calling
requests. A scorer rates the edge's draft; below a threshold the request falls back to the cloud,
which is better, but slower by the network and priced. The best threshold depends on bandwidth,
round-trip time and price. The cloud's answers are data on which the edge agent improves, and the
scorer is refitted with it.

This is a reconstruction: of Y. Chen, R. Li, X. Chen, C. Wu, C. Peng, Z. Zhao, H. Zhang, "Optimizing
NetGPT via Routing-Based Synergy and Reinforcement Learning", arXiv 2511.22217, only the abstract,
the opening and the README of the authors' repository were read. No number here is the paper's.

=============================== ====================================================================
`sixgym/NetGptThreshold-v0`     a threshold in every slot
`sixgym/NetGptRoute-v0`         keep or offload, one request after another
`sixgym/NetGptBatch-v0`         all requests of a slot together, on a shared uplink
=============================== ====================================================================

The three share one simulator: an episode of a seed meets the same requests, network and prices in
each of them.

=============== ====================================================================================
module          what it holds
=============== ====================================================================================
params          every parameter with unit, range and source, and the presets
world_params    those of arrivals, requests, network and prices
learning_params those of self-improvement
state           the typed state of a batch of rows
network         regimes, jitter, traces and price schedules
trace_files     reading and writing traces
requests        difficulty, score, sizes and potential outcomes of requests
service         latency, price, waiting and worth
outcomes        both sides of every decision, and what was chosen
learning        buffer, cadence, skill, scorer, drift and schema
observation     what the agent sees
metrics         what is reported, and the scores
slots           what the systems share whose step is a slot
threshold       `sixgym/NetGptThreshold-v0`
batch           `sixgym/NetGptBatch-v0`
route           `sixgym/NetGptRoute-v0`
scene           the picture
=============== ====================================================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sixgym.envs.netgpt.batch import NetGptBatch
    from sixgym.envs.netgpt.params import (
        NetGptBatchParams,
        NetGptRouteParams,
        NetGptThresholdParams,
    )
    from sixgym.envs.netgpt.route import NetGptRoute
    from sixgym.envs.netgpt.threshold import NetGptThreshold

_HOMES = {
    "NetGptBatch": "batch",
    "NetGptBatchParams": "params",
    "NetGptRoute": "route",
    "NetGptRouteParams": "params",
    "NetGptThreshold": "threshold",
    "NetGptThresholdParams": "params",
}
__all__ = [
    "NetGptBatch",
    "NetGptBatchParams",
    "NetGptRoute",
    "NetGptRouteParams",
    "NetGptThreshold",
    "NetGptThresholdParams",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first touch, so that listing the systems imports no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
