"""What a run is made of: one YAML file, checked before anything is trained.

Defaults are the dossier's small recipe [our choice: dossier 4.2, 4.3, 6.5]; none is the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic import model_validator as validates

from sixgym.agents.config import read
from sixgym.agents.toolcall.objective import Weights
from sixgym.envs.core.errors import ConfigError

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]
Rate = Annotated[float, Field(gt=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]

STRICT_PAPER: dict[str, Any] = {
    "prompts": 24,
    "group": 8,
    "learning_rate": 3e-4,
    "w_pg": 1.0,
    "kl_sft": 0.5,
    "nll_cloud": 0.0,
}
"""The objective as the paper words it, without imitation. [our choice: dossier 6.5]"""


class Strict(BaseModel):
    """A block of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SftSettings(Strict):
    """The supervised start."""

    examples: Count = Field(4_000, description="requests with true answers")
    mix: Share = Field(0.15, description="share of them from the full law; 0 is easy only")
    steps: Count = Field(450, description="gradient steps")
    batch: Count = Field(64, description="examples a step")
    learning_rate: Rate = Field(2e-3, description="of AdamW, at its highest")
    warmup: int = Field(50, ge=0, description="steps of linear rise; then a cosine")
    final_rate: Share = Field(0.1, description="share of the rate that is left at the end")
    weight_decay: Weight = Field(0.01, description="of AdamW")
    grad_clip: float = Field(1.0, gt=0.0, description="norm of the gradient")


class BufferSettings(Strict):
    """Requests that went to the cloud, and its answers."""

    prompts: Count = Field(3_000, description="full-law requests that were served")
    offloaded: float = Field(
        0.5, gt=0.0, le=1.0, description="share sent to the cloud: least likely drafts"
    )
    cloud_accuracy: Share = Field(0.95, description="the cloud agent's chance to be right")


class RewardModelSettings(Strict):
    """The pairwise reward model, for ``reward: rm``."""

    steps: Count = Field(300, description="gradient steps")
    batch: Count = Field(64, description="pairs a step")
    learning_rate: Rate = Field(1e-3, description="of AdamW")


