"""What `sixgym/AgentAggregation-v0` reports of each round, and the scores made of it."""

from __future__ import annotations

from sixgym.envs.core.system import Metric, Score

METRICS: tuple[Metric, ...] = (
    Metric("mission_j", "J", "Energy of all agents, and in the round in which an episode fails "
        "stranded_j for each agent that should have handed over."),
    Metric("energy_j", "J", "Energy of all agents."),
    Metric("move_j", "J", "Of it, moving."),
    Metric("compute_j", "J", "Of it, computing."),
    Metric("send_j", "J", "Of it, sending."),
    Metric("failures", "1", "Links that failed."),
    Metric("handovers", "1", "Links that did not."),
    Metric("rounds", "1", "1."),
    Metric("completed", "1", "1 in the round after which one agent holds everything, else 0."),
    Metric("stranded", "1", "In the round in which an episode fails: active agents less one."),
    Metric("root_bit", "bit", "Payload of the one that holds everything, when it does; else 0."),
    Metric("worst_agent_j", "J", "In the last round: the largest energy that an agent has spent in "
        "the episode; else 0."),
    Metric("agent_energy_j", "J", "Energy of the agent."),
    Metric("agent_partner", "1", "Seat of the partner, -1 for none.", 1),
    Metric("agent_deed", "1", "0 idle, 1 gave, 2 took, 3 failed giving, 4 failed taking.", 1),
    Metric("agent_moved_m", "m", "Way of the round.", 1),
    Metric("agent_ratio", "1", "Compression ratio of the agent's role; 1 where idle.", 1),
    Metric("agent_power_w", "W", "Transmit power; 0 where nothing is sent.", 1),
    Metric("agent_time_left_s", "s", "Time left for the link; 0 where idle.", 1),
    Metric("agent_payload_bit", "bit", "Payload after the round.", 1),
    Metric("agent_active", "1", "1 of who has not handed over after the round.", 1),
)  # fmt: skip

SCORES: tuple[Score, ...] = (
    Score(
        "mission_energy",
        "J",
        "mission_j",
        higher_is_better=False,
        description="Energy of a mission; of a failed one with stranded_j for each agent that "
        "should have handed over.",
    ),
    Score("return", "1", "reward"),
    Score("completed_share", "1", "completed", description="Missions that end with one root."),
    Score("failures", "1", "failures", "episodes", False, "Failed links of a mission."),
    Score("energy", "J", "energy_j", "episodes", False, "What is spent, failed or not."),
    Score("move_energy", "J", "move_j", "episodes", False),
    Score("compute_energy", "J", "compute_j", "episodes", False),
    Score("send_energy", "J", "send_j", "episodes", False),
    Score("worst_agent_energy", "J", "worst_agent_j", "episodes", False, "Of the agent that spends "
        "most in a mission."),
    Score("rounds", "1", "rounds", "episodes", False),
    Score("root_payload", "bit", "root_bit", "completed", False, "What a root holds."),
)  # fmt: skip
