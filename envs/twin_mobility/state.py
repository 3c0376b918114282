"""The state of a batch of rows of `sixgym/TwinSync-v0`, and its stages."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

IDLE, MOVE, SENSE, PROC, REPOS, TX, DEAD = range(7)
"""Stages of an agent: parked, on the way to sense, sensing, processing, on the way towards the
base station, transmitting, battery empty."""
STAGES = ("idle", "move", "sense", "process", "approach", "transmit", "dead")
NUM_STAGES = len(STAGES)
NOWHERE = -1
"""Target of an agent that has none."""


class SyncState(NamedTuple):
    """State of a batch of rows; agents and regions have an axis each."""

    slot: Tensor
    """(rows,) slot of the episode, 0 first; a float."""

    # agents
    position: Tensor
    """(rows, agents, 2) m."""
    destination: Tensor
    """(rows, agents, 2) m: where a move ends."""
    stage: Tensor
    """(rows, agents) int64, `IDLE` to `DEAD`."""
    target: Tensor
    """(rows, agents) int64: region of the cycle, or `NOWHERE`."""
    remaining: Tensor
    """(rows, agents) what is left of the stage: m, s, FLOP, m, bit by stage; 0 outside a cycle."""
    length: Tensor
    """(rows, agents) the same when the stage began."""
    way_m: Tensor
    """(rows, agents) what is left of the way towards the station that runs beside processing."""
    battery_j: Tensor
    """(rows, agents) J."""
    sensing_s: Tensor
    """(rows, agents) latched sensing time tau; 0 before."""
    compression: Tensor
    """(rows, agents) latched compression eta; 0 before."""
    approach: Tensor
    """(rows, agents) latched share xi of the way towards the station; 0 before."""
    stamp: Tensor
    """(rows, agents) t_gen of the sample that is held, s."""
    info: Tensor
    """(rows, agents) its information I, nat; 0 where none is held."""
    raw_bits: Tensor
    """(rows, agents) its raw size L; 0 where none is held."""
    sample: Tensor
    """(rows, agents) the process at t_gen, of sampled twins; (rows, 0) otherwise."""
    cycle_j: Tensor
    """(rows, agents) energy of the cycle so far, J."""
    cycle_start: Tensor
    """(rows, agents) when it began, s."""
    slot_j: Tensor
    """(rows, agents, 5) energy of the last slot by stage, J."""
    sent_bits: Tensor
    """(rows, agents) bits sent in the last slot."""

    # what an episode holds fixed
    kappa: Tensor
    """(rows, agents, regions) information rates, nat/s."""
    cpu_max: Tensor
    """(rows, agents) FLOP/s."""
    drawn_bits: Tensor
    """(rows, agents) raw bits of every look, with ``raw_mode`` fixed; (rows, 0) otherwise."""
    shadow: Tensor
    """(rows, agents, regions) shadowing as a power gain; (rows, 0, regions) without."""
    centre: Tensor
    """(rows, regions, 2) m."""
    drift: Tensor
    """(rows, regions) lambda, 1/s."""
    theta: Tensor
    """(rows, regions) required information, nat."""

    # twins
    twin_stamp: Tensor
    """(rows, regions) g, s."""
    twin_info: Tensor
    """(rows, regions) I of the last accepted update, nat."""
    packet_stamp: Tensor
    """(rows, regions, places) t_gen of the packets kept, newest first, s."""
    packet_info: Tensor
    """(rows, regions, places) nat."""
    packet_sample: Tensor
    """(rows, regions, places) as ``sample``; (rows, regions, 0) without sampled twins."""
    process: Tensor
    """(rows, 2, regions) the physical process and its twin; (rows, 2, 0) if not sampled."""
    known: Tensor
    """(rows, 2, agents, regions) ages and deviations as an agent last heard of them; (rows, 2, 0,
    regions) where all know the present ones."""

    # what is remembered for the account
    peak: Tensor
    """(rows, 2) largest deviation and age so far, just before the end of a slot."""
    area: Tensor
    """(rows, regions) sum over the slots of the mean deviation in each."""
