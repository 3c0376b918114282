"""Parameters of `sixgym/LlmMac-v0`.

Of the paper (arXiv 2510.10895) only the abstract and the opening were read. Marks: `paper` is
there; `related` is in the first author's public code of the predecessor LLM4MAC (arXiv 2503.08123)
or in the emergent-MAC papers of Mota et al.; `standard` is common usage; `ours` was chosen here.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from sixgym.envs.core.params import Params, param
from sixgym.envs.llm_mac.codes import NUM_DCM, NUM_UCM
from sixgym.envs.llm_mac.weights import MODES, REWARDS, Mode, RewardName, Terms, Weights

LeaderName = Literal["contention_free", "round_robin", "acknowledge", "silent"]
FollowerName = Literal["contention_free", "aloha", "silent"]


def _weight(name: str, of: str) -> Any:
    return param(
        None,
        unit="rho",
        source="ours",
        description=f"{of}; None: as `{name}` has it.",
        ge=-1e3,
        le=1e3,
    )


class LlmMacParams(Params):
    """Parameters of `sixgym/LlmMac-v0`; see the module docstring for the marks."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "llm4mac": {"timing": "delayed", "mode": "team"},
        "drl": {"timing": "delayed", "mode": "team", "rho": 3.0, "arrival_prob": 0.48},
        "mota": {
            "timing": "delayed",
            "mode": "team",
            "reward": "mota",
            "traffic": "finite",
            "packets": 2,
            "buffer_size": 5,
            "population": "fixed",
            "num_users": 2,
        },
        "birth_death": {"population": "birth_death", "horizon_slots": 240},
        "sudden_change": {
            "population": "schedule",
            "schedule": ((0, 3), (80, 8), (160, 2)),
            "horizon_slots": 240,
        },
        "selfish": {"mode": "selfish"},
        "one_slot": {
            "horizon_slots": 1,
            "n_max": 5,
            "initial_queue": 1,
            "arrival_prob": 0.0,
            "tbler": 0.0,
            "mode": "selfish",
            "rho": 1.0,
        },
        "four_users": {"population": "fixed", "num_users": 4, "n_max": 4},
        "acknowledged": {
            "role": "follower",
            "partner_bs": "acknowledge",
            "population": "fixed",
            "n_max": 3,
            "traffic": "saturated",
            "mode": "team",
        },
        "granted": {
            "role": "follower",
            "partner_bs": "round_robin",
            "population": "fixed",
            "n_max": 3,
            "traffic": "saturated",
            "mode": "team",
        },
        "requested": {"role": "follower", "population": "fixed", "num_users": 5, "n_max": 5},
        "theory": {
            "population": "fixed",
            "traffic": "saturated",
            "auto_delete": True,
            "mode": "team",
        },
    }

    # -------------------------------------------------------------------------------- population
    n_max: int = param(
        10,
        unit="1",
        source="ours",
        description="Users at one time (seats); sizes all spaces.",
        note="twice the largest number in training",
        ge=1,
        le=64,
    )
    population: Literal["fixed", "episodic", "schedule", "birth_death"] = param(
        "episodic",
        unit="",
        source="related",
        description="How the number of users varies. fixed: num_users; episodic: drawn from "
        "population_sizes for each episode; schedule: change points; birth_death: at the end of "
        "each slot one may leave, then one may join.",
        note="the paper says only that it varies; the LLM4MAC code varies it between environments",
    )
    num_users: int = param(
        3, unit="1", source="ours", description="Users n of population fixed.", ge=1, le=64
    )
    population_sizes: tuple[int, ...] = param(
        (2, 3, 4, 5),
        unit="1",
        source="related",
        description="Numbers of users of population episodic, equally likely.",
        min_length=1,
    )
    schedule: tuple[tuple[int, int], ...] = param(
        ((0, 3), (80, 8), (160, 2)),
        unit="slot, 1",
        source="ours",
        description="Change points (slot, users) of population schedule, from slot 0 on; leavers "
        "are drawn uniformly.",
        min_length=1,
    )
    n_lo: int = param(
        2, unit="1", source="ours", description="Fewest users of birth_death.", ge=0, le=64
    )
    n_hi: int = param(
        8, unit="1", source="ours", description="Most users of birth_death.", ge=1, le=64
    )
    p_join: float = param(
        0.02,
        unit="1/slot",
        source="ours",
        description="Probability that one joins (birth_death).",
        ge=0.0,
        le=1.0,
    )
    p_leave: float = param(
        0.02,
        unit="1/slot",
        source="ours",
        description="Probability that one, drawn uniformly, leaves (birth_death).",
        ge=0.0,
        le=1.0,
    )
    max_agents: int = param(
        0,
        unit="1",
        source="ours",
        description="Names ue_0, ue_1, ... of an episode; when they are used up nobody joins. "
        "0: n_max + horizon_slots of birth_death, as many as a schedule needs.",
        ge=0,
        le=100_000,
    )
    random_rows: bool = param(
        False,
        unit="",
        source="ours",
        description="First users sit on random seats instead of seats 0 to n-1 (token policies "
        "need it).",
    )

    # ----------------------------------------------------------------------------------- traffic
    traffic: Literal["bernoulli", "poisson", "finite", "saturated", "trace"] = param(
        "bernoulli",
        unit="",
        source="related",
        description="Arrivals at each user in each slot. bernoulli: one with arrival_prob; "
        "poisson: with that mean; finite: bernoulli until a user has generated `packets`, dropped "
        "ones included, and the episode terminates once all are delivered and deleted; saturated: "
        "full buffers; trace: from trace_file.",
    )
    arrival_prob: float = param(
        0.5,
        unit="SDU/slot",
        source="related",
        description="Probability (or mean) of arrivals p.",
        note="0.48 in the runs of MADDPG and MAPPO",
        ge=0.0,
        le=1.0,
    )
    row_arrival_prob: tuple[float, ...] = param(
        (),
        unit="SDU/slot",
        source="ours",
        description="p of the seats in turn, each in [0, 1]; empty: all have arrival_prob.",
    )
    packets: int = param(
        2,
        unit="SDU",
        source="related",
        description="Packets of each user with finite traffic.",
        note="Mota; Emergency-Mac-Protocal",
        ge=1,
        le=10_000,
    )
    trace_file: str = param(
        "",
        unit="",
        source="ours",
        description="Path of a .npy array (slots, users) of arrivals for traffic trace. Seats take "
        "its columns in turn, an episode begins in a random slot, and the end goes on at the "
        "beginning.",
    )
    buffer_size: int = param(
        20,
        unit="SDU",
        source="related",
        description="Buffer B of a user; a full one drops.",
        note="5 in the re-implementation of Mota's",
        ge=1,
        le=1000,
    )
    initial_queue: int = param(
        0, unit="SDU", source="related", description="Packets in every buffer at first.", ge=0,
        le=1000,
    )  # fmt: skip
    arrivals_first: bool = param(
        True,
        unit="",
        source="related",
        description="Arrivals enter before the slot's deletes take effect; they differ only where "
        "a full buffer also deletes.",
    )

    # ----------------------------------------------------------------------------------- channel
    tbler: float = param(
        1e-3,
        unit="1",
        source="related",
        description="Probability epsilon that a transmission without collision is erased.",
        note="1e-2 in the MADDPG script",
        ge=0.0,
        le=1.0,
    )
    row_tbler: tuple[float, ...] = param(
        (),
        unit="1",
        source="ours",
        description="epsilon of the seats in turn, each in [0, 1]; empty: all have tbler.",
    )
    erasure_reveals_id: bool = param(
        False,
        unit="",
        source="related",
        description="Show the base station who sent although it could not decode, as the LLM4MAC "
        "code does; else an erasure looks like a collision.",
    )
    auto_delete: bool = param(
        False,
        unit="",
        source="ours",
        description="A packet is removed when it is decoded and `delete` does nothing: the "
        "classical collision channel.",
    )

    # -------------------------------------------------------------------------------------- game
    timing: Literal["stackelberg", "delayed"] = param(
        "stackelberg",
        unit="",
        source="paper",
        description="stackelberg: in each slot the users see the base station's messages before "
        "they move; delayed: all move at once, messages are seen in the next slot.",
        note="the hierarchy is the abstract's, its place inside the slot ours; delayed is LLM4MAC",
    )
    bs_action: Literal["multi", "pointer"] = param(
        "multi",
        unit="",
        source="ours",
        description="The base station's action: a message for each seat, or a pair (seat + 1 that "
        "is granted or 0, seat + 1 that is acknowledged or 0).",
    )
    pag_level: Literal[-1, 0, 1, 2, 3] = param(
        1,
        unit="",
        source="ours",
        description="Level of the action grammar; what it forbids becomes silence and counts as "
        "invalid. See `sixgym.envs.llm_mac.levels`.",
    )
    opaque: bool = param(
        False,
        unit="",
        source="related",
        description="Messages are symbols without a meaning.",
        note="emergent protocols: Mota",
    )
    num_ucm: int = param(
        NUM_UCM, unit="1", source="related", description="Uplink messages; opaque ones only may "
        "differ from 2.", ge=2, le=8,
    )  # fmt: skip
    num_dcm: int = param(
        NUM_DCM, unit="1", source="related", description="Downlink messages; opaque ones only may "
        "differ from 3.", ge=3, le=8,
    )  # fmt: skip
    role: Literal["all", "leader", "follower"] = param(
        "all",
        unit="",
        source="ours",
        description="Who plays: all; the base station against fixed users (`partner_users`); the "
        "users against a fixed base station (`partner_bs`).",
    )
    partner_bs: LeaderName = param(
        "contention_free",
        unit="",
        source="ours",
        description="The base station of role follower; see `sixgym.envs.llm_mac.partners`.",
    )
    partner_users: FollowerName = param(
        "contention_free",
        unit="",
        source="ours",
        description="The users of role leader; see `sixgym.envs.llm_mac.partners`.",
    )

    # ------------------------------------------------------------------------------- observation
    horizon_slots: int = param(
        24,
        unit="slot",
        source="related",
        description="Slots T that normalise time and weigh fairness; the time limit of an episode "
        "is max_episode_steps.",
        ge=1,
        le=1_000_000,
    )
    history: int = param(
        0,
        unit="slot",
        source="related",
        description="Earlier slots k that an observation also holds.",
        note="0 for the LLM runs, 2 for MAPPO, 3 for MADDPG",
        ge=0,
        le=16,
    )
    privileged: bool = param(
        False,
        unit="",
        source="ours",
        description="One controller of all agents also sees every seat's q/B and d.",
    )
    prompts: bool = param(
        False,
        unit="",
        source="ours",
        description="infos of agents by name also hold what they see in words, as ``prompt``.",
    )

    # ------------------------------------------------------------------------------------ reward
    reward: RewardName = param(
        "llm4mac",
        unit="",
        source="related",
        description="Weights of the team reward, see `REWARDS`; mota: -rho with a wrong delete, "
        "else +rho with a new packet, else -1.",
    )
    mode: Mode = param(
        "mfsg",
        unit="",
        source="ours",
        description="What leader and followers want, see `MODES`.",
    )
    rho: float | None = param(
        None, unit="1", source="related", description="Unit of reward; None: as `reward` has it "
        "(1.5 in LLM4MAC, 3 with MADDPG, MAPPO and Mota).", gt=0.0, le=1e3,
    )  # fmt: skip
    w_new: float | None = _weight("reward", "Weight of a newly delivered packet")
    w_dup: float | None = _weight("reward", "Weight of a duplicate")
    w_idle: float | None = _weight("reward", "Cost of an idle slot")
    w_col: float | None = _weight("reward", "Cost of a collision")
    w_era: float | None = _weight("reward", "Cost of an erasure")
    w_cd: float | None = _weight("reward", "Weight of a correct delete")
    w_wd: float | None = _weight("reward", "Cost of a wrong delete")
    alpha: float | None = param(
        None, unit="1", source="ours", description="Share of the team reward in a user's; the "
        "rest is its own; None: as `mode` has it.", ge=0.0, le=1.0,
    )  # fmt: skip
    kappa: float | None = _weight("mode", "Cost to a user of sending without a grant")
    cost_ucm: float | None = _weight("mode", "Cost to a user of a message c_u")
    cost_grant: float | None = _weight("mode", "Cost to the base station of a grant c_g")
    cost_ack: float | None = _weight("mode", "Cost to the base station of an acknowledgement c_a")
    fairness: float | None = _weight(
        "mode", "Pay to the base station for the growth of Jain's index, per slot of the horizon"
    )
    share_fairness: bool = param(
        False, unit="", source="ours", description="Users are paid the fairness term too."
    )

    # ------------------------------------------------------------------------------------ checks

    @model_validator(mode="after")
    def _population_fits(self) -> Self:
        named = {
            "fixed": (self.num_users,),
            "episodic": self.population_sizes,
            "schedule": tuple(n for _, n in self.schedule),
            "birth_death": (self.n_lo, self.n_hi),
        }
        field = {"fixed": "num_users", "episodic": "population_sizes", "birth_death": "n_lo, n_hi"}
        sizes = named[self.population]
        least = 0 if self.population in ("schedule", "birth_death") else 1
        if not all(least <= n <= self.n_max for n in sizes):
            name = field.get(self.population, self.population)
            raise ValueError(f"{name}={sizes}: allowed: each from {least} to n_max ({self.n_max})")
        if self.population == "birth_death" and self.n_lo > self.n_hi:
            raise ValueError(f"n_lo={self.n_lo}: allowed: at most n_hi ({self.n_hi})")
        slots = [slot for slot, _ in self.schedule]
        if slots[0] != 0 or slots != sorted(set(slots)) or slots[-1] > 1_000_000:
            raise ValueError(
                f"schedule={self.schedule}: allowed: slots from 0 to 1000000, ascending"
            )
        if 0 < self.max_agents < self.n_max:
            raise ValueError(f"max_agents={self.max_agents}: allowed: 0, or at least n_max")
        return self

    @model_validator(mode="after")
    def _traffic_fits(self) -> Self:
        for name in ("row_arrival_prob", "row_tbler"):
            values = getattr(self, name)
            if not all(0.0 <= v <= 1.0 for v in values) or len(values) > self.n_max:
                raise ValueError(
                    f"{name}={values!r}: allowed: at most n_max ({self.n_max}), each from 0 to 1"
                )
        if self.initial_queue > self.buffer_size:
            raise ValueError(
                f"initial_queue={self.initial_queue}: allowed: 0 to buffer_size "
                f"({self.buffer_size})"
            )
        if (self.traffic == "trace") != bool(self.trace_file):
            raise ValueError(
                f"trace_file={self.trace_file!r}: allowed: a path with traffic trace, else empty"
            )
        return self

    @model_validator(mode="after")
    def _game_fits(self) -> Self:
        if not self.opaque and (self.num_ucm, self.num_dcm) != (NUM_UCM, NUM_DCM):
            raise ValueError(
                f"num_ucm={self.num_ucm}, num_dcm={self.num_dcm}: allowed: {NUM_UCM}, {NUM_DCM} "
                "unless opaque"
            )
        if self.opaque and (self.pag_level > 1 or self.bs_action == "pointer"):
            raise ValueError(
                "opaque=True: messages have no meaning; allowed: pag_level up to 1, "
                "bs_action='multi'"
            )
        if self.reward == "mota" and self.terms.alpha != 1.0:
            raise ValueError(f"alpha={self.terms.alpha}: reward mota has no own part; allowed: 1")
        return self

    # ---------------------------------------------------------------------------- what they mean

    @property
    def weights(self) -> Weights:
        """Weights of the team reward, overrides included."""
        base = REWARDS[self.reward]
        own = {name: getattr(self, f"w_{name}") for name in Weights._fields[1:]} | {"rho": self.rho}
        return base._replace(**{k: v for k, v in own.items() if v is not None})

    @property
    def terms(self) -> Terms:
        """Terms of leader and followers, overrides included."""
        own = {
            "alpha": self.alpha,
            "kappa": self.kappa,
            "ucm": self.cost_ucm,
            "grant": self.cost_grant,
            "ack": self.cost_ack,
            "fairness": self.fairness,
        }
        return MODES[self.mode]._replace(**{k: v for k, v in own.items() if v is not None})

    @property
    def agents(self) -> int:
        """Names of users in one episode, K."""
        if self.max_agents:
            return self.max_agents
        if self.population == "birth_death":
            return self.n_max + self.horizon_slots
        if self.population == "schedule":
            sizes = [n for _, n in self.schedule]
            rises = sum(max(b - a, 0) for a, b in pairwise(sizes))
            return max(self.n_max, sizes[0] + rises)
        return self.n_max

    @property
    def least_activity(self) -> float:
        """Slots after which a user counts in Jain's index: min(10, T/4)."""
        return min(10.0, self.horizon_slots / 4.0)

    def of_rows(self, values: tuple[float, ...], common: float) -> list[float]:
        """A number for each seat: the values in turn, or the common one where there are none."""
        given = values or (common,)
        return [given[i % len(given)] for i in range(self.n_max)]
