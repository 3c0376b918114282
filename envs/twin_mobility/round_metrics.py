"""What `sixgym/TwinRound-v0` reports of each round, and the scores made of it.

Gamma, the largest score of a region, holds the miss penalty where a region is not refreshed, so a
mean over all rounds mixes two things: how often regions are missed, and how well the others are
served. Beside it stand therefore the share of rounds that are infeasible, and the mean over the
others alone; neither of the two may be read without the other.
"""

from __future__ import annotations

from sixgym.envs.core.system import Metric, Score

METRICS: tuple[Metric, ...] = (
    Metric(
        "gamma",
        "1",
        "Largest score of a region, lambda (Delta + T_r) + omega e^-I just before its refresh; of "
        "one that is missed with the penalty.",
    ),
    Metric("mean_score", "1", "Mean over the regions of the same."),
    Metric(
        "feasible",
        "1",
        "1 if all regions were refreshed and no agent exceeded its battery or budget.",
    ),
    Metric("infeasible", "1", "1 otherwise."),
    Metric("feasible_gamma", "1", "gamma in a feasible round, else 0."),
    Metric("missed", "1", "Regions that were not refreshed."),
    Metric("refreshed", "1", "Regions that were refreshed."),
    Metric("refresh_fidelity", "1", "Sum over them of their fidelity."),
    Metric("refresh_age_s", "s", "Sum over them of the age right after it."),
    Metric("round_s", "s", "Length of the round."),
    Metric(
        "deviation_s",
        "s",
        "Time integral of the largest deviation; in the last round with the time left to the "
        "horizon, in which nothing would have moved.",
    ),
    Metric("elapsed_s", "s", "Length of the round; in the last round with that time."),
    Metric("loss_score", "1", "Reward term: minus gamma; 0 with round_reward integral."),
    Metric("loss_integral", "1", "Reward term: minus the integral over the round over age_ref_s."),
    Metric("closing", "1", "Reward term: the same of the time left to the horizon at the end."),
    Metric("team_reward", "1", "Their sum: what one controller of all agents is paid."),
    Metric("energy_j", "J", "Energy of all agents."),
    Metric("energy_motion_j", "J", "Of it, on the way to sense and towards the station."),
    Metric("energy_sense_j", "J", "Of it, for sensing."),
    Metric("energy_process_j", "J", "Of it, for processing."),
    Metric("energy_send_j", "J", "Of it, for transmitting."),
    Metric("dispatched", "1", "Agents that went to a region: cycles."),
    Metric("delivered", "1", "Of them, those that delivered."),
    Metric("cost_energy", "1", "Sum over the cycles of max(0, E_n / budget - 1)."),
    Metric("over_budget", "1", "Cycles that asked for more energy than the budget."),
    Metric("deaths", "1", "Agents whose battery went empty."),
    Metric("invalid", "1", "Choices of regions out of reach, taken as staying."),
    Metric("band_use", "bit/s/Hz", "Bits delivered over bandwidth times length of the round."),
    Metric("t", "s", "Time at the end of the round."),
    Metric("max_dev", "1", "Largest deviation of a region at the end of the round."),
    Metric("dev", "1", "Deviations at the end of the round.", 0, (1,)),
    Metric("aoi", "s", "Ages at the end of the round.", 0, (1,)),
    Metric("score", "1", "Score of each region.", 0, (1,)),
    Metric("energy", "J", "Energy by agent and stage.", 0, (1, 5)),
    Metric("region_mask", "1", "Regions that each agent may choose next, after staying.", 0, (1,)),
    Metric("component_mask", "1", "Components of each action that the next round reads.", 0, (1,)),
    Metric("agent_delivered", "1", "1 if the agent delivered."),
    Metric("agent_cost_energy", "1", "max(0, E_n / budget - 1)."),
    Metric("agent_invalid", "1", "1 if the agent chose a region out of its reach."),
    Metric("agent_target", "1", "Region that the agent went to, -1 for none.", 1),
    Metric("agent_speed_mps", "m/s", "Speed; this and what follows: 0 of who stays.", 1),
    Metric("agent_sensing_s", "s", "Sensing time.", 1),
    Metric("agent_cpu_flops", "FLOP/s", "Processing rate.", 1),
    Metric("agent_compression", "1", "Compression ratio.", 1),
    Metric("agent_approach_m", "m", "Way towards the station.", 1),
    Metric("agent_power_w", "W", "Transmit power.", 1),
    Metric("agent_band_hz", "Hz", "Bandwidth.", 1),
    Metric("agent_time_s", "s", "Time T_n of the cycle.", 1),
    Metric("agent_energy_j", "J", "Energy E_n that the cycle asks for.", 1),
    Metric("agent_information", "nat", "Information I_n.", 1),
)
"""Those with an axis of regions or agents get its length by `shaped`."""

SCORES: tuple[Score, ...] = (
    Score(
        "gamma",
        "1",
        "gamma",
        "steps",
        False,
        "Mean over all rounds of the largest score of a region; the penalty of misses is in it.",
    ),
    Score(
        "infeasible_share",
        "1",
        "infeasible",
        "steps",
        False,
        "Rounds that miss a region, or in which an agent exceeds its battery or budget.",
    ),
    Score(
        "feasible_gamma",
        "1",
        "feasible_gamma",
        "feasible",
        False,
        "Mean of gamma over the other rounds alone: only beside infeasible_share.",
    ),
    Score("return", "1", "reward"),
    Score("missed_regions", "1", "missed", "steps", False, "Regions missed in a round."),
    Score(
        "mean_max_deviation",
        "1",
        "deviation_s",
        "elapsed_s",
        False,
        "Time average of the largest deviation.",
    ),
    Score("fidelity_at_refresh", "1", "refresh_fidelity", "refreshed"),
    Score("age_at_refresh_s", "s", "refresh_age_s", "refreshed", False),
    Score("round_s", "s", "round_s", "steps", False, "Length of a round."),
    Score("energy_j", "J", "energy_j", "steps", False, "Energy of a round."),
    Score("energy_per_cycle_j", "J", "energy_j", "dispatched", False),
    Score("cost_energy", "1", "cost_energy", "dispatched", False, "Mean excess of a cycle."),
    Score("deaths", "1", "deaths", "episodes", False, "Deaths in an episode."),
    Score("band_use", "bit/s/Hz", "band_use", "steps", True, "Use of the band in a round."),
)
