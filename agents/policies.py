"""Trained policies as data: weights in safetensors, architecture in a JSON card, never code.

A card names the environment (from which come the spaces), the layers and the kind of the last
layer; `NeuralPolicy` is rebuilt from these alone, with plain torch and without the library that
trained it, and acts exactly as the trained model did.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationError,
)
from torch import Tensor, nn

from sixgym.agents import weights
from sixgym.agents.algorithms import Activation
from sixgym.agents.hybrid import COMPONENT_MASK, REGION_MASK, flat_action, hybrid_of, hybrid_sizes
from sixgym.agents.sharing import Sharing
from sixgym.envs.core.errors import PolicyError, SixgymError

if TYPE_CHECKING:
    from sixgym.agents.team.player import TeamPlayer
    from sixgym.envs.core.system import System

    AnyPolicy: TypeAlias = "NeuralPolicy | TeamPlayer"

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}
"""Activations by the name that configurations and cards use."""

OF_THE_ROWS = ("max_episode_steps", "compile")
"""Arguments of an environment that say nothing of its system, hence of its spaces."""

LOG_STD_RANGE = (-20.0, 2.0)
"""Bounds of a squashed Gaussian's log deviation, those of SAC and TQC in Stable-Baselines3."""

Head = Literal["distribution", "q", "squashed", "deterministic", "hybrid"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Recurrence(_Strict):
    """An LSTM before the hidden layers."""

    hidden_size: int = Field(ge=1)
    layers: int = Field(ge=1)


class Architecture(_Strict):
    """Everything about a network that is not a weight.

    ``head``: what the last layer's numbers are: parameters of a distribution (categorical logits or
    Gaussian means), action values, mean and deviation of a tanh-squashed Gaussian, the action
    itself through a tanh, or logits of a choice and of some numbers (see `sixgym.agents.hybrid`).
    """

    hidden: list[Annotated[int, Field(ge=1)]]
    activation: Activation
    head: Head
    recurrence: Recurrence | None = None
    masked: bool = False


class TeamArchitecture(_Strict):
    """The network of a team, see `sixgym.agents.team`: its name, and the sizes that make it."""

    net: str
    sizes: dict[str, JsonValue] = {}


def _kind_of(architecture: Any) -> str:
    """Whether this is a team's, whose network has a name."""
    named = isinstance(architecture, TeamArchitecture) or (
        isinstance(architecture, dict) and "net" in architecture
    )
    return "team" if named else "mlp"


class Normalization(_Strict):
    """Constants of the observation's normalisation; its mean and variance are among the tensors."""

    clip: float = Field(gt=0)
    epsilon: float = Field(gt=0)


class Card(_Strict):
    """What is known of a policy besides its weights."""

    format: Literal["sixgym policy 1"] = "sixgym policy 1"
    env: str
    env_kwargs: dict[str, JsonValue] = {}
    observation_space: dict[str, JsonValue]
    action_space: dict[str, JsonValue]
    architecture: Annotated[
        Annotated[Architecture, Tag("mlp")] | Annotated[TeamArchitecture, Tag("team")],
        Discriminator(_kind_of),
    ]
    normalization: Normalization | None = None
    seats: int | None = Field(None, ge=1)
    """Agents of a game that share the policy, each by its own observation; None: one agent."""
    sha256: str
    """Of the safetensors file beside the card."""
    about: dict[str, JsonValue] = {}
    """Where it comes from: algorithm, configuration, seed, steps, scores, versions, commit."""


class Spaces(NamedTuple):
    """What an agent sees and does."""

    observation: gym.Space[Any]
    action: gym.Space[Any]


def describe(space: gym.Space[Any]) -> dict[str, JsonValue]:
    """Kind, shape and size of a space as plain data, to compare with the environment's own.

    Raises:
        PolicyError: the space is of a kind that no exported policy handles.
    """
    if isinstance(space, spaces.Dict):
        return {"kind": "Dict", "spaces": {k: describe(s) for k, s in space.items()}}
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"kind": "MultiDiscrete", "nvec": space.nvec.tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "MultiBinary", "shape": list(space.shape)}
    if isinstance(space, spaces.Box):
        return {"kind": "Box", "shape": list(space.shape), "dtype": str(space.dtype)}
    raise PolicyError(f"space={space}: allowed: Box, Discrete, MultiDiscrete, MultiBinary, Dict")


