"""The game as it is spoken: agents by name see prompts and answer with utterances.

The views of `sixgym.envs.core.pettingzoo_view`, with a table that prints what it shows and parses
what it is told. Same seed and same moves, same trajectory::

    view = text_parallel_env(preset="llm4mac", c_pag=0.1)
    prompts, infos = view.reset(seed=0)
    told = view.step({agent: language_model(prompt) for agent, prompt in prompts.items()})

Any text is an answer. What is no utterance of its speaker is silence as a whole and a violation;
of an utterance, the parts that the level of the grammar forbids are silence (dossier 3.6). Parsing
stands on lark, which comes with the extra ``train``.
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.game import Game, Group
from sixgym.envs.core.pettingzoo_view import SixgymAECEnv, SixgymParallelEnv, make_game
from sixgym.envs.core.registry import entry
from sixgym.envs.core.table import Ended, Table
from sixgym.envs.llm_mac.codes import NOTHING
from sixgym.envs.llm_mac.grammar import PHYSICAL, Grammar, OnInvalid, Reading
from sixgym.envs.llm_mac.prompts import bs_prompt, ue_prompt
from sixgym.envs.llm_mac.system import BS, LlmMac
from sixgym.envs.llm_mac.text import Cell

ID = "sixgym/LlmMac-v0"
LETTERS = string.ascii_letters + string.digits + string.punctuation + " \n"
"""Characters of prompts and utterances."""
VIEW_OPTIONS = (
    "max_episode_steps", "fixed_agents", "render_mode", "name", "c_pag", "on_invalid", "lenient",
)  # fmt: skip
"""Keywords of `TextParallelEnv` and `TextAECEnv`; all others are the game's."""

_SILENCE = Reading((0,), violation=False, invalid=0, reason="")
"""Of an empty seat, and of who has not spoken yet."""


