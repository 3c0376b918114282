"""The baselines of section 5, made for each of the three environments.

Thresholds play everywhere: where actions are choices by request, they compare the scores. What
decides by request cannot be said by a threshold; in the table of `sixgym/NetGptThreshold-v0` it
plays `sixgym/NetGptBatch-v0` on the same worlds, each request with an uplink of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from sixgym.baselines.netgpt.design import Design
from sixgym.baselines.netgpt.fits import (
    best_frugal,
    best_share,
    fit_affine,
    fit_affine_by_search,
    fit_sigmoid,
    hybrid_threshold,
)
from sixgym.baselines.netgpt.joint import BestSet, Cut, by_difficulty, by_outcome, by_score
from sixgym.baselines.netgpt.law import GATE
from sixgym.baselines.netgpt.rules import (
    BudgetDual,
    ByNetwork,
    Constant,
    Exact,
    Farsighted,
    RandomShare,
    Rule,
)
from sixgym.baselines.netgpt.threshold import analytic_affine
from sixgym.baselines.netgpt.view import View
from sixgym.baselines.policy import Baseline, Kind, Sees

if TYPE_CHECKING:
    from sixgym.envs.core.rollout import Policy
    from sixgym.envs.core.system import System

Plays = Literal["threshold", "route", "batch"]
IDS: dict[Plays, str] = {
    "threshold": "sixgym/NetGptThreshold-v0",
    "route": "sixgym/NetGptRoute-v0",
    "batch": "sixgym/NetGptBatch-v0",
}
Make = Callable[["System[Any, Any]", str], "Policy"]

PROMPT_ONLY: dict[str, Any] = {"mode": "pre", "score_noise": 1.5}
"""A router that sees the prompt, not the draft. [our choice of the noise]"""
WITHOUT_DRAFT: dict[str, Any] = {"mode": "pre"}
LEARNT: dict[str, Any] = {"self_improve": False, "skill0": 0.80, "schema_edge": 0.995}
"""The edge at the end of the default learning curve. [our choice: 6.4]"""


def _entry(
    name: str,
    kind: Kind,
    sees: Sees,
    description: str,
    make: Make,
    env_id: str | None = None,
    **params: Any,
) -> Baseline:
    return Baseline(
        name, lambda system: make(system, name), sees, kind, description, env_id, params
    )


def _constant(tau: Callable[[Design], float] | float) -> Make:
    """A constant threshold, given or fitted."""

    def make(system: System[Any, Any], name: str) -> Policy:
        fixed = tau if isinstance(tau, float) else tau(View(system).design)
        return Constant(system, name, fixed)

    return make


def _by_network(fit: Callable[[Design], Rule]) -> Make:
    """A fitted function of the network state."""
    return lambda system, name: ByNetwork(system, name, fit(View(system).design))


def _random(system: System[Any, Any], name: str) -> Policy:
    return RandomShare(system, name, View(system).design.offload_share)


def _simple() -> list[Baseline]:
    """Without a fit."""
    return [
        _entry("all_edge", "heuristic", "observation", "Keeps everything.", _constant(0.0)),
        _entry(
            "all_cloud",
            "heuristic",
            "observation",
            "Offloads everything; in a cascade the drafts are paid for too.",
            _constant(1.0),
        ),
        _entry(
            "all_cloud_direct",
            "heuristic",
            "observation",
            "Offloads everything without a draft.",
            _constant(1.0),
            **WITHOUT_DRAFT,
        ),
        _entry(
            "schema_only",
            "heuristic",
            "observation",
            "Offloads drafts that break the schema, no others.",
            _constant(GATE),
        ),
        _entry(
            "random_matched",
            "random",
            "observation",
            "Offloads at random the share that the exact dynamic threshold offloads.",
            _random,
        ),
    ]


def _static() -> list[Baseline]:
    """Constant thresholds that are fitted."""
    return [
        _entry(
            "best_fixed",
            "heuristic",
            "observation",
            "The constant threshold of most mean utility.",
            _constant(lambda design: design.best_fixed),
        ),
        _entry(
            "route_llm",
            "heuristic",
            "observation",
            "RouteLLM-like: scores the prompt only, a constant threshold calibrated to a share of "
            "the cloud; of nine shares the best.",
            _constant(best_share),
            **PROMPT_ONLY,
        ),
        _entry(
            "frugal_gpt",
            "heuristic",
            "observation",
            "FrugalGPT-like: a constant threshold of most quality within a mean price; of nine "
            "budgets the best.",
            _constant(best_frugal),
            mode="cascade",
        ),
        _entry(
            "hybrid_llm",
            "heuristic",
            "observation",
            "HybridLLM-like: keeps what the prompt tells is likely as good at the edge, within a "
            "tolerance.",
            _constant(hybrid_threshold),
            **PROMPT_ONLY,
        ),
    ]


def _dynamic() -> list[Baseline]:
    """Functions of the network state."""
    return [
        _entry(
            "func_dyn",
            "heuristic",
            "observation",
            "FuncDyn-A: affine in RTT, 1/bandwidth and price, fitted to the exact thresholds.",
            _by_network(lambda design: fit_affine(design).thresholds),
        ),
        _entry(
            "func_dyn_analytic",
            "heuristic",
            "observation",
            "FuncDyn-A with the coefficients that are exact for a calibrated score.",
            _by_network(lambda design: analytic_affine(design.model).thresholds),
        ),
        _entry(
            "func_dyn_cem",
            "heuristic",
            "observation",
            "FuncDyn-A with coefficients searched for by mean utility.",
            _by_network(lambda design: fit_affine_by_search(design).thresholds),
        ),
        _entry(
            "func_dyn_l",
            "heuristic",
            "observation",
            "FuncDyn-L: a saturating function of RTT, log bandwidth and price, fitted likewise.",
            _by_network(lambda design: fit_sigmoid(design).thresholds),
        ),
    ]


def _informed() -> list[Baseline]:
    """Thresholds that know the model and its hidden state."""
    return [
        _entry(
            "exact",
            "reference",
            "model",
            "The unique optimal threshold of the slot, at the true network, skill and scorer.",
            Exact,
        ),
        _entry(
            "exact_stale",
            "heuristic",
            "model",
            "The same, taking the scorer as fresh and unbiased, as a real router would.",
            lambda system, name: Exact(system, name, is_stale=True),
        ),
        _entry(
            "exact_dp",
            "heuristic",
            "model",
            "The optimal threshold plus the premium by which offloading is an investment in a "
            "learning edge, by dynamic programming.",
            Farsighted,
        ),
        _entry(
            "budget_dual",
            "heuristic",
            "model",
            "The exact threshold at a multiplier that keeps a mean composite cost of 0.08.",
            BudgetDual,
        ),
    ]


def _selfish() -> Baseline:
    return _entry(
        "selfish",
        "heuristic",
        "model",
        "The threshold at which no request wants to change: on a shared uplink the equilibrium.",
        lambda system, name: Exact(system, name, is_selfish=True),
    )


def _by_request(plays: Plays) -> list[Baseline]:
    """What decides request by request; no threshold does better than these."""
    elsewhere: dict[str, Any] = {}
    if plays == "threshold":
        elsewhere = {"env_id": IDS["batch"], "share_uplink": False}

    def best_set(belief: Any) -> Make:
        return lambda system, name: BestSet(system, name, belief)

    exact = {"threshold": "exact_per_req", "route": "exact_per_req", "batch": "exact_batch"}[plays]
    return [
        _entry(
            exact,
            "exact",
            "model",
            "The best set of requests by what their scores tell, each at its own cost; without "
            "learning and queue no policy that does not know the outcomes does better.",
            best_set(by_score),
            **elsewhere,
        ),
        _entry(
            "oracle_prob",
            "exact",
            "oracle",
            "The same knowing the difficulty and whether the draft is valid; what a perfect scorer "
            "would allow.",
            best_set(by_difficulty),
            **elsewhere,
        ),
        _entry(
            "oracle_outcome",
            "bound",
            "oracle",
            "The same knowing the outcomes; bounds every policy without learning.",
            best_set(by_outcome),
            **elsewhere,
        ),
        _entry(
            "oracle_learnt",
            "bound",
            "oracle",
            "The same with an edge at the end of the default learning curve from the start; bounds "
            "every policy with learning, the wait in a queue apart.",
            best_set(by_outcome),
            **{**elsewhere, **LEARNT},
        ),
    ]


def table(plays: Plays) -> dict[str, Baseline]:
    """The baselines of one of the environments by name."""
    entries = [*_simple(), *_static(), *_dynamic(), *_informed()]
    if plays == "threshold":
        entries.append(
            _entry(
                "exact_cut",
                "exact",
                "model",
                "The best threshold for the slot's own scores and sizes; without learning and "
                "queue no threshold that does not know the outcomes does better.",
                Cut,
            )
        )
    if plays == "batch":
        entries.append(_selfish())
    entries += _by_request(plays)
    return {entry.name: entry for entry in entries}