class NeuralPolicy(nn.Module):
    """A multi-layer perceptron, after an LSTM if the card says so, and what its output means.

    Args:
        architecture: layers, activation and head.
        observation_space: Box, Discrete, or a Dict of these, of one row.
        action_space: of one row.
        normalization: constants of the normalisation; its statistics are buffers.
        sharing: agents of a game that share the policy; the spaces are then those of one of them.
        name: what tables and error messages call it.
    """

    def __init__(
        self,
        architecture: Architecture,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        *,
        normalization: Normalization | None = None,
        sharing: Sharing | None = None,
        name: str = "policy",
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.observation_space = observation_space
        self.action_space = action_space
        self.normalization = normalization
        self.sharing = sharing
        self.name = name
        self.card: Card | None = None
        self._noise = torch.Generator().manual_seed(0)
        width = sum(_width(s) for _, s in _parts(observation_space))
        recurrence = architecture.recurrence
        if recurrence is not None:
            self.lstm = nn.LSTM(width, recurrence.hidden_size, recurrence.layers)
            width = recurrence.hidden_size
        layers: list[nn.Module] = []
        for size in architecture.hidden:
            layers += [nn.Linear(width, size), ACTIVATIONS[architecture.activation]()]
            width = size
        self.hidden = nn.Sequential(*layers)
        outputs = _outputs(action_space, masked=architecture.masked)
        self.head = nn.Linear(width, outputs)
        if architecture.head == "squashed":
            self.log_std_head = nn.Linear(width, outputs)
        elif architecture.head == "hybrid":
            numbers = hybrid_sizes(observation_space, action_space)[1]
            self.log_std = nn.Parameter(torch.zeros(numbers))
        elif architecture.head == "distribution" and isinstance(action_space, spaces.Box):
            self.log_std = nn.Parameter(torch.zeros(outputs))
        if normalization is not None:
            for key, space in _parts(observation_space):
                for moment in ("mean", "var"):
                    zeros = torch.zeros(space.shape or (), dtype=torch.float64)
                    self.register_buffer(f"observation_{moment}{key and '_' + key}", zeros)
        self.requires_grad_(False)

    @property
    def seats(self) -> int | None:
        """Agents of a game that share it; None: one agent."""
        return None if self.sharing is None else self.sharing.seats

    def space_cards(self) -> tuple[dict[str, JsonValue], dict[str, JsonValue]]:
        """What it sees and does, as plain data."""
        return describe(self.observation_space), describe(self.action_space)

    def seed(self, seed: int) -> None:
        """Seed the samples of ``predict(..., deterministic=False)``."""
        self._noise.manual_seed(seed)

    @torch.no_grad()
    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
        action_masks: Any = None,
    ) -> tuple[NDArray[Any], Any]:
        """Actions of a batch of observations (or of a single one), as Stable-Baselines3 has it.

        Args:
            observation: (rows, *shape) array or a dictionary of them.
            state: (hidden, cell) of a recurrent policy, each (layers, rows, size); None at first.
            episode_start: (rows,) bool, true where the memory is to be forgotten.
            deterministic: the best action; otherwise a sample.
            action_masks: (rows, choices) bool of the allowed choices, for a masked policy.

        Where agents share the policy, observations and actions are those of all of them in the
        game's layout, and masks those of all in a row.

        Returns:
            Actions (rows, *shape) within the action space, and the new memory.

        Raises:
            PolicyError: not the observations of as many agents as share the policy.
        """
        if self.sharing is None:
            return self._predict(observation, state, episode_start, deterministic, action_masks)
        is_batch = self.sharing.is_batch(observation)
        seen, seats = self.sharing.split(observation), self.sharing.seats
        start = None if episode_start is None else np.repeat(np.asarray(episode_start), seats)
        masks = None
        if action_masks is not None:
            given = np.asarray(action_masks)
            masks = given.reshape(-1, given.shape[-1] // seats)
        actions, state = self._predict(seen, state, start, deterministic, masks)
        return self.sharing.join(actions, is_batch=is_batch), state

    def _predict(
        self, observation: Any, state: Any, episode_start: Any, deterministic: bool, masks: Any
    ) -> tuple[NDArray[Any], Any]:
        """`predict` for one agent a row."""
        features, batched = self._features(observation)
        if self.architecture.recurrence is not None:
            features, state = self._recall(features, state, episode_start)
        latent = self.hidden(features)
        if self.architecture.head == "hybrid":
            actions = self._act_in_parts(self.head(latent), observation, deterministic)
        else:
            actions = self._act(latent, deterministic, masks)
        return (actions if batched else actions[0]), state

    def features(self, observation: Any) -> Tensor:
        """(rows, width) float32 of a batch of observations (of one agent), as the layers see it."""
        return self._features(observation)[0]

    @property
    def choice_sizes(self) -> list[int]:
        """How many options each choice of a discrete action has; a switch has two.

        Raises:
            PolicyError: the actions are not discrete.
        """
        return _choices(self.action_space)

    def _features(self, observation: Any) -> tuple[Tensor, bool]:
        """Flat float32 features (rows, width), and whether the observation had a row axis."""
        flat, batched = [], True
        for key, space in _parts(self.observation_space):
            part = np.asarray(observation[key] if key else observation)
            shape = space.shape or ()
            batched = part.ndim > len(shape)
            part = part.reshape(-1, *shape)
            if self.normalization is not None:
                part = self._normalized(part, key)
            tensor = torch.as_tensor(part)
            if isinstance(space, spaces.Discrete):
                tensor = nn.functional.one_hot(tensor.long() - int(space.start), int(space.n))
            flat.append(tensor.float().flatten(start_dim=1))
        return (flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)), batched

    def _normalized(self, part: NDArray[Any], key: str) -> NDArray[np.float32]:
        """VecNormalize's formula, in its order and precision."""
        assert self.normalization is not None
        suffix = key and "_" + key
        mean = self.get_buffer(f"observation_mean{suffix}").numpy()
        var = self.get_buffer(f"observation_var{suffix}").numpy()
        limit, epsilon = self.normalization.clip, self.normalization.epsilon
        scaled: NDArray[Any] = np.clip((part - mean) / np.sqrt(var + epsilon), -limit, limit)
        return scaled.astype(np.float32)

    def _recall(self, features: Tensor, state: Any, episode_start: Any) -> tuple[Tensor, Any]:
        recurrence = self.architecture.recurrence
        assert recurrence is not None
        rows = features.shape[0]
        if state is None:
            zeros = torch.zeros(recurrence.layers, rows, recurrence.hidden_size)
            memory = (zeros, zeros)
        else:
            hidden, cell = (torch.as_tensor(s, dtype=torch.float32) for s in state)
            memory = (hidden, cell)
        if episode_start is not None:
            keep = 1.0 - torch.as_tensor(episode_start, dtype=torch.float32).view(1, rows, 1)
            memory = (keep * memory[0], keep * memory[1])
        output, memory = self.lstm(features[None], memory)
        return output[0], tuple(s.numpy() for s in memory)

    def _act(self, latent: Tensor, deterministic: bool, masks: Any) -> NDArray[Any]:
        space, kind = self.action_space, self.architecture.head
        output = self.head(latent)
        if isinstance(space, spaces.Box):
            return self._act_in_box(space, latent, output, deterministic)
        if kind == "q":
            choice = output.argmax(dim=1)
        elif isinstance(space, spaces.MultiBinary) and not self.architecture.masked:
            choice = self._switch(output, deterministic)
        else:
            choice = self._choose(output, deterministic, masks)
        actions: NDArray[Any] = choice.numpy().reshape(-1, *(space.shape or ()))
        return actions

    def _choose(self, logits: Tensor, deterministic: bool, masks: Any) -> Tensor:
        """Categorical choices: (rows,) or (rows, factors)."""
        sizes = _choices(self.action_space)
        if masks is not None and self.architecture.masked:
            allowed = torch.as_tensor(masks, dtype=torch.bool).reshape(logits.shape)
            logits = torch.where(allowed, logits, torch.tensor(-1e8))
        chosen = []
        for part in logits.split(sizes, dim=1):
            chance = torch.distributions.Categorical(logits=part).probs
            if deterministic:
                chosen.append(chance.argmax(dim=1))
            else:
                chosen.append(torch.multinomial(chance, 1, generator=self._noise)[:, 0])
        return torch.stack(chosen, dim=1)

    def _switch(self, logits: Tensor, deterministic: bool) -> Tensor:
        """Switches that are on with the logits' probabilities: (rows, switches) of 0.0 and 1.0."""
        chance = torch.sigmoid(logits)
        if deterministic:
            return torch.round(chance)
        return (torch.rand(chance.shape, generator=self._noise) < chance).to(chance.dtype)

    def _act_in_box(
        self, space: spaces.Box, latent: Tensor, output: Tensor, deterministic: bool
    ) -> NDArray[Any]:
        kind = self.architecture.head
        if kind == "deterministic":
            return _unscaled(torch.tanh(output), space)
        if kind == "squashed":
            if not deterministic:
                output = output + self._gauss(self.log_std_head(latent).clamp(*LOG_STD_RANGE).exp())
            return _unscaled(torch.tanh(output), space)
        if not deterministic:
            output = output + self._gauss(self.log_std.exp().expand_as(output))
        actions = output.numpy().reshape(-1, *space.shape)
        return np.asarray(np.clip(actions, space.low, space.high))

    def _act_in_parts(self, output: Tensor, observation: Any, deterministic: bool) -> NDArray[Any]:
        """Flat actions of a choice and some numbers, by the masks that are seen."""
        rows = len(output)
        allowed, counts = (
            torch.as_tensor(np.asarray(observation[key]), dtype=torch.float32).reshape(rows, -1)
            for key in (REGION_MASK, COMPONENT_MASK)
        )
        n = allowed.shape[1]
        found = hybrid_of(output[:, :n], output[:, n:], self.log_std, allowed, counts)
        if deterministic:  # the same every time: of choices that tie the first
            uniform = torch.zeros_like(counts)
        else:
            uniform = torch.rand(counts.shape, generator=self._noise)
        actions: NDArray[Any] = flat_action(*found.pick(uniform, deterministic), n).numpy()
        return actions

    def _gauss(self, deviation: Tensor) -> Tensor:
        return deviation * torch.randn(deviation.shape, generator=self._noise)


