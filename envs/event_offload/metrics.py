"""What `sixgym/EventOffload-v0` reports of each slot, and the scores made of it."""

from __future__ import annotations

from sixgym.envs.core.system import Metric, Score

COST_LIMIT = 1.0
"""Limit of the mean of the metric ``cost``."""

METRICS: tuple[Metric, ...] = (
    Metric("tp", "1", "Tail events that were served (or closed on the device as tails)."),
    Metric("tp_correct", "1", "Of these, those put into the right sub-class."),
    Metric(
        "tp_credited",
        "1",
        "Of these, those that count: none where the pair breaks a hard budget of the slot.",
    ),
    Metric("fp", "1", "Head events that were served (or closed on the device as tails)."),
    Metric("fp_final", "1", "Of these, those still called tail at the end."),
    Metric("fn", "1", "Tail events that were neither, also those dropped."),
    Metric("tn", "1", "Head events that were neither."),
    Metric(
        "tails_due",
        "1",
        "Tail events; in the slot in which a battery ends the episode, with those expected in the "
        "slots left, so that an early end is no gain.",
    ),
    Metric("f1_weight", "1", "Mean of events called tail at the end and tail events."),
    Metric("n_off", "1", "Offloads served."),
    Metric("dropped", "1", "Offloads asked for and not served."),
    Metric("energy_j", "J", "Energy of the slot."),
    Metric("energy_local_j", "J", "Energy of local computation."),
    Metric("energy_tx_j", "J", "Transmit energy."),
    Metric("cost", "1", "Energy over M xi; its mean should be at most cost_limit."),
    Metric("cost_offload", "1", "Share of the events that was offloaded."),
    Metric("cost_limit", "1", "1."),
    Metric("violation", "1", "How far cost exceeds 1, or 0."),
    Metric(
        "over_budget",
        "1",
        "1 where the pair breaks the budget of the slot in expectation (budget mode slot).",
    ),
    Metric("outage", "1", "1 in a slot in which no offload meets its deadline."),
    Metric("delay_tail_s", "s", "Sum over found tails: local latency, and time on air if sent."),
    Metric("gamma_db", "dB", "SNR of the slot.", 1),
    Metric("beta_l", "1", "Lower threshold.", 1),
    Metric("beta_u", "1", "Upper threshold.", 1),
    Metric("mac_mean", "1", "Multiply-accumulates per event.", 1),
    Metric("delay_mean_tail", "s", "Mean of delay_tail_s over the found tails; 0 if none.", 1),
    Metric("exits", "1", "Events that left at each exit; 0 in the mode of expectations.", 1),
    Metric(
        "confusion",
        "1",
        "Events by true class (rows) and final class (columns), head first; 0 in the mode of "
        "expectations.",
        1,
    ),
)

SCORES: tuple[Score, ...] = (
    Score(
        "f_acc",
        "1",
        "tp_credited",
        "tails_due",
        description="Rare-event accuracy, end to end: tails found and named right within a hard "
        "budget of the slot, of all tails.",
    ),
    Score("return", "1", "reward"),
    Score(
        "f_acc_at_any_cost",
        "1",
        "tp_correct",
        "tails_due",
        description="As f_acc, in slots that break their budget too.",
    ),
    Score("recall", "1", "tp", "tails_due", description="Tails found."),
    Score(
        "f1",
        "1",
        "tp_correct",
        "f1_weight",
        description="F1 end to end: a wrong sub-class is one false alarm and one miss.",
    ),
    Score("cost", "1", "cost", "steps", False, "Mean energy over the budget; limit 1.", COST_LIMIT),
    Score("offloads_per_slot", "1", "n_off", "steps", False, "M times P_off."),
    Score("false_alarms_per_slot", "1", "fp", "steps", False),
    Score("dropped_per_slot", "1", "dropped", "steps", False),
    Score("energy_per_slot_j", "J", "energy_j", "steps", False),
    Score("over_budget_share", "1", "over_budget", "steps", False),
    Score("delay_tail_s", "s", "delay_tail_s", "tp", False, "Mean detection delay of a tail."),
    Score("correct_per_joule", "1/J", "tp_correct", "energy_j"),
)
