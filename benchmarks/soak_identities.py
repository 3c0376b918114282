"""What each system must conserve, for the long runs of `soak`.

An identity has two sides that are equal in every row: of a step's metrics, or of what a row held
when its episode began, what it holds now, and the sums of the metrics in between. Counts agree
exactly; amounts of energy and data to the rounding of as many additions as an episode has steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.envs.twin_mobility.aggregation_state import COMPUTE, MOVE, SEND

Array = NDArray[Any]
EXACT = 0.0
"""Of counts: whole numbers, which float32 holds exactly."""
STEP = 2e-5
"""Relative, of a few float32 additions."""
EPISODE = 5e-4
"""Relative, of as many float32 additions as an episode has steps."""


class Seen(NamedTuple):
    """What the sides of an identity are made of; every array is (rows, ...) float64."""

    system: Any
    first: Mapping[str, Array]
    """What `Books.stocks` gave when each row's episode began."""
    now: Mapping[str, Array]
    sums: Mapping[str, Array]
    """Of the metrics of `Books.sums`, since each row's episode began."""
    step: Mapping[str, Array]
    """The metrics of the last step."""


class Identity(NamedTuple):
    """Two sides, equal within ``tolerance`` times the larger of them."""

    name: str
    sides: Callable[[Seen], tuple[Array, Array]]
    tolerance: float


class Books(NamedTuple):
    """The identities of a system and what they need."""

    stocks: Callable[[Any, Any], dict[str, Any]]
    """Of a system and its state: what each row holds, tensors (rows, ...)."""
    sums: tuple[str, ...]
    identities: tuple[Identity, ...]


def no_stocks(system: Any, state: Any) -> dict[str, Any]:
    """Of a system whose identities are all of a step."""
    return {}


def parts_of(total: str, *parts: str, tolerance: float = STEP) -> Identity:
    """A metric is the sum of others, in every step."""
    return Identity(
        f"{total} = {' + '.join(parts)}",
        lambda s: (s.step[total], sum(s.step[p] for p in parts)),
        tolerance,
    )


def whole_of(total: str, shares: str) -> Identity:
    """A metric is the sum over the agents of another."""
    return Identity(
        f"{total} = sum of {shares}",
        lambda s: (s.step[total], s.step[shares].reshape(len(s.step[total]), -1).sum(-1)),
        STEP,
    )


def at_most(low: str, high: str, tolerance: float = EXACT) -> Identity:
    """A metric is never above another."""
    return Identity(
        f"{low} <= {high}",
        lambda s: (np.maximum(s.step[low], s.step[high]), s.step[high]),
        tolerance,
    )


# ------------------------------------------------------------------------------------- RIS-NOMA


def _bits_held(system: Any, state: Any) -> dict[str, Any]:
    """Raw bits that wait: extracted ones in the semantic queue, and the backlog."""
    return {"bits": state.users[..., 3:].sum((1, 2))}


RIS_NOMA = Books(
    _bits_held,
    ("arrived_bits", "delivered_bits", "dropped_bits"),
    (
        Identity(
            "bits held at first + arrived = delivered + dropped + held",
            lambda s: (
                s.first["bits"] + s.sums["arrived_bits"],
                s.sums["delivered_bits"] + s.sums["dropped_bits"] + s.now["bits"],
            ),
            EPISODE,
        ),
        parts_of("energy_j", "energy_tx_j", "energy_compute_j", "energy_static_j"),
        at_most("useful_bits", "delivered_bits", STEP),
    ),
)

# --------------------------------------------------------------------- event-triggered offloading


def _spent(system: Any, state: Any) -> dict[str, Any]:
    return {"spent_j": state.energy_j}


_SPENT = Identity(
    "energy of the state = sum of energy_j",
    lambda s: (s.now["spent_j"] - s.first["spent_j"], s.sums["energy_j"]),
    EPISODE,
)

EVENT_OFFLOAD = Books(
    _spent,
    ("energy_j",),
    (
        Identity(
            "tp + fp + fn + tn = events of a slot",
            lambda s: (
                s.step["tp"] + s.step["fp"] + s.step["fn"] + s.step["tn"],
                np.full_like(s.step["tp"], s.system.params.num_events),
            ),
            EXACT,
        ),
        parts_of("n_off", "tp", "fp", tolerance=EXACT),
        at_most("tp_correct", "tp"),
        at_most("tp_credited", "tp_correct"),
        parts_of("energy_j", "energy_local_j", "energy_tx_j"),
        _SPENT,
        Identity(
            "cost = energy_j over budget",
            lambda s: (
                s.step["cost"] * s.system.params.num_events * s.system.params.budget_j,
                s.step["energy_j"],
            ),
            STEP,
        ),
    ),
)

