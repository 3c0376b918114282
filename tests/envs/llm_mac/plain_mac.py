"""LLM-MAC once more, user by user in plain Python, to hold the batched game against."""

from __future__ import annotations

from dataclasses import dataclass, field

from sixgym.envs.llm_mac.params import LlmMacParams


@dataclass
class User:
    """One user of one row."""

    queue: list[int] = field(default_factory=list)  # slots of arrival
    known: bool = False
    active: int = 0
    delivered: int = 0
    generated: int = 0


@dataclass
class Told:
    """What a slot came to."""

    outcome: str
    o: int
    leader: float
    users: list[float]
    delay: int
    counts: dict[str, int]


def jain(values: list[float]) -> float:
    """Jain's index; 1 of nobody, or where all are zero."""
    squares = sum(v * v for v in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


class PlainMac:
    """One row without joins; a user that leaves is reported by `leave`."""

    def __init__(self, params: LlmMacParams, seats: dict[int, User]) -> None:
        self.p = params
        self.seats = seats
        self.everybody = list(seats.values())
        self.slot = 0
        self.jain = 1.0
        self.last_m: dict[int, int] = dict.fromkeys(range(params.n_max), 0)

    def index(self, by_demand: bool = False) -> float:
        """Jain's index of all users so far who took part in enough slots."""
        users = [u for u in self.everybody if u.active >= min(10, self.p.horizon_slots / 4)]
        due = [max(1, u.generated) if by_demand else u.active for u in users]
        return jain([u.delivered / n for u, n in zip(users, due, strict=True)])

    def leave(self, seat: int) -> int:
        """Forget the user on a seat; returns what it had not delivered."""
        user = self.seats.pop(seat)
        self.last_m[seat] = 0
        return len(user.queue) - user.known

    def join(self, seat: int) -> None:
        """Seat a new user."""
        self.seats[seat] = User()
        self.everybody.append(self.seats[seat])

    def step(
        self, m: dict[int, int], a: dict[int, int], u: dict[int, int], comes: dict[int, int],
        erased: bool,
    ) -> Told:  # fmt: skip
        """One slot: messages, actions and arrivals by seat; a lone sender may be erased."""
        p, w, t = self.p, self.p.weights, self.p.terms
        heard = m if p.timing == "stackelberg" else dict(self.last_m)
        full = {r: bool(x.queue) for r, x in self.seats.items()}
        senders = [r for r in self.seats if a[r] == 1 and full[r]]
        own = dict.fromkeys(self.seats, 0.0)
        team, o, delay, counts = 0.0, 0, 0, dict.fromkeys(("lost", "dropped", "generated"), 0)
        if not senders:
            outcome, team = "idle", -w.idle
        elif len(senders) > 1:
            outcome, team, o = "collision", -w.col, p.n_max + 1
        elif erased:
            outcome, team, o = "erasure", -w.era, p.n_max + 1
        else:
            user, o = self.seats[senders[0]], senders[0] + 1
            outcome = "duplicate" if user.known else "delivered"
            team = w.dup if user.known else w.new
            own[senders[0]] += team
            if not user.known:
                user.delivered += 1
                delay = self.slot - user.queue[0]
            user.known = True
        if outcome in ("collision", "erasure"):
            for r in senders:
                own[r] -= 1.0
        deletes = [r for r in self.seats if a[r] == 2 and full[r]]
        for r, user in self.seats.items():
            user.active += 1
            user.generated += comes[r]
            counts["generated"] += comes[r]
            fits = min(comes[r], p.buffer_size - len(user.queue))
            counts["dropped"] += comes[r] - fits
            user.queue += [self.slot] * fits
            if r in deletes:
                gain = w.cd if user.known else -w.wd
                counts["lost"] += not user.known
                team, own[r] = team + gain, own[r] + gain
                user.queue.pop(0)
                user.known = False
        before, self.jain = self.jain, self.index()
        self.last_m = {**dict.fromkeys(self.last_m, 0), **m}
        self.slot += 1
        fairness = t.fairness * p.horizon_slots * (self.jain - before)
        leader = team + fairness - t.grant * sum(x == 1 for x in m.values())
        leader -= t.ack * sum(x == 2 for x in m.values())
        users = [0.0] * p.n_max
        for r in self.seats:
            unasked = r in senders and heard[r] != 1
            users[r] = t.alpha * team + (1 - t.alpha) * own[r] - t.kappa * unasked
            users[r] += -t.ucm * (u[r] != 0) + p.share_fairness * fairness
            users[r] *= w.rho
        return Told(outcome, o, w.rho * leader, users, delay, counts)
