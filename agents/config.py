"""Training configurations: one YAML file an experiment, checked before anything is built.

A configuration is a path or the name of a shipped file (``ris_noma/ppo``). It is read as plain data
(YAML's safe subset); every mistake is a `ConfigError` of one line that names the field, the value
and what is allowed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializeAsAny,
    StringConstraints,
    ValidationError,
    model_validator,
)

from sixgym.agents.algorithms import (
    ALGORITHMS,
    CLONING,
    HYBRID,
    Algorithm,
    Hyperparameters,
    Settings,
)
from sixgym.envs.core import plugins
from sixgym.envs.core.errors import ConfigError
from sixgym.envs.core.worlds import ROWS_PER_SEED, SEEDS

FROM_RL_ZOO = {
    "n_envs": "num_envs",
    "n_timesteps": "total_steps",
    "algo": "algorithm",
    "env_id": "env",
    "env_params": "env_kwargs",
}
"""What others call our top-level fields, for the hint in an error."""

M = TypeVar("M", bound=BaseModel)

Positive = Annotated[int, Field(ge=1)]
TrainingSeed = Annotated[int, Field(ge=0, lt=min(SEEDS["train"], 2**32))]
"""Also SB3's model seed, which must be below 2**32."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Normalize(_Strict):
    """Running normalisation by SB3's ``VecNormalize``; its statistics travel with the policy."""

    observation: bool = Field(False, description="subtract the mean, divide by the deviation")
    reward: bool = Field(False, description="divide by the deviation of the discounted return")
    clip_observation: float = Field(10.0, gt=0, description="bound of normalised observations")
    clip_reward: float = Field(10.0, gt=0, description="bound of normalised rewards")


class Evaluation(_Strict):
    """Evaluation on the validation worlds, the same episodes every time."""

    every: int = Field(50_000, ge=0, description="steps between evaluations; 0: first and last")
    episodes: int = Field(64, ge=1, le=ROWS_PER_SEED, description="episodes, played in one batch")
    deterministic: bool = Field(True, description="the best action rather than a sample")
    baselines: list[str] = Field([], description="drawn beside the learning curve")


class Checkpoint(_Strict):
    """Checkpoints at rollout boundaries."""

    every: int = Field(50_000, ge=0, description="steps between checkpoints; 0: at the end only")


