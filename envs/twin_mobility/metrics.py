"""What `sixgym/TwinSync-v0` reports of each slot, and the scores made of it.

In the slot that ends an episode because all agents are dead, sums over slots are closed with those
of the slots left, in which nothing would have moved; so dying early does not look good.
"""

from __future__ import annotations

from sixgym.envs.core.system import Metric, Score

METRICS: tuple[Metric, ...] = (
    Metric("max_deviation", "1", "Largest mean deviation of a region over the slot."),
    Metric("mean_deviation", "1", "Mean over the regions of the same."),
    Metric("mean_age", "s", "Mean over the regions of the mean age over the slot."),
    Metric("slots", "1", "1; with the slots left once all are dead."),
    Metric("loss_deviation", "1", "Reward term: minus deviation over its reference."),
    Metric("loss_energy", "1", "Reward term: minus energy."),
    Metric("loss_budget", "1", "Reward term: minus excess over the budget of a cycle."),
    Metric("shaping", "1", "Reward term: potential-based shaping."),
    Metric("closing", "1", "Reward term: what the slots left would have cost, once all are dead."),
    Metric("team_reward", "1", "Their sum: what one controller of all agents is paid."),
    Metric("energy_j", "J", "Energy of all agents."),
    Metric("energy_motion_j", "J", "Of it, on the way to sense and towards the station."),
    Metric("energy_sense_j", "J", "Of it, for sensing."),
    Metric("energy_process_j", "J", "Of it, for processing."),
    Metric("energy_send_j", "J", "Of it, for transmitting."),
    Metric("delivered", "1", "Packets delivered: cycles that came to their end."),
    Metric("accepted", "1", "Updates of twins accepted."),
    Metric("short", "1", "Packets after which no packets of their region carry enough."),
    Metric("update_deviation", "1", "Sum over the updates of the deviation just before."),
    Metric("update_fidelity", "1", "Sum over the updates of their fidelity."),
    Metric("cost_energy", "1", "Sum over the cycles that ended of max(0, E_n / budget - 1)."),
    Metric("over_budget", "1", "Cycles that ended with more energy than the budget."),
    Metric("deaths", "1", "Agents whose battery went empty."),
    Metric("all_alive_s", "s", "Length of the slot if nobody was dead as it began."),
    Metric("band_use", "1", "Bits sent over bandwidth times slot length, bit/s/Hz."),
    Metric("invalid", "1", "Choices of regions out of reach, taken as staying."),
    Metric("peak_deviation", "1", "In the last slot: the largest deviation of the episode."),
    Metric("peak_age", "s", "In the last slot: the largest age of the episode."),
    Metric("jain", "1", "In the last slot: Jain's index of the regions' mean deviations."),
    Metric("t", "s", "Time at the end of the slot."),
    Metric("max_dev", "1", "Largest deviation of a region at the end of the slot."),
    Metric("dev", "1", "Deviations at the end of the slot.", 0, (1,)),
    Metric("aoi", "s", "Ages at the end of the slot.", 0, (1,)),
    Metric("energy", "J", "Energy by agent and stage.", 0, (1, 5)),
    Metric(
        "region_mask",
        "1",
        "Regions that each agent may choose next, after staying; 0 in the info of a reset, where "
        "`Observer.masks_of` tells them from what is seen.",
        0,
        (1,),
    ),
    Metric(
        "component_mask",
        "1",
        "Components of each action that the next slot reads; at a reset as region_mask.",
        0,
        (1,),
    ),
    Metric("agent_delivered", "1", "1 if the agent delivered its packet."),
    Metric("agent_accepted", "1", "1 if that packet is part of an update accepted."),
    Metric("agent_cost_energy", "1", "max(0, E_n / budget - 1) of a cycle that ended."),
    Metric("agent_invalid", "1", "1 if the agent chose a region out of its reach."),
    Metric("agent_credit", "1", "The packet's share of the decrease of the deviation.", 1),
    Metric("agent_bits", "bit", "Bits sent.", 1),
)
"""Those with an axis of regions or agents get its length by `shaped`."""

SAMPLED = Metric(
    "squared_error", "1", "(X - twin)^2 of each region at the end of the slot.", 0, (1,)
)
"""Of sampled twins only."""

SCORES: tuple[Score, ...] = (
    Score(
        "j_max",
        "1",
        "max_deviation",
        "slots",
        False,
        "Time average of the largest deviation, J_max.",
    ),
    Score("return", "1", "reward"),
    Score("j_mean", "1", "mean_deviation", "slots", False, "Time and region average."),
    Score("j_peak", "1", "peak_deviation", "episodes", False, "Largest deviation of an episode."),
    Score("mean_age_s", "s", "mean_age", "slots", False, "Time and region average of the age."),
    Score("peak_age_s", "s", "peak_age", "episodes", False, "Largest age of an episode."),
    Score("deviation_at_update", "1", "update_deviation", "accepted", False),
    Score("fidelity_at_update", "1", "update_fidelity", "accepted"),
    Score("acceptance", "1", "accepted", "delivered", True, "Updates accepted a packet."),
    Score("short_share", "1", "short", "delivered", False, "Packets that stay without effect."),
    Score("energy_j", "J", "energy_j", "episodes", False, "Energy of an episode."),
    Score("energy_per_update_j", "J", "energy_j", "accepted", False),
    Score("deaths", "1", "deaths", "episodes", False, "Deaths in an episode."),
    Score("first_death_s", "s", "all_alive_s", "episodes", True, "Time until somebody dies."),
    Score("cost_energy", "1", "cost_energy", "delivered", False, "Mean excess of a cycle."),
    Score("over_budget_share", "1", "over_budget", "delivered", False, "Cycles over budget."),
    Score("jain", "1", "jain", "episodes", True, "Fairness over the regions."),
    Score("band_use", "bit/s/Hz", "band_use", "slots", True, "Use of the band."),
)


def shaped(
    metrics: tuple[Metric, ...], num_agents: int, num_regions: int, num_components: int
) -> tuple[Metric, ...]:
    """The metrics with the lengths of their axes."""
    n, r = num_agents, num_regions
    shapes: dict[str, tuple[int, ...]] = {
        "dev": (r,),
        "aoi": (r,),
        "squared_error": (r,),
        "score": (r,),
        "energy": (n, 5),
        "region_mask": (n, r + 1),
        "component_mask": (n, num_components),
    }
    return tuple(m._replace(shape=shapes.get(m.name, m.shape)) for m in metrics)
