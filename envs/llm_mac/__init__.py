"""LLM-MAC: a base station and a changing set of users play for one uplink channel.

In every slot the base station sends each user a message (grant, acknowledgement, nothing), then
the users, who see theirs, send or delete the packet at the head of their buffer and answer with a
message of their own. Two who send at once collide. The base station leads, the users follow: a
dynamic multi-follower Stackelberg game, spoken in a small action grammar.

This is a reconstruction: of R. Tan et al., "LLM-Empowered Agentic MAC Protocols: A Dynamic
Stackelberg Game Approach", arXiv 2510.10895, only the abstract and the opening were read. The slot
is that of the first author's public code of LLM4MAC (arXiv 2503.08123), which follows Mota et al.
(arXiv 2108.07144); the utilities of leader and followers are ours.

=========== ========================================================================================
module      what it holds
=========== ========================================================================================
codes       the alphabets as integers
weights     presets of rewards and modes
params      every parameter with unit, range and source
levels      what the levels of the grammar allow, as masks
grammar     utterances to integers and back
state       the typed state of a batch of rows
population  users who come and go
traffic     packets that arrive
slot        one slot on the channel
fairness    Jain's index as it grows
rewards     the utilities of leader and followers
metrics     their names, and the scores
observation what base station and users see
partners    fixed policies for the side that does not play
speech      what is said, and how the game takes it
account     the metrics of a slot
system      the game
scene       the picture
prompts     what a language model would be told
text        prompts drawn from a state, and answers as the game takes them
text_view   the game in words: prompts are seen, utterances said
tokens      the language as tokens, and as an automaton
decode      many utterances at once, token by token
=========== ========================================================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sixgym.envs.llm_mac.params import LlmMacParams
    from sixgym.envs.llm_mac.system import LlmMac

_HOMES = {"LlmMac": "system", "LlmMacParams": "params"}
__all__ = ["LlmMac", "LlmMacParams"]


def __getattr__(name: str) -> Any:
    """Load a public name on first touch, so that listing the systems imports no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
