"""What a closed loop is made of: one YAML file, checked before anything is served.

Cadence and amounts are the dossier's small loop [our choice: dossier 4.7]; none is the paper's.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, JsonValue
from pydantic import model_validator as validates

from sixgym.agents.llm.settings import EndpointSettings
from sixgym.agents.toolcall.config import Count, ImproveSettings, RunConfig, Share, Strict
from sixgym.envs.netgpt.params import NetGptThresholdParams


class AgentSettings(Strict):
    """Who answers requests: the package's own agent, or a model behind a server."""

    endpoint: EndpointSettings | None = Field(
        None, description="an OpenAI-compatible server that answers instead of the own agent"
    )
    ask: Literal["tools", "json"] = Field(
        "tools", description="of an endpoint: by the `tools` of the API, or for the JSON text"
    )


class EdgeSettings(AgentSettings):
    """The edge agent."""

    logprobs: bool = Field(
        False, description="of an endpoint: ask for log-probabilities, which the scorer looks at"
    )


class CloudSettings(AgentSettings):
    """The cloud agent."""

    accuracy: Share = Field(0.95, description="of the own one: its chance to be right")


class ScorerSettings(Strict):
    """The router's scorer."""

    requests: Count = Field(
        500, description="served by both agents before the first slot, to fit the scorer to"
    )
    refresh_every: int = Field(2, ge=0, description="updates between refits; 0: never")
    explore_eps: Share = Field(
        0.1,
        description="chance of a request to be set aside: the cloud answers it whatever its "
        "score, and the scorer is fitted to it, not the edge",
    )


class LoopImproveSettings(ImproveSettings):
    """Improvement at an update; the rule's reward only."""

    reward: Literal["rule"] = Field("rule", description="rule (27)")
    iterations: Count = Field(60, description="at each update")


class LoopConfig(RunConfig):
    """Everything that decides a closed loop; make one with `load` or `create`."""

    shipped: ClassVar[str] = "loops"

    env: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="preset and parameters of sixgym/NetGptThreshold-v0; a cascade without queue",
    )
    slots: Count = Field(240, description="slots of service")
    threshold: Literal["analytic", "fitted"] | Share = Field(
        "analytic", description="FuncDyn's coefficients, or a constant threshold"
    )
    start: str | None = Field(
        "shipped",
        description="supervised start of the edge: a file, in which {seed} is the seed, `shipped`, "
        "or null to train it",
    )
    edge: EdgeSettings = Field(EdgeSettings(), description="the edge agent")
    cloud: CloudSettings = Field(CloudSettings(), description="the cloud agent")
    scorer: ScorerSettings = Field(ScorerSettings(), description="the router's scorer")
    train: bool = Field(True, description="improve the edge; false with an endpoint edge")
    update_every: Count = Field(40, description="slots between updates")
    improve: LoopImproveSettings = Field(LoopImproveSettings(), description="of the edge")

    @property
    def env_params(self) -> NetGptThresholdParams:
        """Of the system that gives network, prices and numbers of requests."""
        values: dict[str, Any] = dict(self.env)
        return NetGptThresholdParams.create(values.pop("preset", None), **values)

    @validates(mode="after")
    def _fits_together(self) -> Self:
        if self.edge.endpoint is not None and self.train:
            raise ValueError("train=True: a model behind edge.endpoint is not trained here; "
                             "allowed: train=False")  # fmt: skip
        params = self.env_params
        # Whatever the environment would do itself is done here by the real thing.
        wanted: dict[str, Any] = {"mode": "cascade", "queue": "off", "self_improve": False}
        for name, only in {**wanted, "schema_gate": True, "explore_eps": 0.0}.items():
            if getattr(params, name) != only:
                raise ValueError(
                    f"env.{name}={getattr(params, name)!r}: allowed in the loop: {only!r}"
                )
        return self
