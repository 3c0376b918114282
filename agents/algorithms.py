"""The algorithms that a configuration may name, and the hyper-parameters that each takes.

Keys, meanings and defaults are those of Stable-Baselines3 (and of rl-baselines3-zoo's YAML files):
what is not set here is left to them. Nothing in a configuration is ever evaluated as code: classes
come from the tables below.
"""

from __future__ import annotations

import importlib
import re
from typing import Annotated, Any, Literal, NamedTuple, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainValidator

Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Coefficient = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Activation = Literal["tanh", "relu", "elu", "leaky_relu", "silu", "gelu"]

_NUMBER = r"[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?"


def _is_number(value: object, *, positive: bool = False) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (value > 0 if positive else value >= 0) and value < float("inf")


def _is_from_to(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _schedule(value: object) -> object:
    """A number, rl-baselines3-zoo's ``lin_3e-4`` (from that to 0), or ``[first, last]``."""
    if _is_number(value, positive=True) or _is_from_to(value):
        return value
    if isinstance(value, str) and re.fullmatch(f"lin_{_NUMBER}", value):
        return value
    raise ValueError("a positive number, lin_<number> or [first, last]")


def _entropy(value: object) -> object:
    if _is_number(value) or _is_from_to(value):
        return value
    raise ValueError("a number >= 0 or [first, last]")


def _learned_entropy(value: object) -> object:
    if _is_number(value, positive=True):
        return value
    if isinstance(value, str) and re.fullmatch(f"auto(_{_NUMBER})?", value):
        return value
    raise ValueError("a positive number, auto or auto_<first value>")


def _target_entropy(value: object) -> object:
    is_finite = isinstance(value, int | float) and _is_number(abs(value))
    if value == "auto" or (is_finite and not isinstance(value, bool)):
        return value
    raise ValueError("a number or auto")


def _is_layers(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and n > 0 for n in value)


def _layers(*branches: str) -> PlainValidator:
    """Sizes of the hidden layers, common or one list a branch."""

    def check(value: object) -> object:
        if _is_layers(value):
            return value
        parts = value if isinstance(value, dict) else {}
        if parts and set(parts) == set(branches) and all(map(_is_layers, parts.values())):
            return value
        split = " or {" + ", ".join(f"{b}: [...]" for b in branches) + "}" if branches else ""
        raise ValueError(f"a list of layer sizes such as [64, 64]{split}")

    return PlainValidator(check)


Schedule = Annotated[float | str | list[float], PlainValidator(_schedule)]
Entropy = Annotated[float | list[float], PlainValidator(_entropy)]
LearnedEntropy = Annotated[float | str, PlainValidator(_learned_entropy)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class OnPolicyNetwork(_Strict):
    """``policy_kwargs`` of PPO and A2C; activations by name."""

    net_arch: Annotated[Any, _layers("pi", "vf")] = None
    activation_fn: Activation = "tanh"
    ortho_init: bool = True
    log_std_init: float = 0.0
    prior: list[Fraction] | None = Field(
        None, description="medians that the numbers of a HybridPolicy begin with"
    )
    entropy_of_numbers: Coefficient = Field(
        1.0, description="weight of their entropies beside the choice's, of a HybridPolicy"
    )


class RecurrentNetwork(OnPolicyNetwork):
    """``policy_kwargs`` of recurrent PPO."""

    lstm_hidden_size: Positive = 256
    n_lstm_layers: Positive = 1
    enable_critic_lstm: bool = True
    shared_lstm: bool = False


class ActorCriticNetwork(_Strict):
    """``policy_kwargs`` of SAC, TD3 and DDPG."""

    net_arch: Annotated[Any, _layers("pi", "qf")] = None
    activation_fn: Activation = "relu"
    n_critics: Positive = 2


class QuantileNetwork(ActorCriticNetwork):
    """``policy_kwargs`` of TQC."""

    n_quantiles: Positive = 25


class ValueNetwork(_Strict):
    """``policy_kwargs`` of DQN."""

    net_arch: Annotated[Any, _layers()] = None
    activation_fn: Activation = "relu"


class Settings(_Strict):
    """What every algorithm takes, the ones that imitate too."""

    learning_rate: Schedule = 3e-4


class Hyperparameters(Settings):
    """What every algorithm takes that learns from rewards."""

    gamma: Fraction = 0.99
    stats_window_size: Positive = 100


class OnPolicy(Hyperparameters):
    """What PPO and A2C share. ``ent_coef: [first, last]`` is interpolated by a callback."""

    n_steps: Positive = 2048
    gae_lambda: Fraction = 0.95
    ent_coef: Entropy = 0.0
    vf_coef: Coefficient = 0.5
    max_grad_norm: Rate = 0.5
    policy_kwargs: OnPolicyNetwork = OnPolicyNetwork()


class PPO(OnPolicy):
    """Proximal policy optimisation."""

    batch_size: Annotated[int, Field(ge=2)] = 64
    n_epochs: Positive = 10
    clip_range: Schedule = 0.2
    clip_range_vf: Schedule | None = None
    normalize_advantage: bool = True
    target_kl: Rate | None = None


class TeamNetwork(_Strict):
    """``policy_kwargs`` of MAPPO, see `sixgym.agents.team`.

    ``sizes`` go to the network; which there are is the network's to say.
    """

    net: str
    critic: Literal["central", "own"] = "central"
    ratio: Literal["agent", "mean"] = "agent"
    sizes: dict[str, JsonValue] = {}


class Mixing(_Strict):
    """How the users of a team mix their policies, see `sixgym.agents.team.mixing`."""

    segments: Positive = Field(4, description="pieces that a policy is cut into")
    neighbours: Positive = Field(2, description="nearest agents on a ring that one hears")
    every: Positive = Field(1, description="updates between two mixtures")
    largest: float = Field(0.5, gt=0, le=1, description="largest factor zeta")
    penalty: Rate = Field(1.0, description="c, weight of the divergence in the bound")


class MAPPO(PPO):
    """PPO of all agents of a game; ``n_steps`` and ``batch_size`` count slots of a row."""

    mixing: Mixing | None = None
    policy_kwargs: TeamNetwork  # type: ignore[assignment]  # not of layers


class RecurrentPPO(PPO):
    """Proximal policy optimisation with an LSTM."""

    n_steps: Positive = 128
    batch_size: Annotated[int, Field(ge=2)] = 128
    policy_kwargs: RecurrentNetwork = RecurrentNetwork()


class A2C(OnPolicy):
    """Synchronous advantage actor-critic."""

    learning_rate: Schedule = 7e-4
    n_steps: Positive = 5
    gae_lambda: Fraction = 1.0
    rms_prop_eps: Rate = 1e-5
    use_rms_prop: bool = True
    normalize_advantage: bool = False


class OffPolicy(Hyperparameters):
    """What the algorithms with a replay buffer share."""

    buffer_size: Positive = 1_000_000
    learning_starts: NonNegative = 100
    batch_size: Positive = 256
    tau: Fraction = 0.005
    train_freq: Positive = 1
    gradient_steps: Annotated[int, Field(ge=-1)] = 1
    n_steps: Positive = 1


class DQN(OffPolicy):
    """Deep Q-learning."""

    learning_rate: Schedule = 1e-4
    batch_size: Positive = 32
    tau: Fraction = 1.0
    train_freq: Positive = 4
    target_update_interval: Positive = 10_000
    exploration_fraction: Fraction = 0.1
    exploration_initial_eps: Fraction = 1.0
    exploration_final_eps: Fraction = 0.05
    max_grad_norm: Rate = 10.0
    policy_kwargs: ValueNetwork = ValueNetwork()


class SAC(OffPolicy):
    """Soft actor-critic."""

    ent_coef: LearnedEntropy = "auto"
    target_entropy: Annotated[float | str, PlainValidator(_target_entropy)] = "auto"
    target_update_interval: Positive = 1
    policy_kwargs: ActorCriticNetwork = ActorCriticNetwork()


class TQC(SAC):
    """Truncated quantile critics."""

    top_quantiles_to_drop_per_net: NonNegative = 2
    policy_kwargs: QuantileNetwork = QuantileNetwork()


class Deterministic(OffPolicy):
    """DDPG; exploration by Gaussian noise (``noise_type``, ``noise_std`` as rl-zoo3 has them)."""

    learning_rate: Schedule = 1e-3
    noise_type: Literal["normal"] | None = None
    noise_std: Coefficient = 0.1
    policy_kwargs: ActorCriticNetwork = ActorCriticNetwork()


class TD3(Deterministic):
    """Twin delayed DDPG."""

    policy_delay: Positive = 2
    target_policy_noise: Coefficient = 0.2
    target_noise_clip: Coefficient = 0.5


class CloningNetwork(_Strict):
    """``policy_kwargs`` of behaviour cloning."""

    net_arch: Annotated[list[int], _layers()] = [64, 64]
    activation_fn: Activation = "tanh"


class Cloning(Settings):
    """Behaviour cloning of a baseline, see `sixgym.agents.cloning`."""

    teacher: str = Field(description="name of the baseline that is imitated")
    learning_rate: Schedule = 1e-3
    batch_size: Positive = 256
    n_epochs: Positive = Field(50, description="most passes over the pairs in a round")
    patience: Positive = Field(
        8, description="passes without a better fit of what is held out, after which a round ends"
    )
    holdout: float = Field(0.1, gt=0, lt=1, description="share of the rows that is held out")
    dagger_rounds: NonNegative = Field(
        0, description="further rounds in which the student acts and the teacher is asked"
    )
    policy_kwargs: CloningNetwork = CloningNetwork()


class Algorithm(NamedTuple):
    """An algorithm of Stable-Baselines3 or sb3-contrib, or one of ours."""

    name: str
    path: str
    """``module:Class``."""
    hyperparameters: type[Settings]
    policies: tuple[str, ...]
    """Names that ``policy`` may have; the first is the default."""
    actions: tuple[str, ...]
    """Kinds of action space that it can act in."""
    head: Literal["distribution", "q", "squashed", "deterministic", "team"]
    """How an exported policy turns its last layer into an action."""
    on_policy: bool
    masked: bool = False
    recurrent: bool = False

    def load(self) -> Any:
        """The class."""
        return _load(self.path)

    def load_policy(self, name: str) -> Any:
        """What the class takes as its policy: one of ours, or the name of its own."""
        return _load(POLICIES[name]) if name in POLICIES else name


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


CLONING = "bc"
"""The algorithm that imitates a baseline; it is no class of Stable-Baselines3."""

HYBRID = "HybridPolicy"
"""The policy of a choice and some numbers, see `sixgym.agents.hybrid`."""

POLICIES = {HYBRID: "sixgym.agents.hybrid_sb3:HybridPolicy"}
"""Policy classes that are not SB3's own, ``module:Class``."""

_MLP = ("MlpPolicy", "MultiInputPolicy")
_OR_HYBRID = (*_MLP, HYBRID)
_LSTM = ("MlpLstmPolicy", "MultiInputLstmPolicy")
_COUNTED = ("Discrete", "MultiDiscrete", "MultiBinary")
_ANY = (*_COUNTED, "Box")
_BOX = ("Box",)

ALGORITHMS: dict[str, Algorithm] = {
    a.name: a
    for a in (
        Algorithm("ppo", "stable_baselines3:PPO", PPO, _OR_HYBRID, _ANY, "distribution", True),
        Algorithm("a2c", "stable_baselines3:A2C", A2C, _OR_HYBRID, _ANY, "distribution", True),
        Algorithm("dqn", "stable_baselines3:DQN", DQN, _MLP, ("Discrete",), "q", False),
        Algorithm("sac", "stable_baselines3:SAC", SAC, _MLP, _BOX, "squashed", False),
        Algorithm("td3", "stable_baselines3:TD3", TD3, _MLP, _BOX, "deterministic", False),
        Algorithm(
            "ddpg", "stable_baselines3:DDPG", Deterministic, _MLP, _BOX, "deterministic", False
        ),
        Algorithm("tqc", "sb3_contrib:TQC", TQC, _MLP, _BOX, "squashed", False),
        Algorithm(
            "maskableppo",
            "sb3_contrib:MaskablePPO",
            PPO,
            _MLP,
            _COUNTED,
            "distribution",
            True,
            True,
        ),
        Algorithm(
            "recurrentppo",
            "sb3_contrib:RecurrentPPO",
            RecurrentPPO,
            _LSTM,
            ("Discrete", "MultiDiscrete", "Box"),  # its buffer keeps switches as int8, and fails
            "distribution",
            True,
            recurrent=True,
        ),
        Algorithm(
            "mappo",
            "sixgym.agents.team.policy:MAPPO",
            MAPPO,
            ("TeamPolicy",),
            ("MultiDiscrete", "Box"),
            "team",
            True,
        ),
        Algorithm(
            CLONING, "sixgym.agents.cloning:clone", Cloning, _OR_HYBRID, _ANY, "distribution", False
        ),
    )
}
"""Every algorithm by name."""


def linear(value: float | str | list[float]) -> tuple[float, float]:
    """First and last value of a schedule as a configuration writes it."""
    if isinstance(value, str):
        return float(value.removeprefix("lin_")), 0.0
    if isinstance(value, list):
        return value[0], value[1]
    return value, value
