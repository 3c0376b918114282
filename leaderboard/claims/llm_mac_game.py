"""Claims of LLM-MAC about the game: C10 to C12, exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sixgym.agents.team.mac_set import SetActor
from sixgym.agents.team.nets import ALIVE
from sixgym.baselines.llm_mac.one_slot import (
    OneSlot,
    dominant_message,
    simultaneous_equilibria,
    stackelberg,
    stackelberg_value,
    value_of_commitment,
)
from sixgym.baselines.llm_mac.theory import independent_grants
from sixgym.envs.core.make import make_system
from sixgym.envs.core.registry import entry
from sixgym.envs.llm_mac.codes import DCM_SG, UCM_SR
from sixgym.envs.llm_mac.levels import Level
from sixgym.envs.llm_mac.system import LlmMac
from sixgym.leaderboard import stats
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome, play
from sixgym.leaderboard.claims.llm_mac_exact import first_sight, pair_of, worth
from sixgym.leaderboard.claims.llm_mac_learned import HEADLINE, ID, MIN_SEEDS, learned_with
from sixgym.leaderboard.claims.rules import Finding, draw_bars, draw_curves, exact, told, verdict
from sixgym.leaderboard.players import find_player
from sixgym.leaderboard.stats import Interval

# ------------------------------------------------------------------- C10: learning the equilibrium

ONE_SLOT = play("one_slot", ID, needs_weights=True, preset="one_slot", max_episode_steps=1)
USERS = (2, 3, 4, 5)
SLACK = 0.05
"""In units of rho."""


def _over_seeds(values: list[float]) -> Interval:
    """Mean over training seeds, which are resampled."""
    return stats.ratio_interval(stats.sample(np.array(values)[:, None]))


def _c10(evidence: Evidence) -> Outcome:
    members = find_player(ID, ONE_SLOT.policy).members
    findings = [Finding(len(members) >= MIN_SEEDS, f"only {len(members)} training seeds")]
    values, gaps, regrets = [], [], []
    for n in USERS:
        game = OneSlot(num_users=n)
        found = [worth(pair_of(member, n), game) for member in members]
        best = stackelberg_value(game)
        short = [best - w.value for w in found]
        regret = [w.regret for w in found]
        findings.append(Finding(max(short) <= SLACK, f"n={n}: {max(short):.3f} below {best}"))
        findings.append(Finding(max(regret) <= SLACK, f"n={n}: regret {max(regret):.3f}"))
        values.append(_over_seeds([w.value for w in found]))
        gaps.append(max(w.leader_gap for w in found))
        regrets.append(max(regret))
    holds, why = verdict(findings)
    played = evidence.value(ONE_SLOT, "return")
    return Outcome(
        holds,
        f"equilibrium 2.9; n=2 to 5, {len(members)} seeds, exact: {'; '.join(map(str, values))}; "
        f"largest leader's gap {told(gaps)}, largest regret {told(regrets)}; played {played}",
        why,
        draw=draw_bars(
            [f"{n} users" for n in USERS], values, "base station's utility, units of rho", line=2.9
        ),
    )


# ------------------------------------------------------------------- C11: what commitment is worth


def _c11(evidence: Evidence) -> Outcome:
    game = OneSlot()
    first = stackelberg(game)
    together = simultaneous_equilibria(game)
    findings = [
        Finding(abs(first.leader - 2.9) < 1e-9, f"moving first is worth {first.leader}"),
        Finding([s.leader for s in together] == [-1.0], f"at once: {[s.leader for s in together]}"),
        Finding(dominant_message(game) == (0, 0), "silence is not dominant when all move at once"),
    ]
    holds, why = verdict(findings)
    values = [first.leader, *(s.leader for s in together)]
    return Outcome(
        holds,
        f"2 users: {told(values, 1)} moving first and at once; silence dominates at once, so that "
        f"mixed equilibria are worth the same; commitment {value_of_commitment(game):.1f}",
        why,
        draw=draw_bars(["base station first", "all at once"], exact(values), "U, units of rho"),
    )


# -------------------------------------------------- C12: grants that know nothing of one another

POINTERS = learned_with(5)
EQUALS = (2, 3, 5, 8, 10)
TRIES = 200
"""Networks of random weights that decide seat by seat."""


def equal_requesters(n: int, **params: Any) -> tuple[LlmMac, dict[str, torch.Tensor]]:
    """A cell of ``n`` users who all asked and differ in nothing, as the base station sees it."""
    found = make_system(
        entry(ID).system, population="fixed", num_users=n, initial_queue=5, **params
    )
    assert isinstance(found, LlmMac)
    state, seen = first_sight(found)
    here = state.here.to(torch.int64)
    state = state._replace(u=UCM_SR * here, age=here, slot=state.slot + 5)
    return found, {**found.perceive(state, {}), ALIVE: seen[ALIVE]}


def one_grant_by_pointer(actor: SetActor, seen: dict[str, torch.Tensor]) -> float:
    """Probability that exactly one user is granted, of a pointing base station.

    An acknowledgement of the same user wins over its grant.
    """
    with torch.no_grad():
        logits, allowed = actor.grant_logits(seen)
    p = torch.softmax(torch.where(allowed, logits.double(), -torch.inf), -1)[0]
    grant, ack = p[0, 1:], p[1, 1:]
    return float((grant * (1.0 - ack)).sum())


def one_grant_by_seat(actor: SetActor, seen: dict[str, torch.Tensor], n: int) -> float:
    """The same of one that decides seat by seat, with the same probability x for all."""
    with torch.no_grad():
        choice, _ = actor._spoken(seen, torch.zeros(1, seen["ue"].shape[1], dtype=torch.int64))
    x = choice.log_p[0, :n, DCM_SG].double().exp()
    others = [(1.0 - torch.cat([x[:i], x[i + 1 :]])).prod() for i in range(n)]
    return float(sum(p * o for p, o in zip(x, others, strict=True)))


def _c12(evidence: Evidence) -> Outcome:
    members = find_player(ID, HEADLINE).members
    generator = torch.random.get_rng_state()
    findings, bounds, separate, pointing = [], [], [], []
    for n in EQUALS:
        bound = independent_grants(n)
        system, seen = equal_requesters(n)
        torch.manual_seed(n)
        scaled = [_random_actor(system, scale) for scale in np.linspace(1.0, 400.0, TRIES)]
        best = max(one_grant_by_seat(actor, seen, n) for actor in scaled)
        by_pointer = [one_grant_by_pointer(m.make(system).actor, seen) for m in members]  # type: ignore[attr-defined]
        findings.append(Finding(best <= bound + 1e-6, f"n={n}: {best:.4f} above {bound:.4f}"))
        low = min(by_pointer)
        findings.append(Finding(low > bound, f"n={n}: a pointer grants one in {low:.3f} of cases"))
        bounds.append(bound)
        separate.append(best)
        pointing.append(_over_seeds(by_pointer))
    torch.random.set_rng_state(generator)
    holds, why = verdict(findings)
    xs = [float(n) for n in EQUALS]
    return Outcome(
        holds,
        f"n={', '.join(map(str, EQUALS))} equal requesters, probability of exactly one grant: "
        f"bound {told(bounds)}; best of {TRIES} networks that decide seat by seat "
        f"{told(separate)}; trained pointers {told([p.value for p in pointing])}",
        why,
        draw=draw_curves(
            [
                ("pointer (trained)", xs, pointing),
                ("seat by seat, best found", xs, exact(separate)),
                ("bound (1 - 1/n)^(n - 1)", xs, exact(bounds)),
            ],
            "equal users who asked",
            "probability of exactly one grant",
        ),
    )


def _random_actor(system: LlmMac, scale: float) -> SetActor:
    """A network that decides seat by seat, its last layer scaled up to decided opinions."""
    actor = SetActor(system, width=16, head="independent", level=Level.SYNTAX)
    last = actor.word[-1]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.weight.mul_(scale)
        last.bias.normal_()
    return actor.requires_grad_(False)


CLAIMS: dict[str, Claim] = {
    "C10": Claim(
        "C10",
        "[paper: an equilibrium exists; learning it: our question]",
        "Learning reaches the Stackelberg equilibrium of the one-slot game.",
        f"n = 2 to 5, each of 5 seeds: utility within {SLACK} rho of 2.9, no regret above {SLACK} "
        "rho, exact",
        (ONE_SLOT,),
        _c10,
    ),
    "C11": Claim(
        "C11",
        "[derived]",
        "That the base station commits itself has a value.",
        "2 users, one slot: 2.9 moving first, -1 moving at once, exact",
        (),
        _c11,
    ),
    "C12": Claim(
        "C12",
        "[derived]",
        "Grants that are decided seat by seat cannot single out one of equal users.",
        "exactly one grant with probability at most (1 - 1/n)^(n - 1); pointers above, each seed",
        (POINTERS,),
        _c12,
    ),
}
