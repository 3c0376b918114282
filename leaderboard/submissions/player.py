"""From a submission that was checked to a player, and from there to a row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from sixgym.agents.policies import (
    Card,
    NeuralPolicy,
    Spaces,
    acting_spaces,
    describe,
    load_policy,
)
from sixgym.envs.core.errors import SixgymError, SubmissionError
from sixgym.leaderboard.players import Member, Player
from sixgym.leaderboard.store import PolicyCard, write_atomically
from sixgym.leaderboard.submissions.schema import Received, Weights
from sixgym.leaderboard.submissions.tensors import shapes

if TYPE_CHECKING:
    from sixgym.envs.core.rollout import Policy
    from sixgym.envs.core.system import System


def policy_card(received: Received, origin: str) -> PolicyCard:
    """The card of a submission's row.

    Args:
        received: the submission.
        origin: where it came from, as it was typed.
    """
    said = received.submission
    sentence = said.description.rstrip(".")
    return PolicyCard(
        name=said.name,
        source="submission",
        kind="learned",
        sees="observation",
        description=f"{sentence}. Trained by {said.algorithm}; submitted by {said.author}.",
        origin=origin,
        env_id=said.env,
        env_kwargs=said.connection,
    )


def player_of(received: Received, origin: str) -> Player:
    """The player of a submission, one member for each training seed."""
    members = [_member(received, weights) for weights in received.submission.weights]
    return Player(policy_card(received, origin), members)


def _member(received: Received, weights: Weights) -> Member:
    make = _make_onnx if received.submission.is_onnx else _make_network

    def made(system: System[Any, Any]) -> Policy:
        return make(received, weights, system)

    return Member(
        made,
        training_seed=weights.training_seed,
        training_steps=weights.training_steps,
        weights=received.sha256[weights.file],
        deterministic=received.submission.deterministic,
    )


def _make_onnx(received: Received, weights: Weights, system: System[Any, Any]) -> Policy:
    from sixgym.leaderboard.submissions.onnx_policy import OnnxPolicy

    data = (received.folder / weights.file).read_bytes()
    return OnnxPolicy(data, system.action_space, name=received.submission.name)


def _make_network(received: Received, weights: Weights, system: System[Any, Any]) -> Policy:
    """The network of the manifest with its weights, by a card of our own beside their copy."""
    said = received.submission
    if said.architecture is None:
        raise SubmissionError("architecture: needed for safetensors")
    spaces = _spaces(said.seats, system)
    card = Card(
        env=said.env,
        env_kwargs=said.connection,
        observation_space=describe(spaces.observation),
        action_space=describe(spaces.action),
        architecture=said.architecture,
        normalization=said.normalization,
        seats=said.seats,
        sha256=received.sha256[weights.file],
        about={"name": said.name},
    )
    path = received.folder / weights.file
    text = json.dumps(card.model_dump(mode="json"))
    write_atomically(path.with_suffix(".json"), text)
    return load_policy(path, system=system)


def _spaces(seats: int | None, system: System[Any, Any]) -> Spaces:
    """What the network sees and does."""
    from sixgym.agents.sharing import Sharing

    return acting_spaces(system, None if seats is None else Sharing(system, seats))


NAMES_OF = {torch.float32: "F32", torch.float64: "F64"}
"""Types of numbers as the headers of files call them."""


def check_network(received: Received, system: System[Any, Any]) -> None:
    """Compare the headers of safetensors with the network that the manifest describes.

    The network is built without numbers, and no number of a file is read.

    Raises:
        SubmissionError: a tensor is missing, unknown, or of another type or shape.
    """
    said = received.submission
    if said.architecture is None:
        return
    try:
        spaces = _spaces(said.seats, system)
        with torch.device("meta"):
            network = NeuralPolicy(
                said.architecture,
                spaces.observation,
                spaces.action,
                normalization=said.normalization,
            )
    except SixgymError as error:
        raise SubmissionError(f"{said.name}: {error}") from None
    wanted = {k: (NAMES_OF[v.dtype], tuple(v.shape)) for k, v in network.state_dict().items()}
    for weights in said.weights:
        found = shapes(weights.file, (received.folder / weights.file).read_bytes())
        odd = sorted(wanted.keys() ^ found.keys())
        if odd:
            kind = "missing" if odd[0] in wanted else "not of this network"
            raise SubmissionError(f"{weights.file}: {odd[0]}: {kind}")
        for name, like in wanted.items():
            if found[name] != like:
                (kind, shape), (other, allowed) = found[name], like
                raise SubmissionError(
                    f"{weights.file}: {name} is {shape} {kind}; allowed: {allowed} {other}"
                )
