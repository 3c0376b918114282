"""What `sixgym/EventOffloadMulti-v0` reports of each slot, and the scores made of it."""

from __future__ import annotations

from sixgym.envs.core.system import Metric, Score

METRICS: tuple[Metric, ...] = (
    Metric("tp", "1", "Tail events that were served (or closed on a device as tails)."),
    Metric("tp_correct", "1", "Of these, those put into the right sub-class."),
    Metric("fp", "1", "Head events that were served (or closed on a device as tails)."),
    Metric(
        "tails_due",
        "1",
        "Tail events of all devices, also of those that have left; in the slot in which the last "
        "battery ends the episode, with those expected in the slots left.",
    ),
    Metric("n_off", "1", "Offloads served."),
    Metric("dropped", "1", "Offloads asked for and not served."),
    Metric("energy_j", "J", "Energy of all devices."),
    Metric("energy_tx_j", "J", "Transmit energy of all devices."),
    Metric("utility", "1", "Sum of the devices' utilities of the slot."),
    Metric("cost", "1", "Mean over the devices of energy over M xi; should be at most 1."),
    Metric("cost_capacity", "1", "Share of all events that was dropped."),
    Metric("violation", "1", "Mean over the devices of how far their own cost exceeds 1."),
    Metric("over_budget", "1", "Share of the devices whose pair breaks the budget of the slot."),
    Metric(
        "fair_value",
        "1",
        "At slot horizon_slots, or when the last battery is empty: sum of rho ln U, U the mean "
        "utility over the horizon, at least 0.001; else 0.",
    ),
    Metric("jain", "1", "At the same time: Jain's index of the mean utilities; else 0."),
    Metric("agent_cost", "1", "Energy of the device over M xi."),
    Metric("agent_cost_capacity", "1", "Share of the device's events that was dropped."),
    Metric("agent_utility", "1", "Utility of the device."),
    Metric("agent_gamma_db", "dB", "SNR of the slot.", 1),
    Metric("agent_beta_l", "1", "Lower threshold.", 1),
    Metric("agent_beta_u", "1", "Upper threshold.", 1),
    Metric("agent_band", "1", "Share of the server's bandwidth.", 1),
    Metric("agent_units", "1", "Events that the server would process.", 1),
    Metric("agent_server", "1", "Index of the device's server.", 1),
    Metric("agent_n_off", "1", "Offloads served.", 1),
    Metric("agent_tp", "1", "Tails served.", 1),
)

SCORES: tuple[Score, ...] = (
    Score(
        "fair_value",
        "1",
        "fair_value",
        description="Proportional fairness of an episode: sum of rho ln U over the devices.",
    ),
    Score("return", "1", "reward"),
    Score("jain", "1", "jain", description="Jain's fairness index of the mean utilities."),
    Score("utility_per_slot", "1", "utility", "steps", description="Sum over the devices."),
    Score("recall", "1", "tp", "tails_due", description="Tails found, over all devices."),
    Score("f_acc", "1", "tp_correct", "tails_due", description="Tails found and named right."),
    Score("offloads_per_slot", "1", "n_off", "steps", False),
    Score("dropped_per_slot", "1", "dropped", "steps", False),
    Score("cost", "1", "cost", "steps", False, "Mean energy over the budget; limit 1.", 1.0),
    Score("over_budget_share", "1", "over_budget", "steps", False),
)
