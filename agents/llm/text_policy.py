"""Models that play by text: one behind an endpoint, and two without one for tests and floors."""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sixgym.agents.llm.languages import parse_language
from sixgym.agents.llm.replies import Reply, Request
from sixgym.envs.core.errors import OptionsError

if TYPE_CHECKING:
    from sixgym.agents.llm.constraints import Constraint, Dialect
    from sixgym.agents.llm.endpoint import Endpoint

Floats = NDArray[np.float64]
Scoring = Literal["choice", "logprobs"]

LETTERS = string.ascii_uppercase[:20]
"""By which candidates are named where they are scored; no server tells more log-probabilities."""
REMEMBERED = 50_000
"""Questions whose answers a greedy model is not asked for again."""


@runtime_checkable
class TextPolicy(Protocol):
    """A language model, as the adapters see it."""

    def score(self, prompts: list[str], candidates: list[list[str]]) -> list[Floats]:
        """How much the model likes each candidate as its answer.

        Args:
            prompts: one a question.
            candidates: of each prompt, the texts to choose from.

        Returns:
            Of each prompt (candidates,) scores: unnormalised log-probabilities, -inf for what it
            would never say; all -inf where its answer is none of them.
        """
        ...  # pragma: no cover

    def generate(self, prompts: list[str], grammars: list[str]) -> list[str]:
        """What the model answers.

        Args:
            prompts: one a question.
            grammars: of each prompt, the language to keep to, as a right-linear lark grammar; an
                empty one leaves it free.

        Returns:
            A text for each prompt. It may break the grammar: whoever asks checks it.
        """
        ...  # pragma: no cover


class _Question(NamedTuple):
    """What is asked, as a key of what is remembered."""

    prompt: str
    constraint: Constraint | None
    asks_logprobs: bool = False


class EndpointLLM:
    """A model behind an endpoint.

    ``generate`` asks for an answer that keeps to the grammar, if the server understands a way of
    being told so (`sixgym.agents.llm.constraints`); a language too long for a way that lists all
    texts is asked for without. ``score`` does not do what the authors of LLM4MAC do, who sum the
    logits of every candidate's tokens: no chat API gives those. With ``"choice"`` the model answers
    with one candidate, which scores 0, all others -inf. With ``"logprobs"`` candidates are named by
    letters, which the prompt lists, and score the log-probability of their letter as the answer's
    first token, -inf if it is not among the 20 most likely; a server that gives no
    log-probabilities is read as with ``"choice"``.

    With temperature 0 a question is asked once: equal questions get the answer that is remembered.

    Args:
        endpoint: where the model is.
        scoring: how candidates are scored.

    Raises:
        OptionsError: an unknown way of scoring.
    """

    def __init__(self, endpoint: Endpoint, *, scoring: Scoring = "choice") -> None:
        if scoring not in ("choice", "logprobs"):
            raise OptionsError(f"scoring={scoring!r}: allowed: 'choice', 'logprobs'")
        self.endpoint = endpoint
        self.scoring = scoring
        self.unconstrained = 0
        """Requests that should have kept to a language and could not be told so."""
        self._dialect: Dialect | None = None
        self._is_probed = False
        self._known: dict[_Question, Reply] = {}

    @property
    def dialect(self) -> Dialect | None:
        """How the server is told to keep to a language, found out at first use; None: not at all.

        Raises:
            EndpointError: see `sixgym.agents.llm.constraints.find_dialect`.
        """
        if not self._is_probed:
            from sixgym.agents.llm.constraints import find_dialect

            self._dialect = find_dialect(self.endpoint)
            self._is_probed = True
        return self._dialect

    @property
    def way(self) -> str:
        """The name of `dialect`, without finding it out."""
        if not self._is_probed:
            return "not needed yet"
        return self._dialect.name if self._dialect else "none"

    def generate(self, prompts: list[str], grammars: list[str]) -> list[str]:
        """Answers of the model, see the class.

        Raises:
            EndpointError: the server fails, see `sixgym.agents.llm.endpoint.Endpoint.chat`.
        """
        from sixgym.agents.llm.constraints import of_grammar

        pairs = zip(prompts, grammars, strict=True)
        questions = [_Question(p, of_grammar(g) if g else None) for p, g in pairs]
        replies = self._ask(questions)
        return [self._said(r, q) for r, q in zip(replies, questions, strict=True)]

    def score(self, prompts: list[str], candidates: list[list[str]]) -> list[Floats]:
        """Scores of candidates, see the class.

        Raises:
            EndpointError: the server fails.
            OptionsError: more candidates than letters, where they are scored by letters.
        """
        from sixgym.agents.llm.constraints import of_texts

        by_letters = self.scoring == "logprobs"
        texts = [_letters(c) for c in candidates] if by_letters else candidates
        if by_letters:
            prompts = [_listing(p, c) for p, c in zip(prompts, candidates, strict=True)]
        pairs = zip(prompts, texts, strict=True)
        questions = [_Question(p, of_texts(t), by_letters) for p, t in pairs]
        scores = []
        for question, reply, allowed in zip(questions, self._ask(questions), texts, strict=True):
            said = self._said(reply, question)
            likely = _log_probabilities(reply, allowed) if by_letters else None
            chosen = [0.0 if text == said else -np.inf for text in allowed]
            scores.append(np.array(chosen) if likely is None else likely)
        return scores

    def _ask(self, questions: list[_Question]) -> list[Reply]:
        if self.endpoint.settings.temperature > 0.0:
            return self._send(questions)
        if len(self._known) > REMEMBERED:
            self._known.clear()
        new = [q for q in dict.fromkeys(questions) if q not in self._known]
        self._known.update(zip(new, self._send(new), strict=True))
        return [self._known[q] for q in questions]

    def _send(self, questions: list[_Question]) -> list[Reply]:
        requests = []
        for question in questions:
            fields = dict(self._fields(question.constraint))
            # Inside a JSON object the first token is a brace.
            if question.asks_logprobs and not (self.dialect and self.dialect.kind == "json_schema"):
                fields |= {"logprobs": True, "top_logprobs": len(LETTERS)}
            requests.append(Request(({"role": "user", "content": question.prompt},), fields))
        return self.endpoint.chat_many(requests)

    def _fields(self, constraint: Constraint | None) -> Any:
        if constraint is None:
            return {}
        fields = self.dialect.fields(constraint) if self.dialect else None
        self.unconstrained += fields is None
        return fields or {}

    def _said(self, reply: Reply, question: _Question) -> str:
        constraint = question.constraint
        if constraint is None or self.dialect is None or self.dialect.fields(constraint) is None:
            return reply.text.strip()
        return self.dialect.read(reply.text)


