"""Baselines of LLM-MAC, and the exact theory that they are measured against.

============ ======================================================================================
`protocol`    what all access schemes share: reading, acknowledging, deleting
`schemes`     ALOHA, backoff, carrier sense, turns, requests and grants, genies
`one_slot`    the one-slot Stackelberg game by enumeration; exploitability; gradient play
`multi_slot`  the small multi-slot game by backward induction; regret of any pair of policies
`potential`   potential functions of the followers' game
`theory`      closed forms of access schemes, and the bound on goodput
`report`      what sums do not tell: delay quantiles, adaptation, coded signalling
============ ======================================================================================
"""

from __future__ import annotations

from sixgym.baselines.llm_mac.schemes import (
    Aloha,
    Backoff,
    CarrierSense,
    ContentionFree,
    LongestQueue,
    ProportionalFair,
    RoundRobin,
)
from sixgym.baselines.policy import Baseline

ALOHA_RATE = 0.5
"""The contention-based setting of the authors [related: LLM4MAC]."""
BACKOFF_WINDOW, BACKOFF_STAGES = 2, 5
"""W0 and m [our choice]."""
MINI_SLOTS = 8
"""M of CSMA [our choice]."""

BASELINES: dict[str, Baseline] = {
    b.name: b
    for b in (
        Baseline(
            "aloha",
            lambda system: Aloha(system, "aloha", "users"),
            "observation",
            "heuristic",
            "Slotted ALOHA: a user who waits sends with probability one over the users there are.",
        ),
        Baseline(
            "aloha_half",
            lambda system: Aloha(system, "aloha_half", ALOHA_RATE),
            "observation",
            "heuristic",
            "Slotted ALOHA with probability 0.5, the authors' contention-based setting.",
        ),
        Baseline(
            "aloha_backlog",
            lambda system: Aloha(system, "aloha_backlog", "waiting"),
            "model",
            "heuristic",
            "Slotted ALOHA with probability one over the users who wait, which a genie tells.",
        ),
        Baseline(
            "backoff",
            lambda system: Backoff(system, "backoff", BACKOFF_WINDOW, BACKOFF_STAGES),
            "observation",
            "heuristic",
            "Slotted ALOHA with binary exponential backoff, windows 2 to 64.",
        ),
        Baseline(
            "csma",
            lambda system: CarrierSense(system, "csma", MINI_SLOTS),
            "model",
            "heuristic",
            "CSMA: users hear each other in 8 mini-slots that take no time; ties collide.",
        ),
        Baseline(
            "round_robin",
            lambda system: RoundRobin(system, "round_robin"),
            "observation",
            "heuristic",
            "Grants in a circle, whether there is data or not.",
        ),
        Baseline(
            "contention_free",
            lambda system: ContentionFree(system, "contention_free"),
            "observation",
            "heuristic",
            "Request, grant, send, acknowledge; one of those who asked is granted at random.",
        ),
        Baseline(
            "contention_free_delayed",
            lambda system: ContentionFree(system, "contention_free_delayed"),
            "observation",
            "heuristic",
            "The same where messages are heard one slot later, as in LLM4MAC.",
            env_kwargs={"timing": "delayed"},
        ),
        Baseline(
            "proportional_fair",
            lambda system: ProportionalFair(system, "proportional_fair"),
            "model",
            "heuristic",
            "A genie that sees the buffers grants whoever was served least, mean over 20 slots.",
        ),
        Baseline(
            "longest_queue",
            lambda system: LongestQueue(system, "longest_queue"),
            "model",
            "reference",
            "A genie that sees the buffers grants whoever has most undelivered packets.",
        ),
        Baseline(
            "max_weight",
            lambda system: LongestQueue(system, "max_weight", is_weighted=True),
            "model",
            "heuristic",
            "The same, packets weighted by their chance to get through.",
        ),
        Baseline(
            "goodput_bound",
            lambda system: LongestQueue(system, "goodput_bound"),
            "model",
            "bound",
            "A genie where delivered packets leave by themselves: a packet gets through in every "
            "slot in which there is one, which no policy exceeds while buffers do not overflow.",
            env_kwargs={"auto_delete": True},
        ),
    )
}
"""The table of `sixgym/LlmMac-v0`."""
