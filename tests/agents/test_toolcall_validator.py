"""The strict validator: what it takes, what it refuses and why, and the rule reward."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sixgym.agents.toolcall.language import TOOLS, Call, decode, emit, encode_answer, join
from sixgym.agents.toolcall.validator import (
    call_schema,
    parameters_schema,
    rule_reward,
    validate,
    validate_function_call,
)

EVERY_CALL = [
    Call(tool.name, values)
    for tool in TOOLS.values()
    for values in itertools.product(*(a.values for a in tool.args))
]
"""All 118 valid calls: 27 + 9 + 27 + 3 + 6 + 18 + 27 + 1."""


def test_every_valid_call_prints_to_tokens_and_back():
    assert len(EVERY_CALL) == len(set(EVERY_CALL)) == 118
    for call in EVERY_CALL:
        assert validate(decode(encode_answer(call))) == (call, "")
        assert validate(call.text).call == call
        assert json.loads(join(emit(call))) == {"name": call.tool, "args": call.args}
        assert validate_function_call(call.tool, json.dumps(call.args)).call == call


def test_deleting_any_one_token_makes_an_answer_invalid():
    for call in EVERY_CALL:
        tokens = emit(call)[:-1]  # <eos> aside
        for k in range(len(tokens)):
            assert not validate(join(tokens[:k] + tokens[k + 1 :])).is_valid


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON: Expecting value"),
        ("{", "not JSON: Expecting property name"),
        ('{"name":"finish","args":{}} ok', "not JSON: Extra data"),
        ("[" * 4000, "not JSON"),
        ("9" * 4097, "4097 characters; allowed: 4096"),
        ('{"name":"finish","args":{},"args":{}}', "args: twice"),
        ('{"name":"broadcast_model","args":{"version":NaN}}', "not JSON: NaN"),
        ("[]", "answer: a list; allowed: an object"),
        ('{"name":"finish"}', "answer: args missing"),
        ('{"name":"finish","args":{},"why":1}', "answer: why unknown"),
        ('{"name":"start","args":{}}', "name='start': allowed: select_clients"),
        ('{"name":["finish"],"args":{}}', "name=['finish']: allowed"),
        ('{"name":"finish","args":[]}', "args: a list; allowed: an object"),
        ('{"name":"finish","args":{"num":1}}', "args: num unknown"),
        ('{"name":"evaluate","args":{"split":"val"}}', "args: rounds missing"),
        ('{"name":"broadcast_model","args":{"version":0}}', "args.version=0: allowed: 1 to 9"),
        ('{"name":"broadcast_model","args":{"version":10}}', "args.version=10: allowed: 1 to 9"),
        ('{"name":"broadcast_model","args":{"version":4.0}}', "args.version=4.0: allowed: 1 to 9"),
        ('{"name":"broadcast_model","args":{"version":true}}', "args.version=True: allowed"),
        ('{"name":"broadcast_model","args":{"version":"4"}}', "args.version='4': allowed"),
        ('{"name":"compress_update","args":{"bits":"b2"}}', "bits='b2': allowed: b4, b8, b16"),
        ('{"name":"compress_update","args":{"bits":null}}', "args.bits=None: allowed: b4"),
        ('{"name":"compress_update","args":{"bits":["b4"]}}', "args.bits=['b4']: allowed"),
    ],
)
def test_refusals_say_why(text, reason):
    verdict = validate(text)
    assert not verdict.is_valid
    assert reason in verdict.reason
    assert "\n" not in verdict.reason


def test_space_and_order_of_keys_do_not_matter():
    text = ' { "args" : {"rounds": 4, "split": "val"},\n "name": "evaluate" } '
    assert validate(text).call == Call("evaluate", ("val", 4))


def test_function_calls_are_held_to_the_same():
    assert validate_function_call("finish", "").reason.startswith("not JSON")
    assert validate_function_call("boom", "{}").reason.startswith("name='boom'")
    assert not validate_function_call("finish", '{"num":1}').is_valid


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        (None, Call("finish", ()), -0.5),
        (Call("finish", ()), Call("broadcast_model", (1,)), 0.1),
        (Call("broadcast_model", (2,)), Call("broadcast_model", (1,)), 0.3),
        (Call("evaluate", ("val", 3)), Call("evaluate", ("val", 4)), 0.45),
        (Call("evaluate", ("val", 4)), Call("evaluate", ("val", 4)), 1.0),
        (Call("finish", ()), Call("finish", ()), 1.0),
    ],
)
def test_rule_reward_has_the_dossiers_values(answer, reference, expected):
    assert rule_reward(answer, reference) == pytest.approx(expected, abs=1e-12)


TYPES = {"object": dict, "integer": int, "string": str}


def satisfies(schema: dict[str, Any], value: Any) -> bool:
    """JSON Schema's meaning of the few keywords that we use, written from the standard."""
    if "anyOf" in schema:
        return any(satisfies(part, value) for part in schema["anyOf"])
    if "const" in schema:
        return value == schema["const"]
    if not isinstance(value, TYPES[schema["type"]]) or isinstance(value, bool):
        return False
    if not isinstance(value, dict):
        return value in schema.get("enum", [value]) and schema.get(
            "minimum", value
        ) <= value <= schema.get("maximum", value)
    properties = schema["properties"]
    assert schema["additionalProperties"] is False
    return set(schema["required"]) <= set(value) <= set(properties) and all(
        satisfies(properties[key], v) for key, v in value.items()
    )


PIECES: list[Any] = [0, 1, 9, 10, 4, True, None, "b4", "val", "low", "random", "uniform", {}, []]
KEYS = ["name", "args", *{a.name for t in TOOLS.values() for a in t.args}, "other"]


@st.composite
def near_calls(draw: st.DrawFn) -> Any:
    """A valid call with up to two of its keys or values replaced, added or removed."""
    call = draw(st.sampled_from(EVERY_CALL))
    content: dict[str, Any] = {"name": call.tool, "args": dict(call.args)}
    for _ in range(draw(st.integers(0, 2))):
        where = draw(st.sampled_from([content, content["args"]])) if "args" in content else content
        if not isinstance(where, dict):
            break
        key = draw(st.sampled_from(sorted(set(KEYS) | set(where))))
        if draw(st.booleans()):
            where.pop(key, None)
        else:
            where[key] = draw(st.sampled_from([*PIECES, *TOOLS]))
    return content


@given(near_calls())
@settings(max_examples=400, deadline=None)
def test_schema_and_validator_agree(content):
    assert satisfies(call_schema(), content) == validate(json.dumps(content)).is_valid


def test_schema_takes_every_call():
    assert all(satisfies(call_schema(), json.loads(call.text)) for call in EVERY_CALL)


def test_schemas_are_closed_objects():
    assert parameters_schema("evaluate") == {
        "type": "object",
        "properties": {
            "split": {"type": "string", "enum": ["val", "test"]},
            "rounds": {"type": "integer", "minimum": 1, "maximum": 9},
        },
        "required": ["split", "rounds"],
        "additionalProperties": False,
    }
    assert len(call_schema()["anyOf"]) == 8
