"""The client of OpenAI-compatible servers, over real HTTP to a server in a thread."""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np
import pytest
from llm_stub import Answer, Stub, said, serving
from pydantic import ValidationError

from sixgym.agents.llm.constraints import DIALECTS, find_dialect, of_grammar, of_texts
from sixgym.agents.llm.endpoint import Endpoint
from sixgym.agents.llm.languages import parse_language
from sixgym.agents.llm.replies import Request
from sixgym.agents.llm.settings import EndpointSettings, read
from sixgym.agents.llm.text_policy import EndpointLLM, TextPolicy
from sixgym.envs.core.errors import ConfigError, EndpointError, OptionsError, SixgymError

KEY = "sk-very-secret-0123456789"
HELLO = Request([{"role": "user", "content": "hello"}])
GRAMMAR = 'start: "UE1" ":" s0\ns0: "nothing" s1 | "transmit" s1\ns1: "null" s2\ns2:\n%ignore " "\n'


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(lambda body: said("hi")) as running:
        yield running


def waits(stub: Stub, **changes: Any) -> tuple[Endpoint, list[float]]:
    """An endpoint, and what it would have slept."""
    slept: list[float] = []
    return Endpoint(stub.settings(**changes), sleep=slept.append), slept


# --------------------------------------------------------------------------------------- requests


def test_a_question_is_asked_as_the_settings_say(stub: Stub) -> None:
    endpoint = Endpoint(stub.settings(temperature=0.5, seed=3, max_tokens=9, extra={"top_k": 5}))
    reply = endpoint.chat(HELLO)
    assert (reply.text, reply.finish_reason) == ("hi", "stop")
    assert stub.bodies[0] == {
        "model": "stub",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.5,
        "seed": 3,
        "max_tokens": 9,
        "top_k": 5,
    }
    assert "Authorization" not in {name.title() for name in stub.headers[0]}


def test_tools_go_out_and_tool_calls_come_back(stub: Stub) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "ask", "arguments": "{}"}}
    stub.script = [said(None, tool_calls=[call])]
    tools = [{"type": "function", "function": {"name": "ask"}}]
    reply = Endpoint(stub.settings(max_tokens=None)).chat(HELLO._replace(fields={"tools": tools}))
    assert (reply.text, reply.tool_calls) == ("", [call])
    assert stub.bodies[0]["tools"] == tools
    assert "max_tokens" not in stub.bodies[0]
    assert "seed" not in stub.bodies[0]


def test_a_batch_is_asked_side_by_side_and_answered_in_order(stub: Stub) -> None:
    def slowly(body: dict[str, Any]) -> Answer:
        time.sleep(0.05)
        return said(body["messages"][0]["content"])

    stub.default = slowly
    endpoint = Endpoint(stub.settings(max_parallel=8))
    began = time.monotonic()
    texts = [str(k) for k in range(16)]
    replies = endpoint.chat_many([Request([{"role": "user", "content": t}]) for t in texts])
    assert [r.text for r in replies] == texts
    assert time.monotonic() - began < 0.05 * 16 * 0.8
    assert endpoint.usage.calls == 16
    assert endpoint.chat_many([]) == []


def test_a_failing_batch_is_not_paid_to_its_end(stub: Stub) -> None:
    stub.default = lambda body: Answer(400, {"error": {"message": "no"}})
    endpoint = Endpoint(stub.settings(max_parallel=1))
    with pytest.raises(EndpointError, match="status 400: no"):
        endpoint.chat_many([HELLO] * 50)
    assert len(stub.bodies) < 10


# ---------------------------------------------------------------------------------------- retries


def test_a_fault_of_the_server_is_tried_again(stub: Stub) -> None:
    stub.script = [Answer(500, b"oops"), Answer(503)]
    endpoint, slept = waits(stub, backoff_s=0.5)
    assert endpoint.chat(HELLO).text == "hi"
    assert endpoint.usage.retries == 2
    assert 0.25 <= slept[0] <= 0.5
    assert 0.5 <= slept[1] <= 1.0


