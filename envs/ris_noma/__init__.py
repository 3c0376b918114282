"""RIS-assisted semantic uplink NOMA with deferrable extraction.

Several users send semantic information to one access point over uplink NOMA, helped by a
reconfigurable intelligent surface (RIS). Three things can be controlled in every slot: how much raw
data each user extracts and how strongly it is compressed ("traffic reshaping"), the phases of the
surface ("channel reconfiguration"), and the order in which the users are decoded. Raw data has a
deadline of a few slots, so its extraction can be deferred. The aim is long-term energy efficiency:
bits delivered per joule, as a ratio of sums.

This is **an independent model built from the abstract** of S. Zhao, S. Gong, B. Gu, Z. Xiong,
P. Wang, K. Huang, "DRL-driven Online Optimization for Joint Traffic Reshaping and Channel
Reconfiguration in RIS-assisted Semantic NOMA Communications", arXiv 2603.21093. The body of that
paper was not read; no equation, number or baseline name here is the paper's.

========================== =========================================================================
`sixgym/RisNoma-v0`        full control: volumes, extraction factors, phases and order in one Box
`sixgym/RisNomaSelect-v0`  choose which of the three blocks an optimiser redoes
========================== =========================================================================

=========== ================================================================================
module      what it holds
=========== ================================================================================
params      every parameter with unit, range and source, and the presets
state       the typed state of a batch of rows, and the controls
model       the constants that the equations use
channel     geometry, fading and the surface
recordings  the columns of trace files
sources     direct links and traffic from trace files, direct links from Sionna
physics     extraction, access and queues of one slot, as pure functions
controls    actions, controls and the blocks that are held
optimisers  numerical optimisers of factors and orders
surface     numerical optimiser of the phases
solvers     the three blocks and their alternation, for the systems and for baselines
observation what the agent sees
system      the two systems: start, advance, observe
scene       the picture
=========== ================================================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sixgym.envs.ris_noma.params import RisNomaParams, RisNomaSelectParams
    from sixgym.envs.ris_noma.system import RisNoma, RisNomaSelect

_HOMES = {
    "RisNoma": "system",
    "RisNomaSelect": "system",
    "RisNomaParams": "params",
    "RisNomaSelectParams": "params",
}
__all__ = ["RisNoma", "RisNomaParams", "RisNomaSelect", "RisNomaSelectParams"]


def __getattr__(name: str) -> Any:
    """Load a public name on first touch, so that listing the systems imports no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