def _letters(candidates: Sequence[str]) -> list[str]:
    if len(candidates) > len(LETTERS):
        raise OptionsError(f"candidates: {len(candidates)}; allowed by log-probs: {len(LETTERS)}")
    return list(LETTERS[: len(candidates)])


def _listing(prompt: str, candidates: Sequence[str]) -> str:
    """A prompt that asks for a letter."""
    lines = [f"{letter}) {text}" for letter, text in zip(LETTERS, candidates, strict=False)]
    return "\n".join([prompt, "The answers have letters:", *lines, "Answer with the letter alone."])


def _log_probabilities(reply: Reply, letters: Sequence[str]) -> Floats | None:
    """Of each letter as the first token; None where the reply tells of none."""
    try:
        likely = reply.logprobs["content"][0]["top_logprobs"]
        told = {str(one["token"]).strip(): float(one["logprob"]) for one in reversed(likely)}
    except (LookupError, TypeError, ValueError):
        return None
    scores = np.array([told.get(letter, -np.inf) for letter in letters])
    return scores if np.isfinite(scores).any() else None


class MockLLM:
    """A model without a network: the same question always gets the same answer.

    Args:
        rule: the answer to a prompt, such as `sixgym.agents.llm.mac_rules.contention_free`; None
            picks among what is allowed by a hash of the prompt, and says nothing where all is.
        seed: of the hash.
    """

    def __init__(self, rule: Callable[[str], str] | None = None, *, seed: int = 0) -> None:
        self._rule, self._seed = rule, seed

    def generate(self, prompts: list[str], grammars: list[str]) -> list[str]:
        """The rule's answers; without a rule some text of each grammar."""
        if self._rule is not None:
            return [self._rule(prompt) for prompt in prompts]
        said = []
        for prompt, grammar in zip(prompts, grammars, strict=True):
            language = parse_language(grammar) if grammar else None
            said.append(language.nth(self._pick(prompt, language.count())) if language else "")
        return said

    def score(self, prompts: list[str], candidates: list[list[str]]) -> list[Floats]:
        """0 for the candidate that the rule (or the hash) answers with, -inf for the others."""
        scores = []
        for prompt, texts in zip(prompts, candidates, strict=True):
            said = self._rule(prompt) if self._rule else texts[self._pick(prompt, len(texts))]
            scores.append(np.array([0.0 if text == said else -np.inf for text in texts]))
        return scores

    def _pick(self, prompt: str, count: int) -> int:
        return number_of(f"{self._seed} {prompt}") % count


def number_of(text: str) -> int:
    """A hash of a text, the same on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


class GarbageLLM:
    """A model that answers with anything: random bytes, near misses, other speakers' words.

    Args:
        seed: of the garbage.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def generate(self, prompts: list[str], grammars: list[str]) -> list[str]:
        """Garbage, whatever the grammars."""
        return [self._random.choice(list(self._texts(prompt))) for prompt in prompts]

    def score(self, prompts: list[str], candidates: list[list[str]]) -> list[Floats]:
        """Scores that are no numbers, too many, too few or infinite, and some that are good."""
        return [self._random.choice(list(self._scores(len(texts)))) for texts in candidates]

    def _texts(self, prompt: str) -> Iterable[str]:
        draw = self._random
        row = draw.randrange(12)
        yield draw.randbytes(draw.randrange(80)).decode("latin1")
        yield "".join(chr(draw.randrange(0x110000)) for _ in range(20))  # lone surrogates too
        yield prompt
        yield f"UE{row}: transmit transmit"
        yield f"UE{row}: transmit null\n"
        yield f"UE{row}: delete null"
        yield f"UE{row}: transmit schedule_request"
        yield f"UE0{row}: nothing null"
        yield "UE\N{ARABIC-INDIC DIGIT THREE}: transmit null"
        yield f"BS: UE{row} schedule_grant, UE{row} schedule_grant"
        yield "BS: " + ", ".join(f"UE{k} schedule_grant" for k in range(row))
        yield "BS: UE1 schedule_grant, UE0 schedule_grant"
        yield '{"answer": "UE0: transmit null"}'
        yield "\x00; rm -rf ~ $(true) {0.__class__} %s"
        yield "BS: UE0 " + 100_000 * "null "

    def _scores(self, count: int) -> Iterable[Floats]:
        yield np.full(count, np.nan)
        yield np.full(count, -np.inf)
        yield np.full(count, np.inf)
        yield np.zeros(count + 1)
        yield np.zeros(0)
        yield np.zeros((count, 2))
        yield np.array(["a"] * count, dtype=object)
        yield np.array([self._random.gauss(0.0, 1.0) for _ in range(count)])
