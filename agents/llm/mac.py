"""Language models in LLM-MAC: prompts from the cell, moves from what they say.

In every slot the base station is asked first, then every user with the message that it has just
heard. Whatever comes back is read by the package's own grammar: what is no utterance is a violation
and becomes silence, what the level forbids loses the forbidden part. Nothing else reaches the game.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sixgym.agents.llm.mac_base import Follower, Leader, MacAdapter, Tally
from sixgym.agents.llm.mac_rules import ALONE
from sixgym.envs.llm_mac.codes import DCM_NULL
from sixgym.envs.llm_mac.grammar import Reading
from sixgym.envs.llm_mac.levels import Level
from sixgym.envs.llm_mac.prompts import ue_candidates
from sixgym.envs.llm_mac.tokens import Automaton, bs_automaton, ue_automaton

__all__ = ["GrammarAdapter", "MacAdapter", "ScoringAdapter", "Tally", "choose"]


class GrammarAdapter(MacAdapter):
    """Whole utterances: each speaker's prompt, with the language of this slot as a lark grammar.

    The base station's language names the seats that are taken and no others; both languages hold
    what the level allows. With ``pag_level=-1`` models are left free. Whether answers are sampled
    is the model's affair (its temperature): ``deterministic`` changes nothing.
    """

    def lead(self, leaders: list[Leader], draws: Sequence[NDArray[Any]] | None) -> list[Reading]:
        """One utterance for each base station."""
        grammars = [
            self._text(bs_automaton(self.leader_grammar, x.allowed, x.active), "BS")
            for x in leaders
        ]
        said = self._generated([x.prompt for x in leaders], grammars)
        return self.counted([self.heard_bs(t, x) for t, x in zip(said, leaders, strict=True)])

    def follow(self, followers: list[Follower], draws: Sequence[float] | None) -> list[Reading]:
        """One utterance for each user."""
        grammars = [
            self._text(ue_automaton(self.user_grammar, x.allowed), f"UE{x.seat}") for x in followers
        ]
        said = self._generated([x.prompt for x in followers], grammars)
        return self.counted([self.heard_ue(t, x) for t, x in zip(said, followers, strict=True)])

    def _text(self, automaton: Automaton, speaker: str) -> str:
        free = self.user_grammar.level == Level.NONE
        return "" if free else automaton.lark_text((speaker, ":"))

    def _generated(self, prompts: list[str], grammars: list[str]) -> list[Any]:
        return self.one_each(self.model.generate(prompts, grammars), prompts) if prompts else []


class ScoringAdapter(MacAdapter):
    """Scored candidates, the form of LLM4MAC's authors: 2n prompts a slot for n users.

    A user's candidates are its utterances (6 where the level allows all), the base station's are
    its words to one user (3), asked for each user by itself. Scores that are no numbers, of the
    wrong number, or nowhere finite are a violation, and silence of that speaker to or about that
    user. Since users are decided one by one, a base station may grant two: from level 2 on the
    second is invalid. The best candidate is taken, the first of equals; with
    ``deterministic=False`` one is drawn by the softmax of the scores.
    """

    def lead(self, leaders: list[Leader], draws: Sequence[NDArray[Any]] | None) -> list[Reading]:
        """One word for each user of each base station."""
        words = self.leader_grammar.alphabet.dcm
        asked = [(k, r) for k, x in enumerate(leaders) for r, is_in in enumerate(x.active) if is_in]
        codes = [[c for c, may in enumerate(leaders[k].allowed[r]) if may] for k, r in asked]
        candidates = [[words[c] for c in some] for some in codes]
        prompts = [
            f"{leaders[k].prompt}\n{ALONE.format(row=r)}{' | '.join(texts)}"
            for (k, r), texts in zip(asked, candidates, strict=True)
        ]
        some = None if draws is None else [float(draws[k][r]) for k, r in asked]
        chosen = self._chosen(prompts, candidates, some)
        message = [[DCM_NULL] * len(x.active) for x in leaders]
        for (k, r), place, known in zip(asked, chosen, codes, strict=True):
            message[k][r] = DCM_NULL if place is None else known[place]
        readings = [
            self.heard_bs(self.leader_grammar.print_bs(m, x.active), x)
            for m, x in zip(message, leaders, strict=True)
        ]
        self.count(invalid=sum(reading.invalid for reading in readings))
        return readings

    def follow(self, followers: list[Follower], draws: Sequence[float] | None) -> list[Reading]:
        """One utterance for each user."""
        candidates = [ue_candidates(self.user_grammar, x.seat, x.allowed) for x in followers]
        chosen = self._chosen([x.prompt for x in followers], candidates, draws)
        silent = Reading((0,), True, 0, "no score")
        return [
            silent if place is None else self.heard_ue(texts[place], x)
            for x, texts, place in zip(followers, candidates, chosen, strict=True)
        ]

    def _chosen(
        self, prompts: list[str], candidates: list[list[str]], draws: Sequence[float] | None
    ) -> list[int | None]:
        """Of each prompt the place of the chosen candidate, None without one."""
        scores = self.one_each(self.model.score(prompts, candidates), prompts) if prompts else []
        numbers = [None] * len(prompts) if draws is None else draws
        chosen = [
            choose(score, len(texts), number)
            for score, texts, number in zip(scores, candidates, numbers, strict=True)
        ]
        self.count(utterances=len(chosen), violations=sum(place is None for place in chosen))
        return chosen


def choose(scores: object, count: int, uniform: float | None) -> int | None:
    """The place of a candidate by its score.

    Args:
        scores: (count,) unnormalised log-probabilities, or anything at all.
        count: how many candidates there are.
        uniform: in [0, 1), by which one is drawn from the softmax; None takes the best.

    Returns:
        None where the scores are none.
    """
    try:
        values = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    is_scored = values.shape == (count,) and not np.isnan(values).any()
    if not is_scored or not np.isfinite(values.max(initial=-np.inf)):
        return None
    if uniform is None:
        return int(values.argmax())
    mass = np.exp(values - values.max()).cumsum()
    return min(int(np.searchsorted(mass / mass[-1], uniform, side="right")), count - 1)
