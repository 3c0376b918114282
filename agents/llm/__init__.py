"""Language models as players: any OpenAI-compatible server, and deterministic stand-ins.

=========== ========================================================================================
module      what it holds
=========== ========================================================================================
settings    where a server is and how it is asked; read from plain data
replies     requests, replies, and what they cost
endpoint    the HTTP client: retries, errors, batches; knows no environment
languages   finite grammars: their texts, and their notation for servers
constraints how servers are asked to answer in a language, and which way one understands
text_policy `TextPolicy`: an endpoint, and two models without one (`MockLLM`, `GarbageLLM`)
mac         adapters that play ``sixgym/LlmMac-v0`` by text
mac_rules   the contention-free protocol, read from prompts
player      ``--policy llm:FILE.yaml``
=========== ========================================================================================

Nothing here is downloaded, and nothing connects to a server that was not named. Everything is
imported on use; only `endpoint` and what stands on it needs ``httpx`` (extra ``train``).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sixgym.agents.llm.endpoint import Endpoint
    from sixgym.agents.llm.mac import GrammarAdapter, ScoringAdapter, Tally
    from sixgym.agents.llm.player import LlmPlayer
    from sixgym.agents.llm.replies import Reply, Request, Usage
    from sixgym.agents.llm.settings import EndpointSettings
    from sixgym.agents.llm.text_policy import EndpointLLM, GarbageLLM, MockLLM, TextPolicy

_HOMES = {
    "Endpoint": "endpoint",
    "EndpointLLM": "text_policy",
    "EndpointSettings": "settings",
    "GarbageLLM": "text_policy",
    "GrammarAdapter": "mac",
    "LlmPlayer": "player",
    "MockLLM": "text_policy",
    "Reply": "replies",
    "Request": "replies",
    "ScoringAdapter": "mac",
    "Tally": "mac",
    "TextPolicy": "text_policy",
    "Usage": "replies",
}
__all__ = [
    "Endpoint",
    "EndpointLLM",
    "EndpointSettings",
    "GarbageLLM",
    "GrammarAdapter",
    "LlmPlayer",
    "MockLLM",
    "Reply",
    "Request",
    "ScoringAdapter",
    "Tally",
    "TextPolicy",
    "Usage",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first touch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
