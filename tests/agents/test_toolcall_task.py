"""The tool-calling language: vocabulary, requests, difficulty, cloud agent, text prompts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sixgym.agents.toolcall.language import (
    ANSWER_LENGTH,
    END_ID,
    INDEX,
    INTEGERS,
    PAD_ID,
    PROMPT_LENGTH,
    TOOLS,
    VOCABULARY,
    Call,
    decode,
    emit,
    encode_answer,
    encode_prompt,
    join,
)
from sixgym.agents.toolcall.prompts import INSTRUCTION, messages, openai_tools, request_text
from sixgym.agents.toolcall.task import (
    EASY,
    FULL,
    Item,
    cloud_answers,
    difficulty,
    draw,
    frozen_easy,
    frozen_hard,
    sft_examples,
)

COUNT = 4_000


@pytest.fixture(scope="module")
def full() -> list[Item]:
    return draw(FULL, COUNT, 0, "test")


@pytest.fixture(scope="module")
def easy() -> list[Item]:
    return draw(EASY, COUNT, 0, "test")


def share(is_so) -> float:
    return float(np.mean(list(is_so)))


def test_vocabulary_has_the_dossiers_117_words():
    assert len(VOCABULARY) == len(set(VOCABULARY)) == len(INDEX) == 117
    assert VOCABULARY[PAD_ID] == "<pad>"


def test_tools_are_the_dossiers():
    spelled = {t.name: {a.name: a.values for a in t.args} for t in TOOLS.values()}
    levels = ("low", "mid", "high")
    assert spelled == {
        "select_clients": {"num": INTEGERS, "strategy": ("random", "loss", "speed")},
        "broadcast_model": {"version": INTEGERS},
        "local_train": {"epochs": INTEGERS, "lr": levels},
        "compress_update": {"bits": ("b4", "b8", "b16")},
        "aggregate": {
            "method": ("fedavg", "fedprox", "scaffold"),
            "weight": ("uniform", "samples"),
        },
        "evaluate": {"split": ("val", "test"), "rounds": INTEGERS},
        "schedule_slot": {"slot": INTEGERS, "prio": levels},
        "finish": {},
    }


def test_dossiers_example_is_spelled_in_its_tokens():
    spelled = '{ "name" : "evaluate" , "args" : { "split" : "val" , "rounds" : 4 } } <eos>'
    tokens = emit(Call("evaluate", ("val", 4)))
    assert " ".join(tokens) == spelled
    assert len(tokens) == 18


def test_codes_are_padded_on_the_side_of_the_seam():
    code = encode_prompt(["<q>", "stop", "<done>", "<act>"])
    assert len(code) == PROMPT_LENGTH
    assert code[:-4] == [PAD_ID] * 30
    answer = encode_answer(Call("finish", ()))
    assert len(answer) == ANSWER_LENGTH
    assert answer.index(END_ID) == 10
    assert decode(answer) == '{"name":"finish","args":{}}' == join(emit(Call("finish", ())))
    with pytest.raises(ValueError, match="prompt of 35 tokens; allowed: 34"):
        encode_prompt(["not"] * 35)


def test_lengths_are_within_the_dossiers_30_and_18(full):
    assert max(len(i.prompt) for i in full) <= 30
    assert max(len(emit(i.answer)) for i in full) == 18


def test_longest_prompt_that_can_be_has_30_tokens():
    # Four tools have clauses of 4 tokens with a modifier, one has 3, two have at most 3.
    plan, distractors, progress = 4 + 4 + 4, 2 + (1 + 4) + (1 + 3), 2
    assert len(["<q>", "<done>", "<act>"]) + plan + 2 + distractors + progress == 30


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ((1, 0, 0, 0, 0), 0.0),
        ((3, 2, 2, 0, 0), 1.0 / 1.3),
        ((2, 1, 1, 1, 1), 0.9 / 1.3),
        ((1, 0, 0, 0, 3), 0.3 / 1.3),
        ((3, 2, 2, 1, 2), 1.0),
    ],
)
def test_difficulty_formula(described, expected):
    assert difficulty(*described) == pytest.approx(expected, abs=1e-12)


def test_full_law_has_its_statistics(full):
    # Standard errors at 4,000 are at most .008.
    assert [share(i.plan == n for i in full) for n in (1, 2, 3)] == pytest.approx(
        [1 / 3] * 3, abs=0.03
    )
    assert [share(i.alias == a for i in full) for a in (0, 1, 2)] == pytest.approx(
        [0.5, 0.3, 0.2], abs=0.03
    )
    has_integer = [i for i in full if any(type(v) is int for v in i.answer.values)]
    assert len(has_integer) / COUNT == pytest.approx(5 / 8, abs=0.03)
    assert share(i.mods for i in has_integer) == pytest.approx(0.35, abs=0.03)
    # E[min(Binomial(n, .2), 2)] over n = 1, 2, 3 is .4 less P(three) = .008/3.
    assert np.mean([i.distractors for i in full]) == pytest.approx(0.4 - 0.008 / 3, abs=0.03)
    assert [share(i.done == k for i in full if i.plan == 3) for k in (0, 1, 2)] == pytest.approx(
        [1 / 3] * 3, abs=0.05
    )
    assert [share(i.answer.tool == t for i in full) for t in TOOLS] == pytest.approx(
        [1 / 8] * 8, abs=0.03
    )


def test_easy_law_has_nothing_hard(easy):
    assert {i.plan for i in easy} == {1, 2}
    assert {i.alias for i in easy} == {0, 1}
    assert share(i.alias for i in easy) == pytest.approx(0.2, abs=0.03)
    assert not any(i.mods or i.distractors for i in easy)
    assert not any({"not", "plus1", "minus1"} & set(i.prompt) for i in easy)


def test_answer_is_the_first_operation_not_done_with_its_values(full):
    names = {alias: t.name for t in TOOLS.values() for alias in t.aliases}
    for item in full[:500]:
        at = item.prompt.index("<done>")
        clauses = " ".join(item.prompt[1:at]).split(" ; ")
        wanted = [c.split() for c in clauses if not c.startswith("not ")]
        assert len(wanted) == item.plan
        assert item.prompt[at + 1 : -1] == tuple(f"t_{names[c[0]]}" for c in wanted[: item.done])
        target = wanted[item.done]
        values: list[int | str] = []
        for token in target[1:]:
            if token.startswith("n_"):
                values.append(int(token[2:]))
            elif token in ("plus1", "minus1"):
                values[-1] += 1 if token == "plus1" else -1
            else:
                values.append(token.removeprefix("v_"))
        assert item.answer == Call(names[target[0]], tuple(values))
        assert all(v in INTEGERS for v in values if isinstance(v, int))


def test_modified_integers_come_from_everywhere(full):
    # Both ends are reached, and both directions are used.
    given = [" ".join(i.prompt) for i in full]
    assert any("n_9 minus1" in g for g in given)
    assert any("n_1 plus1" in g for g in given)
    assert not any("n_9 plus1" in g or "n_1 minus1" in g for g in given)


def test_cloud_agent_is_right_as_often_as_said_and_always_valid(full):
    answers = cloud_answers(full, 0, "cloud")
    # 7 of 8 tools have an argument to get wrong: .95 + .05/8 = .95625, s.e. .0032.
    assert share(a == i.answer for a, i in zip(answers, full, strict=True)) == pytest.approx(
        0.95625, abs=0.012
    )
    for answer, item in zip(answers, full, strict=True):
        wrong = sum(a != b for a, b in zip(answer.values, item.answer.values, strict=True))
        assert answer.tool == item.answer.tool
        assert wrong <= 1
    assert cloud_answers(full[:50], 0, "cloud", accuracy=1.0) == [i.answer for i in full[:50]]


def test_frozen_sets_are_frozen():
    hard, easy = frozen_hard(), frozen_easy()
    assert (len(hard), len(easy)) == (1_000, 500)
    assert frozen_hard(10) == hard[:10]
    assert np.mean([i.difficulty for i in hard]) == pytest.approx(0.3665, abs=0.012)
    assert " ".join(hard[0].prompt) == FIRST_HARD
    assert " ".join(easy[0].prompt) == FIRST_EASY


FIRST_HARD = "<q> not compress v_b16 ; score v_val n_1 <done> <act>"
FIRST_EASY = "<q> push n_7 ; book n_4 v_mid <done> t_broadcast_model <act>"


def test_items_do_not_depend_on_the_batch():
    assert draw(FULL, 5, 3, "a", first=7) == draw(FULL, 12, 3, "a")[7:]
    assert draw(FULL, 5, 3, "a") != draw(FULL, 5, 4, "a")
    assert draw(FULL, 5, 3, "a") != draw(FULL, 5, 3, "b")


def test_mixed_examples_hold_their_share_of_the_full_law():
    hard = [
        i.mods or i.distractors or i.alias == 2 or i.plan == 3 for i in sft_examples(2_000, 0.15, 0)
    ]
    only = [
        i.mods or i.distractors or i.alias == 2 or i.plan == 3 for i in draw(FULL, 2_000, 0, "x")
    ]
    assert share(map(bool, hard)) == pytest.approx(0.15 * share(map(bool, only)), abs=0.03)
    assert not any(
        i.mods or i.distractors or i.alias == 2 or i.plan == 3 for i in sft_examples(200, 0.0, 0)
    )


def test_request_in_words_says_what_the_tokens_say():
    prompt = "<q> score v_val n_8 plus1 ; not push n_9 ; stop <done> t_evaluate <act>"
    assert request_text(prompt.split()) == (
        "Request: score val 8 plus 1; do not push 9; stop. Already done: evaluate."
    )
    item = draw(EASY, 1, 0, "test")[0]
    system, user = messages(item)
    assert system == {"role": "system", "content": INSTRUCTION}
    assert user["role"] == "user"
    assert "<" not in user["content"]
    told = messages(item, as_tools=False)[0]["content"]
    assert all(name in told for name in TOOLS)


def test_tools_are_plain_json_of_the_function_calling_kind():
    tools = openai_tools()
    assert json.loads(json.dumps(tools)) == tools
    assert [t["function"]["name"] for t in tools] == list(TOOLS)
    for tool in tools:
        parameters = tool["function"]["parameters"]
        assert parameters["additionalProperties"] is False
        assert parameters["required"] == list(parameters["properties"])
