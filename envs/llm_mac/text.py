"""A cell in words: the prompts of those who move, drawn from a state.

Base station and users see here what their float observations hold, as text; it is what
``render_mode="ansi"`` prints, and what a language model that plays is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from sixgym.envs.llm_mac.codes import UCM_SR
from sixgym.envs.llm_mac.grammar import WORDS, Grammar, OnInvalid, Reading, opaque
from sixgym.envs.llm_mac.observation import decoded_last
from sixgym.envs.llm_mac.prompts import bs_prompt, ue_prompt

if TYPE_CHECKING:
    from sixgym.envs.llm_mac.params import LlmMacParams
    from sixgym.envs.llm_mac.state import MacState
    from sixgym.envs.llm_mac.system import LlmMac

UE = "ue"
NO_MOVES: Mapping[str, Tensor] = {}


def grammar_of(
    params: LlmMacParams, *, on_invalid: OnInvalid = "noop", lenient: bool = False
) -> Grammar:
    """The language that a game's parameters speak."""
    words = opaque(params.num_ucm, params.num_dcm) if params.opaque else WORDS
    return Grammar(
        params.n_max, params.pag_level, alphabet=words, on_invalid=on_invalid, lenient=lenient
    )


class Cell:
    """Prompts of one game, and what becomes of the answers.

    Args:
        system: of the game.
        on_invalid: what becomes of a text that is no utterance.
        lenient: whether users that the base station does not mention are told null.
    """

    def __init__(
        self, system: LlmMac, *, on_invalid: OnInvalid = "noop", lenient: bool = False
    ) -> None:
        self._system = system
        self.grammar = grammar_of(system.params, on_invalid=on_invalid, lenient=lenient)

    def bs_prompt(self, state: MacState, row: int) -> str:
        """What the base station is told before it moves.

        Args:
            state: of a batch.
            row: which of it.
        """
        return bs_prompt(
            self.grammar,
            o=int(state.o[row]),
            u=state.u[row].tolist(),
            m=state.m[row].tolist(),
            active=state.here[row].tolist(),
        )

    def ue_prompts(
        self, state: MacState, row: int, moves: Mapping[str, Tensor] = NO_MOVES
    ) -> dict[int, str]:
        """What each user is told, by seat.

        Args:
            state: of a batch.
            row: which of it.
            moves: the base station's, of the whole batch, where users hear it first. The users are
                not played by a fixed partner.
        """
        heard = self._system.heard(state, moves)
        allowed = self._system.allowed(state, moves)[UE]
        return {
            seat: ue_prompt(
                self.grammar,
                seat,
                q=int(state.q[row, seat]),
                a=int(state.a[row, seat]),
                u=int(state.u[row, seat]),
                m=int(heard[row, seat]),
                allowed=allowed[row, seat].tolist(),
            )
            for seat in range(self.grammar.num_rows)
            if state.here[row, seat]
        }

    def read_bs(self, text: object, state: MacState, row: int) -> Reading:
        """The base station's answer as the game takes it.

        Raises:
            GrammarError: it is no utterance, and that is an error here.
        """
        return self.grammar.read_bs(
            text,
            state.here[row].tolist(),
            decoded=decoded_last(state)[row].tolist(),
            requested=(state.u[row] == UCM_SR).tolist(),
        )

    def read_ue(self, text: object, state: MacState, row: int, seat: int, m: int) -> Reading:
        """A user's answer as the game takes it.

        Args:
            text: anything.
            state: of a batch.
            row: which of it.
            seat: whose answer.
            m: the message that the user has heard.

        Raises:
            GrammarError: it is no utterance, and that is an error here.
        """
        return self.grammar.read_ue(text, seat, q=int(state.q[row, seat]), m=m)

    def describe(self, state: MacState, row: int) -> str:
        """All prompts at the beginning of a slot: users have not heard this slot's message yet."""
        parts = [f"--- slot {int(state.slot[row])} ---"]
        if self._system.params.role != "follower":
            parts.append(self.bs_prompt(state, row))
        if self._system.params.role != "leader":
            parts += self.ue_prompts(state, row).values()
        return "\n\n".join(parts) + "\n"
