"""Baselines of event-triggered offloading, and the exact solvers that they stand on.

================ ==================================================================================
`average`        a budget on average: linear programme by its dual
`battery`        one battery for an episode: dynamic programming with bounds on both sides
`penalty`        smoothing and the proximal-point penalty method
`per_exit`       a threshold pair for every exit: dynamic programming on one event
`devices`        several devices: proportional fairness, exact and in two stages
`design`         what a designer knows: tables of the calibration split, the uplink
`single`         the table of `sixgym/EventOffload-v0`, which this module gives as ``BASELINES``
`exit`           the table of `sixgym/EventOffloadExit-v0`
`multi`          the table of `sixgym/EventOffloadMulti-v0`
================ ==================================================================================
"""

from __future__ import annotations

from sixgym.baselines.event_offload.single import BASELINES

__all__ = ["BASELINES"]
