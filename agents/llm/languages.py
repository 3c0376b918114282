"""Finite languages of utterances: counted, listed, and written for other decoders.

A language comes as the right-linear lark grammar that `sixgym.envs.llm_mac.tokens.Automaton` prints
for one speaker in one slot. Servers want other notations: GBNF (llama.cpp; vLLM reads it as EBNF),
or the list of all texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from sixgym.envs.core.errors import OptionsError

START = "start"
GLUED = (":", ",")
"""Tokens that stand without a space before them in canonical text."""

_IGNORE = '%ignore " "'
_SYMBOL = re.compile(r'\s*(?:"(?P<token>[^"\\]+)"|(?P<rule>[a-z]\w*)|(?P<bar>\|))')


class Way(NamedTuple):
    """One alternative of a rule."""

    tokens: tuple[str, ...]
    """What is said."""
    after: str
    """The rule that goes on; empty at the end."""


class Language:
    """A finite right-linear grammar.

    Args:
        rules: alternatives by rule; ``start`` is where texts begin, and no rule leads there.

    Raises:
        OptionsError: a rule is missing, or leads back to itself.
    """

    def __init__(self, rules: Mapping[str, tuple[Way, ...]]) -> None:
        self.rules = dict(rules)
        self._ways: dict[str, int] = {}
        self._count_from(START, frozenset())

    def count(self) -> int:
        """How many texts there are."""
        return self._ways[START]

    def nth(self, place: int) -> str:
        """One of the texts, in the order of the alternatives.

        Args:
            place: 0 to ``count() - 1``.

        Raises:
            OptionsError: no such place.
        """
        if not 0 <= place < self.count():
            raise OptionsError(f"place={place}: allowed: 0 to {self.count() - 1}")
        said: list[str] = []
        rule = START
        while rule:
            for way in self.rules[rule]:
                ways = self._ways[way.after] if way.after else 1
                if place < ways:
                    break
                place -= ways
            said += way.tokens
            rule = way.after
        return spaced(said)

    def texts(self, most: int) -> tuple[str, ...] | None:
        """All texts, canonical; None where there are more than ``most``."""
        if self.count() > most:
            return None
        return tuple(self.nth(place) for place in range(self.count()))

    def gbnf(self) -> str:
        """The language in GBNF, canonical texts only."""
        ends = {rule for rule, ways in self.rules.items() if ways == (Way((), ""),)}
        lines = []
        for rule, ways in self.rules.items():
            if rule in ends and rule != START:  # not all decoders like empty rules
                continue
            said = [self._written(way, ends, is_first=rule == START) for way in ways]
            lines.append(f"{'root' if rule == START else rule} ::= {' | '.join(said)}")
        return "\n".join([*lines, ""])

    @staticmethod
    def _written(way: Way, ends: set[str], *, is_first: bool) -> str:
        """One alternative in GBNF."""
        text = spaced(way.tokens, is_first=is_first)
        after = [way.after] if way.after and way.after not in ends else []
        return " ".join([*([json.dumps(text)] if text or not after else []), *after])

    def _count_from(self, rule: str, above: frozenset[str]) -> int:
        if rule in above:
            raise OptionsError(f"grammar: rule {rule!r} leads back to itself; allowed: finite ones")
        if rule not in self.rules:
            raise OptionsError(f"grammar: no rule {rule!r}; allowed: {', '.join(self.rules)}")
        if rule not in self._ways:
            inside = above | {rule}
            self._ways[rule] = sum(
                self._count_from(way.after, inside) if way.after else 1 for way in self.rules[rule]
            )
        return self._ways[rule]


@lru_cache(maxsize=4096)
def parse_language(text: str) -> Language:
    """The language of a right-linear lark grammar.

    Raises:
        OptionsError: the text is something else.
    """
    rules = {}
    for line in text.splitlines():
        if not line.strip() or line == _IGNORE:
            continue
        name, colon, body = line.partition(":")
        if not colon:
            raise OptionsError(f"grammar: line {line[:60]!r}; allowed: rule: alternatives")
        rules[name] = tuple(_ways(body, line))
    return Language(rules)


def spaced(tokens: Iterable[str], *, is_first: bool = True) -> str:
    """Tokens as canonical text.

    Args:
        tokens: in order.
        is_first: whether a text begins with them; if not, they go on from other tokens.
    """
    text = "".join(token if token in GLUED else f" {token}" for token in tokens)
    return text[1:] if is_first and text.startswith(" ") else text


def _ways(body: str, line: str) -> list[Way]:
    """The alternatives on the right of a rule."""
    ways: list[Way] = []
    tokens: list[str] = []
    after, place = "", 0
    body = body.rstrip()
    while place < len(body):
        found = _SYMBOL.match(body, place)
        if found is None or (after and not found["bar"]):
            raise OptionsError(f"grammar: line {line[:60]!r}; allowed: tokens, then one rule")
        if found["bar"]:
            ways.append(Way(tuple(tokens), after))
            tokens, after = [], ""
        elif found["rule"]:
            after = found["rule"]
        else:
            tokens.append(found["token"])
        place = found.end()
    return [*ways, Way(tuple(tokens), after)]