def _unscaled(squashed: Tensor, space: spaces.Box) -> NDArray[Any]:
    """From [-1, 1] to the bounds of the space."""
    unit = squashed.numpy().reshape(-1, *space.shape)
    actions = space.low + (0.5 * (unit + 1.0) * (space.high - space.low))
    return np.asarray(actions)


def _parts(space: gym.Space[Any]) -> list[tuple[str, gym.Space[Any]]]:
    """The plain spaces of an observation, with their keys ("" for a space that is no Dict)."""
    return list(space.items()) if isinstance(space, spaces.Dict) else [("", space)]


def _width(space: gym.Space[Any]) -> int:
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.Box):
        return int(np.prod(space.shape))
    raise PolicyError(f"observation space {space}: allowed: Box, Discrete, or a Dict of these")


def _choices(space: gym.Space[Any]) -> list[int]:
    """Sizes of the choices of a discrete action space; a switch is a choice of off and on."""
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        return [int(n) for n in np.ravel(space.nvec)]
    if isinstance(space, spaces.MultiBinary):
        return [2] * int(np.prod(space.shape))
    raise PolicyError(f"action space {space}: allowed: Box, Discrete, MultiDiscrete, MultiBinary")


def _outputs(space: gym.Space[Any], *, masked: bool) -> int:
    """Numbers that the last layer yields for an action space.

    A switch has one logit, and two where actions are masked, as in sb3-contrib.
    """
    if isinstance(space, spaces.Box) or (isinstance(space, spaces.MultiBinary) and not masked):
        return int(np.prod(space.shape))
    return sum(_choices(space))