class TrainConfig(_Strict):
    """Everything that decides a training run; make one with `load` or `create`.

    Schedules of hyper-parameters are numbers, ``lin_3e-4`` (to zero) or ``[first, last]``.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="name of the run's folder; the file's name if left out"
    )
    env: str = Field(description="id of a registered environment")
    preset: str | None = Field(None, description="named parameters of the environment")
    env_kwargs: dict[str, JsonValue] = Field(
        default_factory=dict, description="arguments of the environment, as for gym.make"
    )
    algorithm: str = Field(description="what learns")
    policy: str = Field(description="policy class; the algorithm's first if left out")
    hyperparameters: SerializeAsAny[Settings] = Field(
        description="of the algorithm; what is left out is SB3's default"
    )
    shared: bool = Field(
        False, description="one policy that all agents of a game share, each by what it sees itself"
    )
    start: str | None = Field(
        None,
        description="weights to begin with: of a policy that ships, by system and name "
        "(netgpt/ppo_myopic, the same seed), or the path of one; PPO and A2C without normalised "
        "observations",
    )
    num_envs: int = Field(64, ge=1, le=ROWS_PER_SEED, description="rows trained on together")
    total_steps: Positive = Field(description="environment steps, all rows together")
    seeds: list[TrainingSeed] = Field([0], min_length=1, description="one run each")
    untuned: bool = Field(
        False,
        description="nobody searched for these hyper-parameters: what it trains ships with one "
        'seed, is labelled "untuned, one seed" and is outside the ranking',
    )
    cost: Literal["fast", "slow"] = Field(
        "fast",
        description="of playing it: slow is more than some 20 seconds of a processor for 256 "
        "episodes; a board then asks for the first 32 of them",
    )
    finite_horizon: bool = Field(
        False,
        description="learn that nothing is worth anything after the time limit, instead of "
        "bootstrapping there; for observations that tell the time",
    )
    normalize: Normalize = Field(Normalize(), description="of observations and rewards")
    evaluation: Evaluation = Field(Evaluation(), description="on the validation worlds")
    checkpoint: Checkpoint = Field(Checkpoint(), description="how often to save")
    device: str = Field("cpu", description="where the networks are trained")
    threads: int = Field(
        1,
        ge=0,
        le=1024,
        description="torch's threads while training; 0 leaves them: small networks gain nothing "
        "from more, and where the cores are shared more wait for each other",
    )
    output: str = Field("./runs", description="folder under which the run's folder is made")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds={self.seeds}: allowed: each seed once")
        if self.policy not in self.method.policies:
            raise ValueError(f"policy={self.policy!r}: {hint(self.policy, self.method.policies)}")
        if self.shared and self.finite_horizon:
            raise ValueError("finite_horizon=True: allowed with shared=False")
        if self.method.head == "team" and (self.shared or self.normalize.observation):
            field = "shared" if self.shared else "normalize.observation"
            raise ValueError(f"{field}=True: allowed with algorithm={self.algorithm!r}: False")
        if self.start is not None and (
            self.algorithm not in ("ppo", "a2c", "maskableppo") or self.normalize.observation
        ):
            raise ValueError(
                f"start={self.start!r}: allowed with ppo, a2c and maskableppo, and observations "
                "as they are"
            )
        chosen = self.chosen
        network = chosen.get("policy_kwargs", {})
        for field in ("prior", "entropy_of_numbers"):
            if field in network and self.policy != HYBRID:
                raise ValueError(
                    f"hyperparameters.policy_kwargs.{field}={network[field]!r}: allowed with "
                    f"policy={HYBRID!r}"
                )
        if self.policy == HYBRID and self.normalize.observation:
            raise ValueError(
                f"normalize.observation=True: allowed with policy={HYBRID!r}: False, for masks are "
                "observed"
            )
        rollout = chosen.get("n_steps", 0) * self.num_envs
        if self.method.on_policy and 0 < rollout < chosen.get("batch_size", 0):
            raise ValueError(
                f"hyperparameters.batch_size={chosen['batch_size']}: allowed: at most "
                f"n_steps x num_envs = {rollout}"
            )
        return self

    @model_validator(mode="after")
    def _fits_cloning(self) -> Self:
        if self.algorithm != CLONING:
            return self
        for field, value, allowed in (
            ("finite_horizon", self.finite_horizon, False),
            ("normalize.reward", self.normalize.reward, False),
            ("device", self.device, "cpu"),
        ):
            if value != allowed:
                raise ValueError(f"{field}={value!r}: allowed with algorithm='bc': {allowed!r}")
        if self.num_envs < 2:
            raise ValueError("num_envs=1: allowed with algorithm='bc': 2 or more, one is held out")
        return self

    @property
    def method(self) -> Algorithm:
        """The algorithm's entry in the table."""
        return ALGORITHMS[self.algorithm]

    @property
    def chosen(self) -> dict[str, Any]:
        """The hyper-parameters that are set here; the others are SB3's."""
        return self.hyperparameters.model_dump(exclude_unset=True)

    def plain(self) -> dict[str, Any]:
        """JSON-able content; `create` of it gives the configuration again."""
        return {**self.model_dump(mode="json"), "hyperparameters": self.chosen}

    @classmethod
    def create(cls, raw: Mapping[str, Any]) -> Self:
        """A configuration from plain data.

        Raises:
            ConfigError: a field is missing, unknown, of the wrong type or out of range.
        """
        data = dict(raw)
        name = data.get("algorithm")
        if name is not None and name not in ALGORITHMS:
            raise ConfigError(f"algorithm={name!r}: {hint(str(name), ALGORITHMS)}")
        if name is not None:
            method = ALGORITHMS[name]
            given = data.get("hyperparameters", {})
            data["hyperparameters"] = _validate(method.hyperparameters, given, "hyperparameters.")
            data.setdefault("policy", method.policies[0])
        else:  # missing: reported with whatever else is wrong
            data |= {"hyperparameters": Hyperparameters(), "policy": ""}
        return _validate(cls, data, "")

    @classmethod
    def load(cls, name_or_path: str | Path, overrides: Sequence[str] = ()) -> Self:
        """Read a configuration and apply ``a.b=value`` overrides.

        Args:
            name_or_path: a YAML file, or the name of a shipped one without its ending.
            overrides: as of ``--set``: dotted path, ``=``, a value in YAML.

        Raises:
            ConfigError: no such file, not YAML, or not a valid configuration.
        """
        return cls.create(read(name_or_path, shipped(), overrides))


def shipped() -> dict[str, Traversable]:
    """The configurations in the package by name (``ris_noma/ppo``), and those of plugins."""
    root = resources.files("sixgym.configs")
    folders = sorted((f for f in root.iterdir() if f.is_dir()), key=lambda f: f.name)
    return plugins.configurations() | {
        f"{folder.name}/{file.name.removesuffix('.yaml')}": file
        for folder in folders
        for file in sorted(folder.iterdir(), key=lambda f: f.name)
        if file.name.endswith(".yaml")
    }


