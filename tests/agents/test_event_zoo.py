"""The trained agents of event offloading that ship: seeds, configuration, worth."""

from __future__ import annotations

from pathlib import Path

import pytest

import sixgym.agents
from sixgym.agents import TrainConfig
from sixgym.agents.policies import read_card
from sixgym.leaderboard import evaluate
from sixgym.leaderboard.stats import paired_ratio, ratio_interval

ID = "sixgym/EventOffload-v0"
FOLDER = Path(next(iter(sixgym.agents.__path__)), "zoo", "event_offload")
NAMES = sorted({path.stem.rpartition("-")[0] for path in FOLDER.glob("*.json")})


def test_the_two_agents_that_claims_stand_on_are_there() -> None:
    assert {"ppo", "ppo_bursty"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_all_seeds_of_the_shipped_configuration(name: str) -> None:
    """Who trains the configuration anew trains what ships."""
    config = TrainConfig.load(f"event_offload/{name}").plain()
    for seed in config["seeds"]:
        about = read_card(FOLDER / f"{name}-{seed}.json").about
        assert (about["name"], about["seed"]) == (f"{name}/{seed}", seed)
        trained = TrainConfig.create(about["config"]).plain()
        # Seeds may have been trained apart; neither evaluations nor the folder decide the numbers.
        asked = config.keys() - {"name", "seeds", "evaluation", "checkpoint", "output"}
        assert {k: trained[k] for k in asked} == {k: config[k] for k in asked}
        assert about["commit"]
        assert (FOLDER / f"{name}-{seed}.csv").read_text().startswith("step,")


@pytest.mark.slow
def test_bandit_matches_the_table_within_two_percent() -> None:
    """Issue 3; measured 98.5 % on the test split, on calib 98.7 %."""
    for split in ("test", "calib"):
        learned, table = (evaluate(ID, name, split=split) for name in ("ppo", "lookup"))
        assert paired_ratio(learned.sample(), table.sample()).value > 0.98


@pytest.mark.slow
def test_learned_policy_beats_the_table_where_labels_come_in_bursts() -> None:
    """Issue 3: 95 % intervals apart in the preset bursty_battery."""
    learned, table = (
        ratio_interval(evaluate(ID, name, preset="bursty_battery").sample())
        for name in ("ppo_bursty", "lookup")
    )
    assert learned.low > table.high
