"""``--policy llm:FILE.yaml``: a language model behind a server as a player of ``LlmMac-v0``.

The file says where the server is and how the model is asked::

    adapter: grammar            # grammar: whole utterances; scoring: one of the candidates
    scoring: choice             # of adapter scoring: choice or logprobs
    endpoint:
      base_url: http://127.0.0.1:8000/v1
      model: Qwen/Qwen3-0.6B
      api_key_env: LLM_API_KEY  # the variable's name, never the key; leave out without a key
      temperature: 0.0
      max_parallel: 16
      constrained: auto         # auto, grammar, choice, json_schema or none
      prompt_price: 1.0e-7      # per token, for the cost that is reported
      completion_price: 4.0e-7
      extra:                    # more fields of the request, as this server takes them
        chat_template_kwargs: {enable_thinking: false}

All fields of ``endpoint`` are those of `sixgym.agents.llm.settings.EndpointSettings`; only
``base_url`` and ``model`` must be given.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from sixgym.agents.llm.settings import EndpointSettings, Strict, read
from sixgym.envs.core.errors import ConfigError, PolicyError

if TYPE_CHECKING:
    from sixgym.agents.llm.mac import MacAdapter
    from sixgym.agents.llm.text_policy import EndpointLLM
    from sixgym.envs.core.system import System

PREFIX = "llm:"
"""What the name of such a policy begins with."""


class PlayerSettings(Strict):
    """What the file holds."""

    adapter: Literal["grammar", "scoring"] = Field("grammar", description="how the model is asked")
    scoring: Literal["choice", "logprobs"] = Field(
        "choice", description="how candidates are scored, see `EndpointLLM`"
    )
    endpoint: EndpointSettings = Field(description="where the model is")


class LlmPlayer:
    """A language model as a member of the leaderboard's players.

    Args:
        settings: of the file.
        name: what tables call it.
    """

    def __init__(self, settings: PlayerSettings, name: str) -> None:
        self.settings = settings
        self.name = name
        self._playing: tuple[MacAdapter, EndpointLLM] | None = None

    @classmethod
    def load(cls, path: str) -> LlmPlayer:
        """The player of a file, called like it.

        Raises:
            ConfigError: no such file, no YAML, or not what `PlayerSettings` allows.
        """
        from sixgym.agents.config import parse

        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise ConfigError(
                f"policy={PREFIX + path!r}: {reason}; allowed: {PREFIX}FILE.yaml"
            ) from None
        return cls(read(PlayerSettings, parse(text, path), path), Path(path).stem)

    @property
    def description(self) -> str:
        """One sentence, without address or key."""
        return f"Language model {self.settings.endpoint.model}, {self.settings.adapter} adapter."

    def make(self, system: System[Any, Any]) -> MacAdapter:
        """The policy.

        Raises:
            PolicyError: the system is not that of ``sixgym/LlmMac-v0``.
            EndpointError: the environment variable of the key is not set.
            ModuleNotFoundError: httpx is not installed.
        """
        from sixgym.agents.llm.endpoint import Endpoint
        from sixgym.agents.llm.mac import GrammarAdapter, ScoringAdapter
        from sixgym.agents.llm.text_policy import EndpointLLM

        model = EndpointLLM(Endpoint(self.settings.endpoint), scoring=self.settings.scoring)
        kinds: dict[str, type[MacAdapter]] = {"grammar": GrammarAdapter, "scoring": ScoringAdapter}
        adapter = kinds[self.settings.adapter](system, model, self.name)
        self._playing = (adapter, model)
        return adapter

    def report(self) -> str:
        """What the model has said and what it cost, in one line; empty before it has played."""
        if self._playing is None:
            return ""
        adapter, model = self._playing
        tally, usage = adapter.tally, model.endpoint.usage
        return (
            f"{self.name}: {tally.utterances} utterances, "
            f"{tally.violations_per_1000:.1f} violations per 1000, {tally.invalid} invalid; "
            f"{usage.calls} requests, {usage.retries} retries, "
            f"{usage.prompt_tokens} + {usage.completion_tokens} tokens, {usage.seconds:.1f} s, "
            f"cost {usage.cost:g}; constraint: {model.way}, {model.unconstrained} requests without"
        )


def check_id(cls: type[Any], id: str) -> None:
    """Refuse environments that no language model plays.

    Args:
        cls: the system's class.
        id: as registered, for the message.

    Raises:
        PolicyError: it is another system than that of ``sixgym/LlmMac-v0``.
    """
    from sixgym.envs.llm_mac.system import LlmMac

    if not issubclass(cls, LlmMac):
        raise PolicyError(f"policy={PREFIX}...: does not play {id}; allowed: sixgym/LlmMac-v0")
