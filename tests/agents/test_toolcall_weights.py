"""The shipped edge agents: whole, small, and as good as their cards say."""

from __future__ import annotations

import pytest

from sixgym.agents.toolcall.config import ToolcallConfig
from sixgym.agents.toolcall.files import SHIPPED, load_card, shipped_edge, stored_curve
from sixgym.agents.toolcall.grading import Grade, grade
from sixgym.agents.toolcall.model import count_parameters
from sixgym.agents.toolcall.task import frozen_easy, frozen_hard
from sixgym.envs.core.errors import UnknownIdError


@pytest.fixture(scope="module", params=["sft", "edge"])
def name(request) -> str:
    return request.param


def test_files_are_small_and_complete():
    assert {p.name for p in SHIPPED.iterdir()} == {
        "edge.json",
        "edge.safetensors",
        "sft.json",
        "sft.safetensors",
    }
    assert all(p.stat().st_size < 2**20 for p in SHIPPED.iterdir())


def test_card_says_how_it_was_made(name):
    about = load_card(SHIPPED / name).about
    assert about["seed"] == 0
    assert ToolcallConfig.create(about["config"]) == ToolcallConfig.load("default", ["seeds=[0]"])
    assert count_parameters(shipped_edge(name)) == 111_040


def test_grades_are_the_cards(name):
    net, report = shipped_edge(name), load_card(SHIPPED / name).about["report"]
    assert isinstance(report, dict)
    for kind, items in (("hard", frozen_hard()), ("easy", frozen_easy())):
        found = grade(net, items)
        # A tie of two tokens may fall otherwise on another machine.
        assert found.success == pytest.approx(report[f"{kind}_success"], abs=0.005)
        assert found.valid == pytest.approx(report[f"{kind}_valid"], abs=0.005)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_stored_curves_show_what_the_anchor_does(seed):
    kept, loose = (stored_curve(name, seed) for name in ("default", "no_anchor"))
    assert [row["step"] for row in kept] == [0, 30, 60, 90, 120, 150]
    assert kept[0]["easy_success"] == loose[0]["easy_success"]  # the same start
    assert kept[-1]["hard_success"] >= kept[0]["hard_success"] + 0.12
    assert kept[-1]["easy_success"] >= kept[0]["easy_success"] - 0.01
    assert loose[-1]["easy_success"] < kept[-1]["easy_success"] - 0.03
    assert loose[-1]["kl_forward"] > kept[-1]["kl_forward"]
    assert all(row["hard_valid"] >= kept[0]["hard_valid"] - 0.005 for row in kept)


def test_curve_of_the_shipped_agent_is_its_cards():
    report = load_card(SHIPPED / "edge").about["report"]
    assert isinstance(report, dict)
    last = stored_curve("default", 0)[-1]
    assert report == {key: last[key] for key in report}
    with pytest.raises(UnknownIdError, match="curve=default-9: allowed: default-0"):
        stored_curve("default", 9)


def test_improved_agent_holds_what_the_issue_asks():
    hard: dict[str, Grade] = {n: grade(shipped_edge(n), frozen_hard()) for n in ("sft", "edge")}
    easy = {n: grade(shipped_edge(n), frozen_easy()) for n in ("sft", "edge")}
    assert hard["edge"].success >= hard["sft"].success + 0.12
    assert hard["edge"].valid >= 0.995
    assert easy["edge"].success >= easy["sft"].success - 0.01
