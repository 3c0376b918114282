"""What is reported of a slot, and the scores."""

from __future__ import annotations

from sixgym.envs.core.system import Metric, Score

_COUNTS = (
    Metric("generated", "SDU", "Packets that arrived, dropped ones included."),
    Metric("dropped", "SDU", "Packets that found a full buffer."),
    Metric("lost", "SDU", "Packets deleted before they were delivered."),
    Metric("correct_deletes", "1", "Deletes of delivered packets."),
    Metric("senders", "1", "Users who sent."),
    Metric("grants", "1", "Grants sent."),
    Metric("acks", "1", "Acknowledgements sent."),
    Metric("dcm", "1", "Downlink messages that are not null."),
    Metric("ucm", "1", "Uplink messages that are not null."),
    Metric("invalid", "1", "Moves that the grammar's level forbids, or act on an empty buffer."),
    Metric("users", "1", "Users in the slot."),
)
COUNTED = tuple(m.name for m in _COUNTS)
"""Metrics that are counts over seats, in the order in which `account` adds them up."""
_MOVED = (
    Metric("residual", "SDU", "Growth of the undelivered packets in the buffers."),
    Metric("abandoned", "SDU", "Undelivered packets of users who left after the slot."),
    Metric("left", "1", "Users who left after the slot."),
    Metric("joined", "1", "Users who joined after the slot."),
)
MOVED = tuple(m.name for m in _MOVED)
"""The same of those that depend on who comes and goes."""

METRICS = (
    Metric("idle", "1", "1 where nobody sent."),
    Metric("collision", "1", "1 where several sent."),
    Metric("erasure", "1", "1 where one sent and was not decoded."),
    Metric("duplicate", "1", "1 where a packet was decoded again."),
    Metric("delivered", "SDU", "1 where a packet was decoded for the first time."),
    Metric("decoded", "1", "1 where a packet was decoded."),
    Metric("busy", "1", "1 where somebody sent."),
    Metric("delay", "slot", "From arrival to first decoding of the delivered packet; at least 1."),
    *_COUNTS,
    *_MOVED,
    Metric("signalling", "1", "Messages that are not null, both directions."),
    Metric("signalling_bits", "bit", "Always-on messages: log2 of both alphabets for each user."),
    Metric("utterances", "1", "Users and base station, each speaks once."),
    Metric("occupancy", "1", "Mean fill q/B of the users' buffers after the slot."),
    Metric("team_reward", "1", "The team's reward r_t."),
    Metric("jain", "1", "Growth of Jain's index of D/R; its sum over an episode is the index."),
    Metric("jain_demand", "1", "The same of the demand-normalised D/max(1, G)."),
)
"""``generated = delivered + dropped + lost + abandoned + residual`` in every slot."""

SCORES = (
    Score("goodput", "SDU/slot", "delivered", "steps", description="Distinct packets a slot."),
    Score("jain", "1", "jain", "episodes", description="Jain's index of D/R at the end."),
    Score("throughput", "1/slot", "decoded", "steps", description="Decoded transmissions a slot."),
    Score("delay", "slot", "delay", "delivered", False, "Mean delay of delivered packets."),
    Score("collision_rate", "1", "collision", "steps", False, "Share of slots that collide."),
    Score("collisions_of_busy", "1", "collision", "busy", False, "Of slots in which some send."),
    Score("idle_rate", "1", "idle", "steps", False, "Share of slots without a sender."),
    Score("duplicate_rate", "1", "duplicate", "steps", False, "Share of slots with a duplicate."),
    Score("erasure_rate", "1", "erasure", "steps", False, "Share of slots with an erasure."),
    Score("delivery_ratio", "1", "delivered", "generated", description="Delivered of generated."),
    Score("jain_demand", "1", "jain_demand", "episodes", description="Jain's index of D/G."),
    Score("signalling", "1/slot", "signalling", "steps", False, "Messages a slot."),
    Score("signalling_per_sdu", "1/SDU", "signalling", "delivered", False, "Messages a packet."),
    Score("occupancy", "1", "occupancy", "steps", False, "Mean fill of the buffers."),
    Score("invalid_rate", "1", "invalid", "utterances", False, "Invalid moves an utterance."),
    Score("lost", "SDU", "lost", "episodes", False, "Packets lost by wrong deletes."),
    Score("dropped", "SDU", "dropped", "episodes", False, "Packets dropped."),
    Score("residual", "SDU", "residual", "episodes", False, "Undelivered at the end."),
    Score("return", "1", "reward", "episodes", description="The base station's utility."),
)