def test_tries_end(stub: Stub) -> None:
    stub.default = lambda body: Answer(502, b"bad gateway")
    endpoint, slept = waits(stub, retries=3)
    with pytest.raises(EndpointError, match=r"status 502: bad gateway \(tries: 4\)") as caught:
        endpoint.chat(HELLO)
    assert caught.value.status == 502
    assert len(slept) == 3
    assert (endpoint.usage.calls, endpoint.usage.failures, endpoint.usage.retries) == (0, 1, 3)


@pytest.mark.parametrize("as_date", [False, True])
def test_a_server_that_asks_to_wait_is_left_alone_as_long(stub: Stub, as_date: bool) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=8), usegmt=True)
    stub.script = [Answer(429, b"", {"Retry-After": until if as_date else "7"})]
    endpoint, slept = waits(stub)
    assert endpoint.chat(HELLO).text == "hi"
    assert slept == [pytest.approx(7.0, abs=1.1)]


def test_a_server_that_asks_to_wait_too_long_is_given_up(stub: Stub) -> None:
    stub.default = lambda body: Answer(429, {"error": "quota"}, {"Retry-After": "3600"})
    endpoint, slept = waits(stub)
    with pytest.raises(EndpointError, match="asks to wait 3600 s; allowed: max_wait_s=60"):
        endpoint.chat(HELLO)
    assert slept == []


@pytest.mark.parametrize("text", ["soon", "nan", "-3", "Mon, 99 Foo 2000"])
def test_a_strange_wait_is_none(stub: Stub, text: str) -> None:
    stub.script = [Answer(429, b"", {"Retry-After": text})]
    endpoint, slept = waits(stub)
    assert endpoint.chat(HELLO).text == "hi"
    assert slept[0] < 0.01


def test_a_slow_server_is_tried_again(stub: Stub) -> None:
    def late(body: dict[str, Any]) -> Answer:
        time.sleep(0.4)
        return said("late")

    stub.script = [late]
    endpoint, slept = waits(stub, timeout_s=0.1)
    assert endpoint.chat(HELLO).text == "hi"
    assert len(slept) == 1
    stub.script = [late]
    endpoint, _ = waits(stub, timeout_s=0.1, retries=0)
    with pytest.raises(EndpointError, match=r"no answer within timeout_s=0\.1"):
        endpoint.chat(HELLO)


def test_a_server_that_is_not_there_is_told_in_one_line() -> None:
    with serving(lambda body: said("hi")) as gone:
        endpoint, slept = waits(gone)
    with pytest.raises(EndpointError, match="no connection") as caught:
        endpoint.chat(HELLO)
    assert len(slept) == 2
    assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------------- errors