EVENT_EXIT = Books(
    _spent,
    ("energy_j",),
    (
        parts_of("n_off", "tp", "fp", tolerance=EXACT),
        at_most("n_off", "events"),
        at_most("tp_correct", "tp"),
        at_most("fp_final", "fp"),
        parts_of("energy_j", "energy_local_j", "energy_tx_j"),
        Identity(
            "energy_local_j = mac times energy of one",
            lambda s: (
                s.step["energy_local_j"],
                s.step["mac"] * s.system.params.energy_per_mac_j,
            ),
            STEP,
        ),
        _SPENT,
    ),
)

EVENT_MULTI = Books(
    lambda system, state: {"spent_j": state.energy_j.sum(1)},
    ("energy_j",),
    (
        parts_of("n_off", "tp", "fp", tolerance=EXACT),
        whole_of("n_off", "agent_n_off"),
        whole_of("tp", "agent_tp"),
        whole_of("utility", "agent_utility"),
        Identity(
            "energy_j = sum of agent_cost times budget",
            lambda s: (
                s.step["energy_j"],
                s.step["agent_cost"].sum(-1)
                * s.system.params.num_events
                * s.system.params.budget_j,
            ),
            STEP,
        ),
        Identity(
            "dropped = sum of agent_cost_capacity times events",
            lambda s: (
                s.step["dropped"],
                s.step["agent_cost_capacity"].sum(-1) * s.system.params.num_events,
            ),
            STEP,
        ),
        _SPENT,
    ),
)

# ------------------------------------------------------------------------------------- LLM-MAC


def _packets(system: Any, state: Any) -> dict[str, Any]:
    return {
        "undelivered": (state.q - state.d).sum(1),
        "users": (state.agent_id >= 0).sum(1),
        "generated": state.generated.sum(1),
        "delivered": state.delivered.sum(1),
    }


LLM_MAC = Books(
    _packets,
    ("generated", "delivered", "dropped", "lost", "abandoned", "joined", "left"),
    (
        parts_of(
            "generated", "delivered", "dropped", "lost", "abandoned", "residual", tolerance=EXACT
        ),
        Identity(
            "buffers at first + generated = delivered + dropped + lost + abandoned + buffers",
            lambda s: (
                s.first["undelivered"] + s.sums["generated"],
                s.sums["delivered"]
                + s.sums["dropped"]
                + s.sums["lost"]
                + s.sums["abandoned"]
                + s.now["undelivered"],
            ),
            EXACT,
        ),
        Identity(
            "users at first + joined = left + users",
            lambda s: (
                s.first["users"] + s.sums["joined"],
                s.sums["left"] + s.now["users"],
            ),
            EXACT,
        ),
        Identity(
            "idle + collision + erasure + duplicate + delivered = 1",
            lambda s: (
                sum(s.step[n] for n in ("idle", "collision", "erasure", "duplicate", "delivered")),
                np.ones_like(s.step["idle"]),
            ),
            EXACT,
        ),
        parts_of("decoded", "delivered", "duplicate", tolerance=EXACT),
        parts_of("signalling", "dcm", "ucm", tolerance=EXACT),
        at_most("senders", "users"),
    ),
)

# -------------------------------------------------------------------------------------- NetGPT


def _utilities(seen: Seen) -> tuple[Array, Array]:
    each = np.where(seen.step["sent"] > 0, seen.step["U_cloud_cf"], seen.step["U_edge_cf"])
    each = each.reshape(len(seen.step["utility"]), -1)
    # Utilities cancel in the sum, their rounding does not: it is told by their magnitudes.
    scale = 2.0 * np.abs(each).sum(-1)
    return seen.step["utility"] + scale, each.sum(-1) + scale