class TextTable(Table):
    """A table of LLM-MAC at which everything is said in words.

    Args:
        game: in the layout ``"dict"``; the base station speaks of every seat.
        max_episode_steps: time limit in slots; None for none.
        fixed_agents: whether agents are seats; nobody reads or speaks on an empty one.
        c_pag: what a violation costs its speaker, in units of reward.
        on_invalid: ``"noop"``: what is no utterance is silence; ``"raise"``: it is an error.
        lenient: whether users that the base station does not mention are told null.

    Raises:
        OptionsError: the cost is negative or not finite, or the base station points.
    """

    def __init__(
        self,
        game: LlmMac,
        max_episode_steps: int | None,
        fixed_agents: bool,
        *,
        c_pag: float,
        on_invalid: OnInvalid,
        lenient: bool,
    ) -> None:
        if not (isinstance(c_pag, int | float) and math.isfinite(c_pag) and c_pag >= 0.0):
            raise OptionsError(f"c_pag={c_pag!r}: allowed: a finite number, at least 0")
        if game.params.bs_action != "multi":
            raise OptionsError(f"bs_action={game.params.bs_action!r}: allowed in words: 'multi'")
        self.c_pag = c_pag
        self._cell = Cell(game, on_invalid=on_invalid, lenient=lenient)
        self._most = game.params.buffer_size
        self._readings: dict[str, Reading] = {}
        self._drawn: tuple[Any, Any, dict[int, str]] | None = None
        super().__init__(game, max_episode_steps, fixed_agents, flatten=False)

    def _space(self, kind: str, group: Group) -> gym.Space[Any]:
        """Of texts up to the longest that the agent is told, or can say canonically."""
        grammar = self._cell.grammar
        if kind == "action_space":
            length = longest_utterance(grammar, group.name)
        else:
            length = longest_prompt(grammar, group.name, self._most)
        return spaces.Text(length, min_length=0, charset=LETTERS)

    def reset(self, seed: int | None, options: Mapping[str, Any] | None = None) -> list[str]:
        """Begin an episode in which nobody has spoken; see `Table.reset`."""
        self._readings, self._drawn = {}, None
        return super().reset(seed, options)

    def observe(self, agent: str) -> str:
        """The agent's prompt; empty on an empty seat."""
        seat = self.seat(agent)
        state, moves = self.rows.state, self._moves
        if seat.group.name == BS:
            return self._cell.bs_prompt(state, 0)
        if self._drawn is None or self._drawn[0] is not state or self._drawn[1] is not moves:
            self._drawn = state, moves, self._cell.ue_prompts(state, 0, moves)
        return self._drawn[2].get(seat.place, "")

    def blank(self, agent: str) -> str:
        """What somebody who has gone is told."""
        return ""

    def info(self, agent: str) -> dict[str, Any]:
        """As `Table.info`, and what became of the agent's latest utterance.

        ``pag_violation`` is 1 where it was none; ``invalid`` counts the parts of it that the level
        forbids or that act on an empty buffer (in the other views: those of all agents).
        """
        return super().info(agent) | verdict(self._readings.get(agent, _SILENCE))

    def move(self, actions: Mapping[str, Any]) -> Ended | None:
        """Take the utterances of the agents whose turn it is; see `Table.move`.

        Raises:
            ActionError: an utterance is missing, or its speaker is not there.
            GrammarError: a text is no utterance, and that is an error here; nothing is changed.
        """
        ended = super().move(actions)
        if ended is None or self.c_pag == 0.0:
            return ended
        paid = {
            agent: reward - self.c_pag * self._readings[agent].violation
            for agent, reward in ended.rewards.items()
        }
        return ended._replace(rewards=paid)

    def _read(self, agent: str, action: Any) -> Tensor | dict[str, Tensor]:
        """An utterance as the move that it comes to."""
        seat, state = self.seats[agent], self.rows.state
        if seat.group.name == BS:
            reading = self._cell.read_bs(action, state, 0)
            self._readings[agent] = reading
            return super()._read(agent, np.asarray(reading.action))
        reading = _SILENCE
        if state.here[0, seat.place]:
            reading = self._listen(action, seat.place)
        self._readings[agent] = reading
        return super()._read(agent, np.asarray(reading.action[0]))

    def _listen(self, text: object, place: int) -> Reading:
        """A user's utterance; below level 1 an action on an empty buffer is kept, but counts."""
        state = self.rows.state
        heard = int(cast("LlmMac", self.game).heard(state, self._moves)[0, place])
        reading = self._cell.read_ue(text, state, 0, place, heard)
        acts = reading.action[0] // len(self._cell.grammar.alphabet.ucm) != NOTHING
        is_void = acts and int(state.q[0, place]) == 0
        return reading._replace(invalid=reading.invalid + is_void)


def verdict(reading: Reading) -> dict[str, int]:
    """What ``infos`` say of an utterance."""
    return {"pag_violation": int(reading.violation), "invalid": reading.invalid}


def longest_utterance(grammar: Grammar, group: str) -> int:
    """Characters of the longest canonical utterance.

    Args:
        grammar: of the game.
        group: ``"bs"`` or ``"ue"``.
    """
    last = grammar.num_rows - 1
    if group == BS:
        message = [_longest(grammar.alphabet.dcm)] * grammar.num_rows
        return len(grammar.print_bs(message, [True] * grammar.num_rows))
    moves = range(len(PHYSICAL) * len(grammar.alphabet.ucm))
    return max(len(grammar.print_ue(last, move)) for move in moves)


def longest_prompt(grammar: Grammar, group: str, buffer_size: int) -> int:
    """Characters of the longest prompt.

    Args:
        grammar: of the game.
        group: ``"bs"`` or ``"ue"``.
        buffer_size: packets that a user can hold.
    """
    rows = grammar.num_rows
    u, m = _longest(grammar.alphabet.ucm), _longest(grammar.alphabet.dcm)
    if group == BS:
        seen = ([u] * rows, [m] * rows, [True] * rows)
        drawn = [
            bs_prompt(grammar, o=o, u=seen[0], m=seen[1], active=seen[2])
            for o in (0, rows, rows + 1)
        ]
        return max(map(len, drawn))
    return len(ue_prompt(grammar, rows - 1, q=buffer_size, a=_longest(PHYSICAL), u=u, m=m))