BROKEN: dict[str, tuple[Any, str]] = {
    "not JSON": (b"<html>hello</html>", "answer is not JSON: <html>"),
    "no choices": ({"usage": {}}, "answer is no completion: choices: Field required"),
    "empty choices": ({"choices": []}, "choices: List should have at least 1 item"),
    "no message": ({"choices": [{}]}, r"choices\.0\.message: Field required"),
    "a list": ([], "answer is no completion"),
    "a number as text": ({"choices": [{"message": {"content": 3}}]}, r"message\.content"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_answer_that_is_none_is_an_error(stub: Stub, name: str) -> None:
    body, message = BROKEN[name]
    stub.script = [Answer(body=body)]
    endpoint, slept = waits(stub)
    with pytest.raises(EndpointError, match=message) as caught:
        endpoint.chat(HELLO)
    assert slept == []
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, SixgymError)
    assert endpoint.usage.failures == 1


def test_refusals_say_what_to_check(stub: Stub) -> None:
    stub.script = [Answer(404, {"error": {"message": "no model stub"}}), Answer(302)]
    endpoint, _ = waits(stub)
    with pytest.raises(EndpointError, match="no model stub; check base_url, which usually ends"):
        endpoint.chat(HELLO)
    with pytest.raises(EndpointError, match="status 302"):
        endpoint.chat(HELLO)


# -------------------------------------------------------------------------------------------- key


def everything_of(error: BaseException | None) -> str:
    """All that an error and those behind it say."""
    parts = []
    while error is not None:
        parts += [repr(error), str(error), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(parts)


def test_a_key_reaches_the_server_and_nothing_else(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STUB_KEY", f" {KEY}\n")
    caplog.set_level(logging.DEBUG)
    settings = stub.settings(api_key_env="STUB_KEY")
    endpoint = Endpoint(settings, sleep=lambda s: None)
    endpoint.chat(HELLO)
    assert stub.headers[0]["Authorization"] == f"Bearer {KEY}"
    wrong = Answer(401, {"error": {"message": f"Incorrect API key provided: {KEY}."}})
    echoes = [wrong, Answer(body=f"no JSON {KEY}".encode()), *[Answer(500, KEY.encode())] * 3]
    for echo in (echoes[:1], echoes[1:2], echoes[2:]):
        stub.script = list(echo)
        with pytest.raises(EndpointError, match=r"\*\*\*") as caught:
            endpoint.chat(HELLO)
        assert KEY not in everything_of(caught.value)
    stub.script = [wrong]
    with pytest.raises(EndpointError, match="check the key in api_key_env='STUB_KEY'"):
        endpoint.chat(HELLO)
    shown = [caplog.text, repr(endpoint), repr(settings), settings.model_dump_json()]
    shown += [repr(vars(endpoint)), repr(vars(endpoint._http)), repr(endpoint.usage)]
    assert KEY not in "\n".join(shown)


def test_a_key_must_be_in_the_environment(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STUB_KEY", raising=False)
    with pytest.raises(EndpointError, match="api_key_env='STUB_KEY': not set"):
        Endpoint(stub.settings(api_key_env="STUB_KEY"))
    for bad in ("sk secret", "sk-sécret", "sk-1\nX-Other: 2"):
        monkeypatch.setenv("STUB_KEY", bad)
        with pytest.raises(EndpointError, match="characters that no key has") as caught:
            Endpoint(stub.settings(api_key_env="STUB_KEY"))
        assert bad not in everything_of(caught.value)


def test_a_key_in_the_settings_is_refused_and_not_shown() -> None:
    good = {"base_url": "http://h/v1", "model": "m"}
    for bad in (
        {"api_key": KEY},
        {"api_key_env": KEY},
        {"base_url": f"http://user:{KEY}@h/v1"},
        {"base_url": f"http://h/v1?key={KEY}"},
        {"extra": KEY},
    ):
        with pytest.raises(ConfigError) as caught:
            read(EndpointSettings, {**good, **bad}, "file.yaml")
        assert KEY not in str(caught.value)
        with pytest.raises(ValidationError) as raw:
            EndpointSettings.model_validate({**good, **bad})
        assert KEY not in str(raw.value)


def test_mistakes_in_settings_name_field_value_and_what_is_allowed() -> None:
    good = {"base_url": "http://h/v1/", "model": "m"}
    assert read(EndpointSettings, good, "f").base_url == "http://h/v1"
    with pytest.raises(ConfigError, match=r"^f: model: missing; retries=-1: allowed: greater than"):
        read(EndpointSettings, {"base_url": "http://h/v1", "retries": -1}, "f")
    with pytest.raises(ConfigError, match="constrained='maybe': allowed: 'auto', 'grammar'"):
        read(EndpointSettings, {**good, "constrained": "maybe"}, "f")
    for url in ("h/v1", "ftp://h/v1", "http://", "http://h:port/v1", "http://[h/v1"):
        with pytest.raises(ConfigError, match=r"base_url: allowed: http://HOST/v1"):
            read(EndpointSettings, {**good, "base_url": url}, "f")
    with pytest.raises(ConfigError, match="f: content: allowed"):
        read(EndpointSettings, [], "f")


# ------------------------------------------------------------------------------------------ usage


def test_usage_adds_up(stub: Stub) -> None:
    uncounted = said("hi")
    stub.script = [
        Answer(500),
        said("a"),
        uncounted._replace(body={**uncounted.body, "usage": None}),
    ]
    endpoint, _ = waits(stub, prompt_price=0.25, completion_price=2.0)
    for _ in range(3):
        endpoint.chat(HELLO)
    usage = endpoint.usage
    assert (usage.calls, usage.failures, usage.retries, usage.uncounted) == (3, 0, 1, 1)
    assert (usage.prompt_tokens, usage.completion_tokens) == (14, 6)
    assert usage.cost == pytest.approx(14 * 0.25 + 6 * 2.0)
    assert usage.seconds > 0


# ------------------------------------------------------------------------------------ constraints


def test_a_language_is_counted_listed_and_written_for_servers() -> None:
    language = parse_language(GRAMMAR)
    assert language.count() == 2
    assert language.texts(2) == ("UE1: nothing null", "UE1: transmit null")
    assert language.texts(1) is None
    assert language.gbnf().splitlines() == [
        'root ::= "UE1:" s0',
        's0 ::= " nothing" s1 | " transmit" s1',
        's1 ::= " null"',
    ]
    assert parse_language('start: "BS" ":" s0\ns0:\n').gbnf() == 'root ::= "BS:"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "allowed: rule: alternatives"),
        ('start: "a" s0', "no rule 's0'"),
        ('start: "a" s0\ns0: "b" s0 | "c"', "leads back to itself"),
        ('start: s0 "a"\ns0: "b"', "allowed: tokens, then one rule"),
        ("start: /regular/", "allowed: tokens, then one rule"),
        ("", "no rule 'start'"),
    ],
)
def test_other_grammars_are_refused(text: str, message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        parse_language(text)
    with pytest.raises(OptionsError, match="place=2: allowed: 0 to 1"):
        parse_language(GRAMMAR).nth(2)


def obedient(*names: str, strict: bool) -> Any:
    """A server that understands some ways of asking; others it refuses or ignores."""
    known = [d for d in DIALECTS if d.name in names]

    def answer(body: dict[str, Any]) -> Answer:
        asked = {
            k: v
            for k, v in body.items()
            if k not in ("model", "messages", "temperature", "max_tokens")
        }
        for dialect in known:
            if list(asked) == list(dialect.fields(of_texts(["x"])) or {}):
                shown = json.dumps(asked)
                if dialect.name == "response_format":
                    schema = asked["response_format"]["json_schema"]["schema"]
                    return said(json.dumps({"answer": schema["properties"]["answer"]["enum"][0]}))
                if "grammar" in dialect.name and "root ::=" in shown:
                    text = next(iter(asked.values()))
                    gbnf = text if isinstance(text, str) else text.get("grammar", "")
                    return said(" plum 7" if "plum" in gbnf else "UE1: transmit null\n")
                if "choice" in dialect.name and "choice" in shown:
                    value = next(iter(asked.values()))
                    return said(
                        (value if isinstance(value, list) else value.get("choice", ["?"]))[-1]
                    )
        if asked and strict:
            return Answer(400, {"error": {"message": f"unknown field {next(iter(asked))}"}})
        return said("Hello there!")

    return answer


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", [d.name for d in DIALECTS])
def test_the_way_that_a_server_understands_is_found(stub: Stub, name: str, strict: bool) -> None:
    stub.default = obedient(name, strict=strict)
    found = find_dialect(Endpoint(stub.settings(constrained="auto")))
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("strict", [True, False])
def test_a_server_that_understands_nothing_is_asked_without(stub: Stub, strict: bool) -> None:
    stub.default = obedient(strict=strict)
    endpoint = Endpoint(stub.settings(constrained="auto"))
    model = EndpointLLM(endpoint)
    assert model.generate(["Speak.", "Speak."], [GRAMMAR, GRAMMAR]) == ["Hello there!"] * 2
    assert (model.dialect, model.way) == (None, "none")
    assert model.unconstrained == 1  # equal questions of a greedy model are asked once
    asked = len(stub.bodies)
    model.generate(["Again."], [GRAMMAR])
    assert len(stub.bodies) == asked + 1  # found out once


def test_a_free_question_finds_nothing_out(stub: Stub) -> None:
    model = EndpointLLM(Endpoint(stub.settings(constrained="auto")))
    assert model.generate(["Speak."], [""]) == ["hi"]
    assert len(stub.bodies) == 1
    assert model.way == "not needed yet"


def test_what_the_settings_insist_on_must_be_understood(stub: Stub) -> None:
    stub.default = obedient("response_format", strict=True)
    with pytest.raises(EndpointError, match=r"constrained='choice': .* none of structured_outputs"):
        find_dialect(Endpoint(stub.settings(constrained="choice")))
    found = find_dialect(Endpoint(stub.settings(constrained="json_schema")))
    assert found is not None
    before = len(stub.bodies)
    assert find_dialect(Endpoint(stub.settings(constrained="none"))) is None
    assert len(stub.bodies) == before


def test_a_wrong_key_is_no_refused_constraint(stub: Stub) -> None:
    stub.default = lambda body: Answer(401, {"error": "who are you?"})
    with pytest.raises(EndpointError, match="who are you"):
        find_dialect(Endpoint(stub.settings(constrained="auto")))


def test_a_language_too_long_for_a_list_is_asked_for_without(stub: Stub) -> None:
    ways = " | ".join(f'"w{k}" s1' for k in range(300))
    long = f'start: "BS" ":" s0\ns0: {ways}\ns1:\n'
    assert of_grammar(long).texts is None
    stub.default = obedient("guided_choice", strict=True)
    model = EndpointLLM(Endpoint(stub.settings(constrained="choice")))
    assert model.generate(["Speak."], [long]) == ["Hello there!"]
    assert model.unconstrained == 1


def test_answers_in_json_are_unpacked(stub: Stub) -> None:
    stub.default = obedient("response_format", strict=True)
    model = EndpointLLM(Endpoint(stub.settings(constrained="json_schema")))
    assert model.generate(["Speak."], [GRAMMAR]) == ["UE1: nothing null"]
    stub.script = [said(text) for text in ("[]", "{", '{"answer": 3}', "null")]
    assert model.generate(list("abcd"), [GRAMMAR] * 4) == [""] * 4


# ---------------------------------------------------------------------------------------- scoring


def test_a_choice_scores_what_the_model_answers(stub: Stub) -> None:
    model = EndpointLLM(Endpoint(stub.settings()))
    assert isinstance(model, TextPolicy)
    stub.script = [said(" b\n"), said("neither")]
    first, second = model.score(["p"], [["a", "b"]]) + model.score(["q"], [["a", "b"]])
    np.testing.assert_array_equal(first, [-np.inf, 0.0])
    np.testing.assert_array_equal(second, [-np.inf, -np.inf])


def test_log_probabilities_score_letters(stub: Stub) -> None:
    model = EndpointLLM(Endpoint(stub.settings()), scoring="logprobs")
    top = [{"token": t, "logprob": p} for t, p in (("B", -0.2), (" A", -1.5), ("a", -2.0))]
    stub.script = [said("B", logprobs={"content": [{"token": "B", "top_logprobs": top}]})]
    (score,) = model.score(["Which?"], [["one", "two", "three"]])
    np.testing.assert_array_equal(score, [-1.5, -0.2, -np.inf])
    assert stub.bodies[0]["top_logprobs"] == 20
    assert "B) two\nC) three" in stub.bodies[0]["messages"][0]["content"]


@pytest.mark.parametrize("logprobs", [None, {"content": []}, {"content": [{"top_logprobs": [{}]}]}])
def test_without_log_probabilities_the_letter_counts(stub: Stub, logprobs: Any) -> None:
    model = EndpointLLM(Endpoint(stub.settings()), scoring="logprobs")
    stub.script = [said("B", logprobs=logprobs)]
    np.testing.assert_array_equal(model.score(["Which?"], [["one", "two"]])[0], [-np.inf, 0.0])


def test_scoring_has_its_bounds(stub: Stub) -> None:
    with pytest.raises(OptionsError, match="scoring='guess': allowed: 'choice', 'logprobs'"):
        EndpointLLM(Endpoint(stub.settings()), scoring="guess")  # type: ignore[arg-type]
    model = EndpointLLM(Endpoint(stub.settings()), scoring="logprobs")
    with pytest.raises(OptionsError, match="candidates: 21; allowed by log-probs: 20"):
        model.score(["Which?"], [[str(k) for k in range(21)]])


def test_a_greedy_model_is_asked_once(stub: Stub) -> None:
    model = EndpointLLM(Endpoint(stub.settings()))
    stub.default = lambda body: said(body["messages"][0]["content"])
    assert model.generate(["p", "q", "p"], [""] * 3) == ["p", "q", "p"]
    assert model.generate(["q"], [""]) == ["q"]
    assert len(stub.bodies) == 2


def test_a_model_with_temperature_is_asked_every_time(stub: Stub) -> None:
    model = EndpointLLM(Endpoint(stub.settings(temperature=1.0)))
    model.generate(["p", "p"], ["", ""])
    assert len(stub.bodies) == 2