def read(
    name_or_path: str | Path, names: Mapping[str, Traversable], overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Plain fields of a configuration, its name that of the file if it gives none.

    Args:
        name_or_path: a YAML file or one of the names.
        names: files that ship.
        overrides: ``a.b=value`` each.

    Raises:
        ConfigError: no such file, not YAML, or no mapping.
    """
    source = find(name_or_path, names)
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(f"{name_or_path}: cannot be read: {reason}") from None
    raw = parse(text, str(name_or_path))
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        raise ConfigError(f"{name_or_path}: allowed: a mapping of fields to values")
    raw.setdefault("name", Path(source.name).stem)
    for text in overrides:
        override(raw, text)
    return raw


def find(name_or_path: str | Path, names: Mapping[str, Traversable]) -> Traversable:
    """The file of a path or of a shipped name.

    Raises:
        ConfigError: there is none.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    if str(name_or_path) in names:
        return names[str(name_or_path)]
    raise ConfigError(
        f"config={str(name_or_path)!r}: no such file or shipped configuration; "
        f"{hint(str(name_or_path), names)}"
    )


MOST_BITS = 256
"""Of a whole number in YAML."""


class _Loader(yaml.SafeLoader):
    """Plain data only, with two traps closed: ``6e-4`` is a number, a repeated key an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = sorted({str(k) for k in keys if keys.count(k) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(
                None, None, f"{', '.join(repeated)}: given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = int(super().construct_yaml_int(node))
        if value.bit_length() > MOST_BITS:  # Python would not even print it
            problem = f"a number of {value.bit_length()} bits"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)

# YAML 1.1, which PyYAML reads, wants 6.0e-4; YAML 1.2 and everyone who writes one mean a number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def parse(text: str, where: str) -> Any:
    """Plain data from YAML text.

    Raises:
        ConfigError: not YAML, a key is given twice, or there are aliases.
    """
    try:
        # Aliases could make a text of a kilobyte a tree of gigabytes.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_Loader)):
            raise ConfigError(f"{where}: aliases (*name); allowed: YAML without them")
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{where}{line}: not YAML: {problem}") from None
    except ConfigError:
        raise
    except RecursionError:
        raise ConfigError(f"{where}: not YAML: nested too deeply") from None
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        # What PyYAML lets through: a date that is none, thousands of digits, `!!int` of nothing.
        raise ConfigError(f"{where}: not YAML: a value that is none: {error}") from None


def override(raw: dict[str, Any], text: str) -> None:
    """Set one value of plain data in place: ``a.b=value``, the value in YAML.

    Raises:
        ConfigError: no ``=``, an empty path, or the path goes through something that is no mapping.
    """
    path, separator, value = text.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(f"--set {text}: allowed: a.b=value")
    here = raw
    for depth, key in enumerate(keys[:-1], 1):
        if here.get(key) is None:
            here[key] = {}
        here = here[key]
        if not isinstance(here, dict):
            raise ConfigError(f"--set {text}: {'.'.join(keys[:depth])} has no fields of its own")
    here[keys[-1]] = parse(value, f"--set {path}")


def hint(name: str, known: Collection[str]) -> str:
    """Nearest known names, or all of them."""
    renamed = FROM_RL_ZOO.get(name, "")
    near = [renamed] if renamed in known else difflib.get_close_matches(name, known, n=3)
    return f"did you mean {', '.join(near)}?" if near else f"allowed: {', '.join(known)}"


def _validate(cls: type[M], data: object, prefix: str) -> M:
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_one_line(cls, error, prefix)) from None


def _one_line(cls: type[BaseModel], error: ValidationError, prefix: str) -> str:
    parts = []
    for item in error.errors(include_url=False):
        loc = item["loc"]
        name = prefix + ".".join(map(str, loc))
        message = str(item["msg"]).removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            owner = _model_at(cls, loc[:-1])
            known = tuple(owner.model_fields)
            parts.append(f"{name}={item['input']!r}: no such field; {hint(str(loc[-1]), known)}")
        elif item["type"] == "missing":
            parts.append(f"{name}: missing")
        elif not loc:
            parts.append(
                message if item["type"] == "value_error" else f"{prefix.rstrip('.')}: {message}"
            )
        else:
            parts.append(f"{name}={item['input']!r}: allowed: {_lower(message)}")
    return "; ".join(dict.fromkeys(parts))


def _model_at(cls: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel]:
    """The model that a location inside ``cls`` points to."""
    for key in loc:
        found = cls.model_fields[str(key)].annotation
        if isinstance(found, type) and issubclass(found, BaseModel):
            cls = found
    return cls


def _lower(message: str) -> str:
    return message.removeprefix("Input should be ").removeprefix("a valid ")
