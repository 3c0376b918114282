"""Where each algorithm's hyper-parameters are looked for: plain tables, which a file may narrow.

The keys are those of a configuration, the ranges those of rl-baselines3-zoo's
``hyperparams_opt.py`` [related], but for what many rows and short trials change: it tunes one row
for hours, a study here tunes hundreds of rows for a minute each. So learning rates below 3e-5 are
left out, rollouts are at most 256 steps of every row, minibatches at least 32, discounts begin at
0.8, DQN's target networks stay for at least 500 steps, and off-policy learners are given updates a
step instead of ``train_freq``. All learning rates are constant.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from sixgym.agents.config import TrainConfig, hint, parse
from sixgym.envs.core.errors import ConfigError


class Uniform(NamedTuple):
    """A real number; three digits of it."""

    low: float
    high: float
    log: bool = False

    def distribution(self) -> BaseDistribution:
        """What is drawn."""
        return FloatDistribution(self.low, self.high, log=self.log)

    def value(self, drawn: Any) -> Any:
        """What the configuration gets."""
        return float(f"{drawn:.3g}")


class Complement(NamedTuple):
    """A number below 1 whose distance to 1 is drawn, log-uniformly: a discount."""

    low: float
    high: float

    def distribution(self) -> BaseDistribution:
        """What is drawn."""
        return FloatDistribution(1.0 - self.high, 1.0 - self.low, log=True)

    def value(self, drawn: Any) -> Any:
        """What the configuration gets."""
        return round(1.0 - float(f"{drawn:.3g}"), 9)


class Whole(NamedTuple):
    """An integer."""

    low: int
    high: int
    log: bool = False

    def distribution(self) -> BaseDistribution:
        """What is drawn."""
        return IntDistribution(self.low, self.high, log=self.log)

    def value(self, drawn: Any) -> Any:
        """What the configuration gets."""
        return int(drawn)


class Power(NamedTuple):
    """A power of two between two others."""

    low: int
    high: int

    def distribution(self) -> BaseDistribution:
        """What is drawn: its exponent."""
        return IntDistribution(self.low.bit_length() - 1, self.high.bit_length() - 1)

    def value(self, drawn: Any) -> Any:
        """What the configuration gets."""
        return 2 ** int(drawn)


class Choice(NamedTuple):
    """One of some values, JSON-able."""

    options: tuple[Any, ...]

    def distribution(self) -> BaseDistribution:
        """What is drawn: the value's JSON, for a study can store no lists."""
        return CategoricalDistribution([json.dumps(option) for option in self.options])

    def value(self, drawn: Any) -> Any:
        """What the configuration gets."""
        return json.loads(drawn)


Range = Uniform | Complement | Whole | Power
Dimension = Range | Choice
Space = dict[str, Dimension]
"""By the key below ``hyperparameters``, ``policy_kwargs.net_arch`` for example."""

NETWORK = "policy_kwargs."

_COMMON: Space = {
    "learning_rate": Uniform(3e-5, 2e-3, log=True),
    "gamma": Complement(0.8, 0.9999),
}
_ROLLOUTS: Space = {
    **_COMMON,
    "gae_lambda": Complement(0.8, 0.999),
    "ent_coef": Uniform(1e-6, 0.1, log=True),
    "max_grad_norm": Uniform(0.3, 2.0),
}
_SMALL_NETWORKS: Space = {
    "policy_kwargs.net_arch": Choice(([64], [64, 64], [256, 256])),
    "policy_kwargs.activation_fn": Choice(("tanh", "relu")),
}
_CLIPPED: Space = {
    **_ROLLOUTS,
    "clip_range": Choice((0.1, 0.2, 0.3, 0.4)),
    "n_epochs": Choice((1, 5, 10, 20)),
}
_PPO: Space = {
    **_CLIPPED,
    "n_steps": Power(8, 256),
    "batch_size": Power(64, 2048),
    **_SMALL_NETWORKS,
}
_REPLAY: Space = {
    **_COMMON,
    "batch_size": Power(32, 1024),
    "gradient_steps": Power(1, 16),
    "policy_kwargs.net_arch": Choice(([64, 64], [256, 256], [400, 300])),
}
_SAC: Space = {**_REPLAY, "tau": Uniform(1e-3, 0.08, log=True)}
_TD3: Space = {
    **_SAC,
    "noise_type": Choice(("normal", None)),
    "noise_std": Uniform(0.0, 0.5),
}

SPACES: dict[str, Space] = {
    "ppo": _PPO,
    "maskableppo": _PPO,
    "recurrentppo": _PPO,
    "a2c": {**_ROLLOUTS, "n_steps": Power(4, 256), **_SMALL_NETWORKS},
    # A team's rollouts are whole episodes and its networks are of the game: both stay as written.
    "mappo": _CLIPPED,
    "dqn": {
        **_REPLAY,
        "exploration_fraction": Uniform(0.0, 0.5),
        "exploration_final_eps": Uniform(0.0, 0.2),
        "target_update_interval": Whole(500, 20_000, log=True),
    },
    "sac": _SAC,
    "td3": _TD3,
    "ddpg": _TD3,
    "tqc": {
        **_SAC,
        "policy_kwargs.n_quantiles": Whole(5, 50),
        "top_quantiles_to_drop_per_net": Whole(0, 4),
    },
}
"""What is tuned of every algorithm that learns from rewards."""


