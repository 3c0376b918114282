"""Claims of LLM-MAC about the game: C10 to C12, exact."""

from __future__ import annotations

import numpy as np
import torch

from sixgym.agents.team.mac_set import SetActor
from sixgym.baselines.llm_mac.one_slot import (
    OneSlot,
    dominant_message,
    simultaneous_equilibria,
    stackelberg,
    stackelberg_value,
    value_of_commitment,
)
from sixgym.baselines.llm_mac.theory import independent_grants
from sixgym.envs.llm_mac.codes import DCM_SG
from sixgym.envs.llm_mac.levels import Level
from sixgym.envs.llm_mac.system import LlmMac
from sixgym.leaderboard import stats
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome, play
from sixgym.leaderboard.claims.llm_mac_exact import Pair, cell, first_sight, pair_of, worth
from sixgym.leaderboard.claims.llm_mac_learned import ID, MIN_SEEDS
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

TRIES = 200
"""Networks of random weights that decide seat by seat."""


def one_grant(pair: Pair) -> float:
    """Probability that exactly one user is granted."""
    return float(pair.leader[(pair.messages == DCM_SG).sum(1) == 1].sum())


def one_grant_by_seat(actor: SetActor, seen: dict[str, torch.Tensor], n: int) -> float:
    """The same of one that decides seat by seat, with the same probability x for all."""
    with torch.no_grad():
        choice, _ = actor._spoken(seen, torch.zeros(1, seen["ue"].shape[1], dtype=torch.int64))
    x = choice.log_p[0, :n, DCM_SG].double().exp()
    others = [(1.0 - torch.cat([x[:i], x[i + 1 :]])).prod() for i in range(n)]
    return float(sum(p * o for p, o in zip(x, others, strict=True)))


def _c12(evidence: Evidence) -> Outcome:
    members = find_player(ID, ONE_SLOT.policy).members
    generator = torch.random.get_rng_state()
    findings, bounds, separate, knowing = [], [], [], []
    for n in USERS:
        bound = independent_grants(n)
        system = cell(n)
        _, seen = first_sight(system)
        torch.manual_seed(n)
        scales = np.linspace(1.0, 400.0, TRIES)
        best = max(one_grant_by_seat(_random_actor(system, x), seen, n) for x in scales)
        found = [one_grant(pair_of(member, n)) for member in members]
        findings.append(Finding(best <= bound + 1e-6, f"n={n}: {best:.4f} above {bound:.4f}"))
        findings.append(Finding(min(found) > bound, f"n={n}: trained {min(found):.3f}"))
        bounds.append(bound)
        separate.append(best)
        knowing.append(_over_seeds(found))
    torch.random.set_rng_state(generator)
    holds, why = verdict(findings)
    xs = [float(n) for n in USERS]
    return Outcome(
        holds,
        f"n={', '.join(map(str, USERS))} equal users, probability of exactly one grant: bound "
        f"{told(bounds)}; best of {TRIES} networks that decide seat by seat {told(separate)}; "
        f"trained, seats in turn, {len(members)} seeds {'; '.join(map(str, knowing))}",
        why,
        draw=draw_curves(
            [
                ("seats in turn (trained)", xs, knowing),
                ("seat by seat, best found", xs, exact(separate)),
                ("bound (1 - 1/n)^(n - 1)", xs, exact(bounds)),
            ],
            "equal users",
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
        "one slot, n = 2 to 5: exactly one grant with probability at most (1 - 1/n)^(n - 1) where "
        "seats are decided by themselves; above it where they are decided in turn, each seed",
        (ONE_SLOT,),
        _c12,
    ),
}