_NETGPT_LAWS = (
    at_most("quality", "schema_ok"),
    at_most("schema_ok", "requests"),
    at_most("offload", "requests"),
    at_most("edge_success", "edge_valid"),
    at_most("edge_valid", "requests"),
    at_most("routing_right", "requests"),
    at_most("samples", "buffer", STEP),
    whole_of("requests", "is_request"),
    whole_of("offload", "sent"),
    whole_of("latency", "latency_each"),
    Identity(
        "utility = sum of the utility of each request as it was routed",
        _utilities,
        STEP,
    ),
    Identity(
        "buffer grows by no more than what is offloaded",
        lambda s: (
            np.maximum(s.step["buffer"], s.sums["offload"]),
            s.sums["offload"],
        ),
        EXACT,
    ),
)
NETGPT = Books(no_stocks, ("offload",), _NETGPT_LAWS)

# ------------------------------------------------------------------------------- twins and agents


def _batteries(system: Any, state: Any) -> dict[str, Any]:
    return {"battery_j": state.battery_j.sum(1)}


_BATTERIES = (
    Identity(
        "batteries at first = energy spent + batteries",
        lambda s: (s.first["battery_j"], s.sums["energy_j"] + s.now["battery_j"]),
        EPISODE,
    ),
    parts_of("energy_j", "energy_motion_j", "energy_sense_j", "energy_process_j", "energy_send_j"),
    whole_of("energy_j", "energy"),
    whole_of("delivered", "agent_delivered"),
    whole_of("cost_energy", "agent_cost_energy"),
)
TWIN_SYNC = Books(
    _batteries,
    ("energy_j",),
    (
        *_BATTERIES,
        parts_of(
            "team_reward", "loss_deviation", "loss_energy", "loss_budget", "shaping", "closing"
        ),
    ),
)
TWIN_ROUND = Books(
    _batteries,
    ("energy_j",),
    (
        *_BATTERIES,
        parts_of("team_reward", "loss_score", "loss_integral", "closing"),
        Identity(
            "missed + refreshed = regions",
            lambda s: (
                s.step["missed"] + s.step["refreshed"],
                np.full_like(s.step["missed"], s.system.params.num_regions),
            ),
            EXACT,
        ),
        at_most("delivered", "dispatched"),
    ),
)


def _missions(system: Any, state: Any) -> dict[str, Any]:
    spent = state.spent_j.sum(1)
    return {
        "move_j": spent[:, MOVE],
        "compute_j": spent[:, COMPUTE],
        "send_j": spent[:, SEND],
        "sources": state.sources.sum(1),
        "active": (state.sources > 0).sum(1),
    }


def _spent_on(name: str) -> Identity:
    return Identity(
        f"{name} of the state = sum of {name}",
        lambda s: (s.now[name], s.sums[name]),
        EPISODE,
    )


AGENT_AGGREGATION = Books(
    _missions,
    ("move_j", "compute_j", "send_j", "handovers"),
    (
        parts_of("energy_j", "move_j", "compute_j", "send_j"),
        whole_of("energy_j", "agent_energy_j"),
        _spent_on("move_j"),
        _spent_on("compute_j"),
        _spent_on("send_j"),
        Identity(
            "sources stay a partition of all agents",
            lambda s: (s.now["sources"], s.first["sources"]),
            EXACT,
        ),
        Identity(
            "active at first = handovers + active",
            lambda s: (s.first["active"], s.sums["handovers"] + s.now["active"]),
            EXACT,
        ),
    ),
)

BOOKS: Mapping[str, Books] = {
    "sixgym/AgentAggregation-v0": AGENT_AGGREGATION,
    "sixgym/EventOffload-v0": EVENT_OFFLOAD,
    "sixgym/EventOffloadExit-v0": EVENT_EXIT,
    "sixgym/EventOffloadMulti-v0": EVENT_MULTI,
    "sixgym/LlmMac-v0": LLM_MAC,
    "sixgym/NetGptBatch-v0": NETGPT,
    "sixgym/NetGptRoute-v0": NETGPT,
    "sixgym/NetGptThreshold-v0": NETGPT,
    "sixgym/RisNoma-v0": RIS_NOMA,
    "sixgym/RisNomaSelect-v0": RIS_NOMA,
    "sixgym/TwinRound-v0": TWIN_ROUND,
    "sixgym/TwinSync-v0": TWIN_SYNC,
}
"""Of each id of the suite; a test asserts that none is missing."""

PARAMS: Mapping[str, Mapping[str, Any]] = {
    # By default each step is an episode of its own, in which nothing could drift.
    "sixgym/TwinRound-v0": {"preset": "rounds"},
}
"""What the long runs set unless told otherwise."""
