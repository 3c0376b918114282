"""The suite's own ids. Importing this imports neither torch nor any system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sixgym.envs.core.registry import register

Splits = Mapping[str, Mapping[str, Mapping[str, Any]]]

HELD_BACK = {"split": "test"}
"""Event offloading is judged on events that no threshold and no agent was chosen on."""

# Splits are written before any result: presets that no configuration trains in, and other numbers
# of users, devices or agents, other loads and other statistics of the channel.

RIS_SPLITS: Splits = {
    "held_out": {"linear_cpu": {"preset": "linear_cpu"}, "ris_power": {"preset": "ris_power"}},
    "generalisation": {
        "six_users": {"num_users": 6},
        "high_load": {"arrival_probability": 0.8},
        "fast_fading": {"fading_correlation": 0.5},
    },
}
EVENT_SPLITS: Splits = {
    "held_out": {"shufflenet": {"preset": "shufflenet"}, "medical": {"preset": "medical"}},
    "generalisation": {"more_events": {"prevalence": 0.2}, "low_snr": {"mean_snr_db": 5.0}},
}
EVENT_MULTI_SPLITS: Splits = {
    "held_out": {"same_traces": {"preset": "same_traces"}},
    "generalisation": {"four_devices": {"num_devices": 4}, "low_snr": {"mean_snr_db": 5.0}},
}
MAC_SPLITS: Splits = {
    "held_out": {"birth_death": {"preset": "birth_death"}, "llm4mac": {"preset": "llm4mac"}},
    "generalisation": {
        "eight_users": {"population": "fixed", "num_users": 8},
        "high_load": {"arrival_prob": 0.8},
        "erasures": {"tbler": 0.1},
    },
}
AGGREGATION_SPLITS: Splits = {
    "held_out": {"stress": {"preset": "stress"}, "sequential": {"preset": "sequential"}},
    "generalisation": {"six_agents": {"num_agents": 6}, "open_field": {"path_loss_exponent": 2.5}},
}
TWIN_SPLITS: Splits = {
    "held_out": {"narrowband": {"preset": "narrowband"}, "uav": {"preset": "uav"}},
    "generalisation": {
        "five_agents": {"num_agents": 5, "num_regions": 3},
        "scattered": {"rician_k": 1.0},
    },
}
NETGPT_SPLITS: Splits = {
    "held_out": {"harsh": {"preset": "harsh"}, "tou": {"preset": "tou"}},
    "generalisation": {
        "high_load": {"num_requests": 24},
        "jittery": {"bandwidth_corr": 0.6, "bandwidth_jitter": 0.6},
    },
}


def register_envs() -> None:
    """Register every system of the suite with Gymnasium (and games with PettingZoo); idempotent."""
    for id, name, title in (
        ("sixgym/RisNoma-v0", "RisNoma", "RIS-assisted semantic uplink NOMA, full hybrid control"),
        (
            "sixgym/RisNomaSelect-v0",
            "RisNomaSelect",
            "RIS-assisted semantic uplink NOMA, choose which block to re-optimise",
        ),
    ):
        register(
            id,
            f"sixgym.envs.ris_noma:{name}",
            max_episode_steps=100,
            title=title,
            baselines="sixgym.baselines.ris_noma",
            claims="sixgym.leaderboard.claims.ris_noma",
            splits=RIS_SPLITS,
        )
    register(
        "sixgym/EventOffloadExit-v0",
        "sixgym.envs.event_offload:EventOffloadExit",
        max_episode_steps=None,
        title="Event-triggered offloading decided exit by exit, with action mask",
        baselines="sixgym.baselines.event_offload.exit",
        splits=EVENT_SPLITS,
        claims="sixgym.leaderboard.claims.event_offload",
        evaluation=HELD_BACK,
    )
    register(
        "sixgym/EventOffloadMulti-v0",
        "sixgym.envs.event_offload:EventOffloadMulti",
        max_episode_steps=200,
        title="Event-triggered offloading of several devices that share uplink and server",
        baselines="sixgym.baselines.event_offload.multi",
        splits=EVENT_MULTI_SPLITS,
        is_game=True,
        claims="sixgym.leaderboard.claims.event_offload",
        evaluation=HELD_BACK,
    )
    register(
        "sixgym/EventOffload-v0",
        "sixgym.envs.event_offload:EventOffload",
        max_episode_steps=200,
        title="Event-triggered offloading of rare events, two thresholds a slot",
        baselines="sixgym.baselines.event_offload",
        splits=EVENT_SPLITS,
        claims="sixgym.leaderboard.claims.event_offload",
        evaluation=HELD_BACK,
    )
    register(
        "sixgym/LlmMac-v0",
        "sixgym.envs.llm_mac:LlmMac",
        max_episode_steps=24,
        title="Base station and a changing set of users share a channel, in an action grammar",
        claims="sixgym.leaderboard.claims.llm_mac",
        baselines="sixgym.baselines.llm_mac",
        splits=MAC_SPLITS,
        is_game=True,
    )
    register(
        "sixgym/AgentAggregation-v0",
        "sixgym.envs.twin_mobility:AgentAggregation",
        max_episode_steps=16,
        title="Mobile agents hand over what they know, in pairs, until one has it all",
        claims="sixgym.leaderboard.claims.twin_mobility",
        baselines="sixgym.baselines.twin_mobility.aggregation",
        splits=AGGREGATION_SPLITS,
        is_game=True,
        parallel={"action_mode": "hybrid"},
    )
    register(
        "sixgym/TwinRound-v0",
        "sixgym.envs.twin_mobility:TwinRound",
        max_episode_steps=None,
        title="Mobile agents keep digital twins in step, a synchronisation round a step",
        claims="sixgym.leaderboard.claims.twin_mobility",
        baselines="sixgym.baselines.twin_mobility.round",
        splits=TWIN_SPLITS,
        is_game=True,
        parallel={"action_mode": "hybrid"},
    )
    register(
        "sixgym/TwinSync-v0",
        "sixgym.envs.twin_mobility:TwinSync",
        max_episode_steps=600,
        title="Mobile agents keep digital twins in step, slot by slot",
        claims="sixgym.leaderboard.claims.twin_mobility",
        baselines="sixgym.baselines.twin_mobility.sync",
        splits=TWIN_SPLITS,
        is_game=True,
        parallel={"action_mode": "hybrid"},
    )
    for name, steps, table, title in (
        ("Batch", 200, ".batch", "Cloud-edge routing of a slot's requests on a shared uplink"),
        ("Route", 1024, ".route", "Cloud-edge routing of tool-calling requests, one by one"),
        ("Threshold", 200, "", "Cloud-edge routing of tool-calling requests by a threshold"),
    ):
        register(
            f"sixgym/NetGpt{name}-v0",
            f"sixgym.envs.netgpt:NetGpt{name}",
            max_episode_steps=steps,
            title=title,
            baselines=f"sixgym.baselines.netgpt{table}",
            claims="sixgym.leaderboard.claims.netgpt",
            splits=NETGPT_SPLITS,
        )