def _longest(words: Sequence[str]) -> int:
    return max(range(len(words)), key=lambda code: len(words[code]))


class TextParallelEnv(SixgymParallelEnv):
    """LLM-MAC in words, for agents that speak at once; a slot of stackelberg timing is two calls.

    Observations are prompts, actions are utterances, both ``Text`` spaces; any other text, or what
    is no text at all, is a violation and no error. ``infos[agent]`` hold ``pag_violation`` and
    ``invalid`` of what the agent said in this call (0 of those whose turn it was not), see
    `TextTable.info`; rewards, costs of violations included, come with the end of the slot.

    Args:
        game: the dynamics, in the layout ``"dict"``.
        c_pag: what a violation costs its speaker, in units of reward.
        on_invalid: ``"noop"``, or ``"raise"`` a `GrammarError` at a violation.
        lenient: whether users that the base station does not mention are told null.
        **view: ``max_episode_steps``, ``fixed_agents``, ``render_mode`` and ``name`` of
            `SixgymParallelEnv`.

    Raises:
        OptionsError: see `TextTable`.
    """

    def __init__(
        self,
        game: LlmMac,
        *,
        c_pag: float = 0.0,
        on_invalid: OnInvalid = "noop",
        lenient: bool = False,
        **view: Any,
    ) -> None:
        super().__init__(game, **view)
        limit, fixed = self.table.rows.max_episode_steps, self.table.fixed_agents
        self.table = TextTable(
            game, limit, fixed, c_pag=c_pag, on_invalid=on_invalid, lenient=lenient
        )

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[
        dict[str, Any],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """One turn of the game; see `SixgymParallelEnv.step`.

        Raises:
            ActionError: see `TextTable.move`.
            StateError: nobody is there: before reset or after the end.
        """
        speakers = set(self.table.movers())
        told = super().step(actions)
        for agent, info in told[4].items():
            if agent not in speakers:
                info.update(verdict(_SILENCE))
        return told


class TextAECEnv(SixgymAECEnv):
    """LLM-MAC in words, for agents that speak in turn: the base station, then users by seat.

    Arguments, observations and actions as of `TextParallelEnv`; ``infos[agent]`` are of the agent's
    latest utterance. (PettingZoo's ``api_test`` does not know observations that are strings.)
    """

    def __init__(
        self,
        game: LlmMac,
        *,
        c_pag: float = 0.0,
        on_invalid: OnInvalid = "noop",
        lenient: bool = False,
        **view: Any,
    ) -> None:
        super().__init__(game, **view)
        limit, fixed = self.table.rows.max_episode_steps, self.table.fixed_agents
        self.table = TextTable(
            game, limit, fixed, c_pag=c_pag, on_invalid=on_invalid, lenient=lenient
        )


def text_parallel_env(**kwargs: Any) -> TextParallelEnv:
    """The parallel view of `sixgym/LlmMac-v0` in words.

    Args:
        **kwargs: parameters and options of the game, as for ``gymnasium.make``, and those of
            `TextParallelEnv`.

    Raises:
        ParamsError: a parameter is unknown, of the wrong type or out of range.
        OptionsError: see `TextTable`.
    """
    return TextParallelEnv(*_made(kwargs), **kwargs)


def text_env(**kwargs: Any) -> TextAECEnv:
    """The view in which agents speak in turn; see `text_parallel_env`."""
    return TextAECEnv(*_made(kwargs), **kwargs)


def _made(kwargs: dict[str, Any]) -> tuple[LlmMac]:
    """The game, leaving in the keywords those of the view."""
    kwargs.setdefault("max_episode_steps", entry(ID).max_episode_steps)
    kwargs.setdefault("name", ID)
    own = {key: kwargs.pop(key) for key in list(kwargs) if key not in VIEW_OPTIONS}
    game: Game[Any, Any] = make_game(LlmMac, **own)
    return (cast("LlmMac", game),)