class ImproveSettings(Strict):
    """Improvement on the buffer by the composite objective (28), or by DPO (31)."""

    strict_paper: bool = Field(False, description="defaults of the objective as the paper words it")
    method: Literal["composite", "dpo"] = Field("composite", description="what is minimised")
    reward: Literal["rule", "rm"] = Field("rule", description="rule (27), or the reward model")
    iterations: Count = Field(150, description="each of `epochs` passes over fresh samples")
    prompts: Count = Field(16, description="requests of the buffer an iteration")
    group: int = Field(6, ge=2, description="samples a request")
    epochs: Count = Field(2, description="passes over the samples")
    minibatch: Count = Field(96, description="samples a gradient step")
    learning_rate: Rate = Field(1e-3, description="of AdamW, without decay")
    grad_clip: float = Field(1.0, gt=0.0, description="norm of the gradient")
    clip: float = Field(0.2, gt=0.0, description="epsilon of PPO")
    w_pg: Weight = Field(0.3, description="w of the policy gradient")
    kl_old: Weight = Field(0.05, description="beta of the reverse KL")
    kl_reference: Literal["old", "sft"] = Field(
        "old", description="reverse KL to the policy that sampled, or to the supervised start"
    )
    kl_sft: Weight = Field(1.0, description="lambda of the forward KL to the supervised start")
    anchor_prompts: Literal["sft", "rl"] = Field(
        "sft", description="its prefixes: from the supervised set, or the start's own on the buffer"
    )
    anchor_batch: Count = Field(32, description="sequences of the anchor a step")
    nll_cloud: Weight = Field(1.0, description="mu of the imitation of cloud answers")
    cloud_batch: Count = Field(48, description="cloud answers a step, and pairs of DPO")
    schedule: Literal["sum", "alternate"] = Field(
        "sum", description="all terms together, or trust-region steps and then anchor steps"
    )
    dpo_beta: float = Field(0.1, gt=0.0, description="beta_D of DPO")

    @property
    def weights(self) -> Weights:
        """Of the composite objective."""
        return Weights(self.w_pg, self.kl_old, self.kl_sft, self.nll_cloud)

    @validates(mode="before")
    @classmethod
    def _fill_strict_paper(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("strict_paper") is True:
            return {**STRICT_PAPER, **data}
        return data

    @validates(mode="after")
    def _does_something(self) -> Self:
        if self.method == "composite" and not self.w_pg + self.nll_cloud:
            raise ValueError("w_pg, nll_cloud: both 0; allowed: at least one positive")
        return self


class EvaluationSettings(Strict):
    """Greedy answers to the frozen sets."""

    every: int = Field(30, ge=0, description="iterations between; 0: first and last")
    hard: int = Field(1_000, ge=1, le=1_000, description="full-law requests")
    easy: int = Field(500, ge=1, le=500, description="easy-law requests")
    kl: int = Field(200, ge=1, le=1_000, description="of the hard ones, for the KLs")


class RunConfig(Strict):
    """What every run is told, whatever it does; make one with `load` or `create`."""

    shipped: ClassVar[str]
    """Folder of this package that holds the configurations of this kind."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="name of the run's folder; the file's name if left out"
    )
    seeds: list[Seed] = Field([0], min_length=1, description="one run each")
    sft: SftSettings = Field(SftSettings(), description="the supervised start")
    evaluation: EvaluationSettings = Field(EvaluationSettings(), description="the frozen sets")
    threads: int = Field(1, ge=0, le=1024, description="torch's threads; 0 leaves them")
    output: str = Field("./runs", description="folder under which the run's folder is made")

    @validates(mode="after")
    def _has_each_seed_once(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds={self.seeds}: allowed: each seed once")
        return self

    def plain(self) -> dict[str, Any]:
        """JSON-able content; `create` of it gives the configuration again."""
        return self.model_dump(mode="json")

    @classmethod
    def create(cls, raw: Mapping[str, Any]) -> Self:
        """A configuration from plain data.

        Raises:
            ConfigError: a field is missing, unknown, of the wrong type or out of range.
        """
        try:
            return cls.model_validate(dict(raw))
        except ValidationError as error:
            problems = [_problem(dict(item)) for item in error.errors(include_url=False)]
            raise ConfigError("; ".join(dict.fromkeys(problems))) from None

    @classmethod
    def load(cls, name_or_path: str | Path, overrides: Sequence[str] = ()) -> Self:
        """Read a configuration and apply ``a.b=value`` overrides.

        Args:
            name_or_path: a YAML file, or the name of one of this package.
            overrides: dotted path, ``=``, a value in YAML.

        Raises:
            ConfigError: no such file, not YAML, or not a valid configuration.
        """
        return cls.create(read(name_or_path, recipes(cls.shipped), overrides))


class ToolcallConfig(RunConfig):
    """Everything that decides a run of training; make one with `load` or `create`."""

    shipped: ClassVar[str] = "recipes"

    start: str | None = Field(
        None,
        description="supervised start to load instead of training it: a file, in which {seed} is "
        "the seed, or `shipped`",
    )
    buffer: BufferSettings = Field(BufferSettings(), description="cloud answers")
    reward_model: RewardModelSettings = Field(RewardModelSettings(), description="for reward: rm")
    improve: ImproveSettings = Field(ImproveSettings(), description="the improvement")

    @validates(mode="after")
    def _fits_together(self) -> Self:
        kept = int(self.buffer.prompts * self.buffer.offloaded)
        if kept < self.improve.prompts:
            raise ValueError(
                f"improve.prompts={self.improve.prompts}: allowed: at most the {kept} of the buffer"
            )
        return self


def recipes(folder: str = "recipes") -> dict[str, Traversable]:
    """The configurations of this package by name: the default one and its ablations.

    Args:
        folder: ``recipes`` of trainings, ``loops`` of closed loops.
    """
    files = (resources.files("sixgym.agents.toolcall") / folder).iterdir()
    found = sorted((f for f in files if f.name.endswith(".yaml")), key=lambda file: file.name)
    return {f.name.removesuffix(".yaml"): f for f in found}


def _problem(item: dict[str, Any]) -> str:
    """One mistake in words."""
    name = ".".join(map(str, item["loc"]))
    message = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if item["type"] == "missing":
        return f"{name}: missing"
    if item["type"] == "extra_forbidden":
        return f"{name}: no such field"
    if "endpoint" in item["loc"]:  # a key may have been put there by mistake: nothing is repeated
        return f"{name}: allowed: {message}"
    if item["type"] == "value_error":
        return message
    return f"{name}={item['input']!r}: allowed: {message}"