def save_policy(
    policy: AnyPolicy,
    path: str | Path,
    *,
    env: str,
    env_kwargs: dict[str, Any] | None = None,
    about: dict[str, Any] | None = None,
) -> Path:
    """Write ``<path>.safetensors`` and the card ``<path>.json``.

    Args:
        policy: what to write.
        path: with or without one of the two endings.
        env: id of the environment that gives the spaces.
        env_kwargs: its arguments.
        about: origin, as plain data.

    Returns:
        The path of the weights.
    """
    data, sha256 = weights.packed(policy)
    seen, moved = policy.space_cards()
    card = Card(
        env=env,
        env_kwargs=env_kwargs or {},
        observation_space=seen,
        action_space=moved,
        architecture=policy.architecture,
        normalization=policy.normalization,
        seats=policy.seats,
        sha256=sha256,
        about=about or {},
    )
    return weights.write(path, data, card)


def load_policy(
    path: str | Path,
    *,
    observation_space: gym.Space[Any] | None = None,
    action_space: gym.Space[Any] | None = None,
    system: System[Any, Any] | None = None,
) -> AnyPolicy:
    """Build a policy from its weights and card; nothing in either is executed.

    Args:
        path: the weights, the card, their common stem, or the folder of a run of one seed (whose
            best policy is taken).
        observation_space: of one row, or of one agent where some share the policy; None asks the
            system.
        action_space: likewise.
        system: what is to be played; None makes that of the card's environment.

    Raises:
        PolicyError: a file is missing, truncated or altered, or the policy is for other spaces.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "policies" / "best"
    file, card_path = weights.pair(path)
    card = read_card(card_path)
    data = weights.read(file, card_path, card.sha256)
    name = str(card.about.get("name", card_path.stem))
    policy: AnyPolicy
    if isinstance(card.architecture, TeamArchitecture):
        from sixgym.agents.team.player import TeamPlayer

        played = _system_of(card, card_path) if system is None else system
        policy = TeamPlayer(card.architecture, played, name=name)
    else:
        sharing = None
        if observation_space is None or action_space is None or card.seats is not None:
            played = _system_of(card, card_path) if system is None else system
            sharing = None if card.seats is None else Sharing(played, card.seats)
            made = acting_spaces(played, sharing)
            observation_space = observation_space or made.observation
            action_space = action_space or made.action
        for field, space in (("observation", observation_space), ("action", action_space)):
            known, own = getattr(card, f"{field}_space"), describe(space)
            if known != own:
                raise PolicyError(f"{card_path}: {field} space {known}; {card.env} has {own}")
        policy = NeuralPolicy(
            card.architecture,
            observation_space,
            action_space,
            normalization=card.normalization,
            sharing=sharing,
            name=name,
        )
    weights.fill(policy, data, file)
    policy.card = card
    return policy


def read_card(path: Path) -> Card:
    """The card of a policy.

    Raises:
        PolicyError: missing, not JSON, or a field is wrong.
    """
    if not path.is_file():
        raise PolicyError(f"{path}: no such policy")
    try:
        return Card.model_validate_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise PolicyError(f"{path}: not a policy card: not text") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # The kind of architecture that was read it as is no field of the file.
        loc = [k for i, k in enumerate(first["loc"]) if (i, k) not in ((1, "mlp"), (1, "team"))]
        where = ".".join(map(str, loc)) or "file"
        raise PolicyError(f"{path}: not a policy card: {where}: {first['msg']}") from None


def acting_spaces(system: System[Any, Any], sharing: Sharing | None) -> Spaces:
    """The spaces in which a policy acts: of the system, or of one agent where some share it.

    Args:
        system: the policy's environment.
        sharing: its agents, if they share the policy.
    """
    if sharing is None:
        return Spaces(system.observation_space, system.action_space)
    return Spaces(sharing.group.observation_space, sharing.group.action_space)


def _system_of(card: Card, path: Path) -> System[Any, Any]:
    import sixgym  # noqa: F401 - registers the environments
    from sixgym.envs.core.make import make_system
    from sixgym.envs.core.registry import entry

    kwargs: dict[str, Any] = {k: v for k, v in card.env_kwargs.items() if k not in OF_THE_ROWS}
    try:
        return make_system(entry(card.env).system, **kwargs)
    except (SixgymError, TypeError) as error:
        raise PolicyError(f"{path}: its environment cannot be made: {error}") from None