def space_of(config: TrainConfig, file: Path | None = None) -> Space:
    """What is tuned of a configuration.

    Not tuned are the discount of one that is myopic (``gamma: 0``: its task is a bandit, in which a
    discount only adds noise) and the networks of one that begins with given weights.

    Args:
        config: as written.
        file: YAML that narrows it: ``{low: ..., high: ...}``, a list of choices, or nothing to
            leave a key as written.

    Raises:
        ConfigError: the algorithm has no table, or the file is wrong.
    """
    if config.algorithm not in SPACES:
        raise ConfigError(f"algorithm={config.algorithm!r}: cannot be tuned; {_all_of(SPACES)}")
    space = dict(SPACES[config.algorithm])
    if config.chosen.get("gamma") == 0.0:
        for key in ("gamma", "gae_lambda"):
            space.pop(key, None)
    if config.start is not None:
        space = {k: v for k, v in space.items() if not k.startswith(NETWORK)}
    return space if file is None else _narrow(space, file)


def draw(trial: Trial, key: str, dimension: Dimension) -> Any:
    """A value for the configuration, drawn by a study's sampler.

    Args:
        trial: of the study.
        key: of the hyper-parameter.
        dimension: where it is looked for.
    """
    kind: Any = dimension.distribution()
    drawn: Any
    if isinstance(kind, FloatDistribution):
        drawn = trial.suggest_float(key, kind.low, kind.high, log=kind.log)
    elif isinstance(kind, IntDistribution):
        drawn = trial.suggest_int(key, kind.low, kind.high, log=kind.log)
    else:
        drawn = trial.suggest_categorical(key, kind.choices)
    return dimension.value(drawn)


def changed(config: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """A configuration with other hyper-parameters.

    A minibatch that is larger than the rollout becomes the largest power of two that is not.

    Args:
        config: as written.
        changes: values by key.

    Raises:
        ConfigError: a value is out of its range.
    """
    raw = config.plain()
    for key, value in changes.items():
        *path, last = key.split(".")
        here = raw["hyperparameters"]
        for part in path:
            here = here.setdefault(part, {})
        here[last] = value
    chosen = raw["hyperparameters"]
    rollout = chosen.get("n_steps", 0) * config.num_envs
    if config.method.on_policy and "batch_size" in chosen and 1 < rollout < chosen["batch_size"]:
        chosen["batch_size"] = 2 ** (rollout.bit_length() - 1)
    return TrainConfig.create(raw)


def _narrow(space: Space, file: Path) -> Space:
    try:
        raw = parse(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ConfigError(f"space={str(file)!r}: cannot be read: {reason}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}: allowed: a mapping of hyper-parameters to ranges")
    for key, wanted in raw.items():
        if key not in space:
            raise ConfigError(f"{file}: {key}: not tuned; {hint(str(key), space)}")
        if wanted is None:
            del space[key]
        else:
            space[key] = _dimension(f"{file}: {key}", space[key], wanted)
    if not space:
        raise ConfigError(f"{file}: leaves nothing to tune")
    return space


def _dimension(where: str, old: Dimension, wanted: Any) -> Dimension:
    """What a file says instead of a table.

    Raises:
        ConfigError: it is neither choices nor bounds, or none that this kind can have.
    """
    if isinstance(wanted, list) and wanted:
        return Choice(tuple(wanted))
    if isinstance(old, Choice):
        raise ConfigError(f"{where}={wanted!r}: allowed: a list of values")
    if not isinstance(wanted, dict) or set(wanted) != {"low", "high"}:
        raise ConfigError(f"{where}={wanted!r}: allowed: a list of values, or {{low: , high: }}")
    low, high = wanted["low"], wanted["high"]
    for bound, value in wanted.items():
        if not _fits(old, value):
            allowed = f"{old.low:g} to {old.high:g}"
            allowed += ", a power of two" if isinstance(old, Power) else ""
            raise ConfigError(f"{where}.{bound}={value!r}: allowed: {allowed}")
    if low > high:
        raise ConfigError(f"{where}.low={low!r}: allowed: at most high, {high!r}")
    if isinstance(old, Uniform | Complement):
        return old._replace(low=float(low), high=float(high))
    return old._replace(low=low, high=high)


def _fits(old: Range, value: Any) -> bool:
    """Whether a bound lies in the table's range and is of its kind."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if isinstance(old, Whole | Power) and not isinstance(value, int):
        return False
    is_power = not isinstance(old, Power) or (value > 0 and int(value) & (int(value) - 1) == 0)
    return old.low <= value <= old.high and is_power


def _all_of(names: Mapping[str, Any]) -> str:
    return f"allowed: {', '.join(names)}"
