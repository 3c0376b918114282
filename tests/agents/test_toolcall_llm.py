"""A language model as edge or cloud of the tool-calling task, over real HTTP to a local server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from llm_stub import Answer, Stub, said, serving

from sixgym.agents.llm.endpoint import Endpoint
from sixgym.agents.llm.replies import Reply
from sixgym.agents.toolcall.grading import grade_calls
from sixgym.agents.toolcall.language import TOOLS, Call
from sixgym.agents.toolcall.llm import EndpointAgent, read_call
from sixgym.agents.toolcall.loop import Loop, ServedEdge
from sixgym.agents.toolcall.loop_config import LoopConfig
from sixgym.agents.toolcall.loop_runs import run_loop
from sixgym.agents.toolcall.prompts import messages, openai_tools, request_text
from sixgym.agents.toolcall.task import FULL, draw
from sixgym.envs.core.errors import ConfigError, EndpointError

KEY = "sk-very-secret-0123456789"
ITEMS = draw(FULL, 40, 0, "loop requests") + draw(FULL, 20, 0, "loop scorer")
TRUTH = {request_text(item.prompt): item.answer for item in ITEMS}
EVALUATE = Call("evaluate", ("val", 4))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def called(call: Call) -> Answer:
    """A tool call as the API has it."""
    function = {"name": call.tool, "arguments": json.dumps(call.args)}
    return said(None, tool_calls=[{"id": "c", "type": "function", "function": function}])


def text_of(call: Call) -> str:
    return json.dumps({"name": call.tool, "args": call.args})


def knows(body: dict[str, Any]) -> Answer:
    """A model that is always right."""
    return called(TRUTH[body["messages"][-1]["content"]])


def halting(body: dict[str, Any]) -> Answer:
    """A model that is right for every second tool and says nothing of use for the others."""
    call = TRUTH[body["messages"][-1]["content"]]
    return called(call) if list(TOOLS).index(call.tool) % 2 else said("I cannot do that.")


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(knows) as running:
        yield running


def agent(stub: Stub, ask: Any = "tools", logprobs: bool = False, **changes: Any) -> EndpointAgent:
    endpoint = Endpoint(stub.settings(**changes), sleep=lambda _: None)
    return EndpointAgent(endpoint, ask, logprobs=logprobs)


def reply(text: str = "", *tool_calls: dict[str, Any]) -> Reply:
    return Reply(text, list(tool_calls), "stop", None, 7, 3, True)


# --------------------------------------------------------------------------------------- answers


def test_request_in_words_and_tools_go_out_and_the_call_comes_back(stub: Stub) -> None:
    item = ITEMS[0]
    assert agent(stub).calls([item]) == [item.answer]
    assert stub.bodies[0]["messages"] == messages(item)
    assert stub.bodies[0]["tools"] == openai_tools()


def test_answers_keep_their_order_and_are_graded_as_any_others(stub: Stub) -> None:
    calls = agent(stub, max_parallel=4).calls(ITEMS[:20])
    grade = grade_calls(calls, ITEMS[:20])
    assert (grade.success, grade.valid) == (1.0, 1.0)


def test_json_text_is_asked_for_without_tools(stub: Stub) -> None:
    stub.script = [said(f"\n{text_of(EVALUATE)} ")]
    assert agent(stub, ask="json").calls(ITEMS[:1]) == [EVALUATE]
    assert "tools" not in stub.bodies[0]
    assert "one JSON object" in stub.bodies[0]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (reply(), "not JSON"),
        (reply('{"name": "evaluate", "args": {"split": "val",'), "not JSON"),
        (reply('{"name": "reboot", "args": {}}'), "name='reboot': allowed"),
        (reply("", {"function": {"name": "reboot", "arguments": "{}"}}), "name='reboot': allowed"),
        (reply("", {"function": {"name": "evaluate", "arguments": "{"}}), "not JSON"),
        (reply("", {"function": {"name": "evaluate", "arguments": "{}"}}), "split, rounds missing"),
        (reply("", {"function": {"name": "finish", "arguments": {}}}), "with name and arguments"),
        (reply("", {"function": None}), "with name and arguments"),
        (reply("", {}, {}), "2 tool calls; allowed: one"),
    ],
    ids=["nothing", "malformed", "wrong tool", "wrong tool called", "malformed arguments",
         "missing arguments", "arguments no text", "no function", "two calls"],
)  # fmt: skip
def test_what_is_no_call_is_an_invalid_draft(given: Reply, reason: str) -> None:
    verdict = read_call(given)
    assert not verdict.is_valid
    assert reason in verdict.reason
    assert "\n" not in verdict.reason


def test_valid_call_of_the_wrong_tool_is_valid_and_not_a_success(stub: Stub) -> None:
    item = next(i for i in ITEMS if i.answer.tool != "evaluate")
    stub.script = [called(EVALUATE)]
    grade = grade_calls(agent(stub).calls([item]), [item])
    assert (grade.success, grade.valid) == (0.0, 1.0)


def test_time_out_after_an_answer_is_a_missing_one_and_is_counted(stub: Stub) -> None:
    def late(_: dict[str, Any]) -> Answer:
        time.sleep(0.6)
        return called(EVALUATE)

    model = agent(stub, timeout_s=0.2, retries=1, max_parallel=1)
    stub.script = [called(EVALUATE), late, late]
    first, second = model.answers(ITEMS[:2])
    assert first.verdict.call == EVALUATE
    assert second.verdict.call is None
    assert "no answer within timeout_s=0.2" in second.verdict.reason
    assert (model.usage.calls, model.usage.failures, model.usage.retries) == (1, 1, 1)


def test_server_that_never_answers_is_an_error(stub: Stub) -> None:
    stub.default = lambda _: Answer(503, {"error": "busy"})
    with pytest.raises(EndpointError, match="status 503"):
        agent(stub, retries=0).calls(ITEMS[:3])


def test_refusal_is_an_error_that_never_shows_the_key(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STUB_KEY", KEY)
    model = agent(stub, api_key_env="STUB_KEY")
    assert model.calls(ITEMS[:1]) == [ITEMS[0].answer]
    stub.script = [Answer(401, {"error": f"no such key {KEY}"})]
    with pytest.raises(EndpointError, match="status 401") as caught:
        model.calls(ITEMS[:1])
    assert KEY not in str(caught.value) + repr(model.endpoint) + caplog.text
    assert stub.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_nothing_is_asked_of_nobody(stub: Stub) -> None:
    assert agent(stub).answers([]) == []
    assert stub.bodies == []


def test_cost_is_tokens_times_prices(stub: Stub) -> None:
    model = agent(stub, prompt_price=2.0, completion_price=5.0)
    model.calls(ITEMS[:3])
    assert (model.usage.prompt_tokens, model.usage.completion_tokens) == (21, 9)
    assert model.usage.cost == 3 * (7 * 2.0 + 3 * 5.0)


def test_scorer_looks_at_the_log_probabilities_that_a_server_sends(stub: Stub) -> None:
    tokens = {"content": [{"logprob": -0.5}, {"logprob": -1.5}]}
    odd = {"content": [{"logprob": "high"}]}
    text = text_of(EVALUATE)
    stub.script = [said(text, logprobs=tokens), said(text, logprobs=odd), said("no", logprobs=None)]
    edge = ServedEdge(agent(stub, ask="json", logprobs=True, max_parallel=1))
    drafts = edge.draft(ITEMS[:3])
    assert stub.bodies[0]["logprobs"] is True
    assert drafts.features.tolist() == [[-2.0, -1.5, 3, 1], [0.0, 0.0, 3, 1], [0.0, 0.0, 3, 0]]
    assert drafts.draft is None


# ---------------------------------------------------------------------------------- in the loop


def config(stub: Stub, part: str, **changes: Any) -> LoopConfig:
    raw = {
        "name": "served",
        "env": {"num_requests": 4},
        "slots": 5,
        "update_every": 2,
        "scorer": {"requests": 20, "refresh_every": 1, "explore_eps": 0.2},
        "improve": {"iterations": 1, "prompts": 2, "group": 2, "anchor_batch": 2, "cloud_batch": 2},
        "sft": {"examples": 16},
        "evaluation": {"hard": 4, "easy": 2, "kl": 2},
        part: {"endpoint": stub.settings().model_dump()},
    }
    return LoopConfig.create({**raw, **changes})


def test_endpoint_cloud_answers_what_is_offloaded_and_teaches_the_edge(stub: Stub) -> None:
    loop = Loop(config(stub, "cloud", threshold=1.0), 0, fresh())
    slot = loop.serve()
    assert (slot.offload, slot.success, slot.valid, slot.collected) == (1.0, 1.0, 1.0, 4)
    assert loop.usage["cloud"].calls == len(stub.bodies) == 20 + 4


def test_invalid_cloud_answer_is_returned_as_a_failure_and_teaches_nothing(stub: Stub) -> None:
    loop = Loop(config(stub, "cloud", threshold=1.0), 0, fresh())
    stub.default = lambda _: said("I am sorry")
    slot = loop.serve()
    assert (slot.offload, slot.success, slot.valid, slot.collected) == (1.0, 0.0, 0.0, 0)


def test_endpoint_edge_is_served_scored_and_not_trained(
    stub: Stub, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sixgym.agents.toolcall.loop_runs.draw_loop", lambda *_: None)
    stub.default = halting
    (result,) = run_loop(config(stub, "edge", train=False), tmp_path)
    record = json.loads((result.folder / "run.json").read_text())
    assert record["usage"]["edge"]["calls"] == 20 + 5 * 4
    assert [u["iterations"] for u in record["updates"]] == [0, 0]
    assert not (result.folder / "edge.json").exists()
    drafted = [s.draft_valid for s in result.slots if s.draft_valid is not None]
    assert 0.0 < sum(drafted) < len(drafted)
    assert {s.valid for s in result.slots} == {1.0}  # the gate sends invalid drafts to the cloud
    assert result.start is None


def test_endpoint_edge_refuses_training(stub: Stub) -> None:
    with pytest.raises(ConfigError, match=r"edge\.endpoint is not trained here; allowed: train"):
        config(stub, "edge")


def test_mistakes_in_an_endpoint_repeat_no_value(stub: Stub) -> None:
    endpoint = {"base_url": f"http://user:{KEY}@host/v1", "model": "m", "api_key": KEY}
    with pytest.raises(ConfigError) as caught:
        LoopConfig.create({"name": "x", "cloud": {"endpoint": endpoint}})
    assert "cloud.endpoint.base_url: allowed: http://HOST/v1" in str(caught.value)
    assert "cloud.endpoint.api_key: no such field" in str(caught.value)
    assert KEY not in str(caught.value)


def fresh() -> Any:
    from sixgym.agents.toolcall.files import shipped_edge

    return shipped_edge("sft")
