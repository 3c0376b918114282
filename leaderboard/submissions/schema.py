"""``submission.yaml``: what a submission says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sixgym.agents.policies import Architecture, Normalization
from sixgym.envs.core.errors import SubmissionError
from sixgym.leaderboard.store import first_fault

MANIFEST = "submission.yaml"
"""The file that says what the others are."""

KINDS = (".safetensors", ".onnx")
"""Endings of weights."""

MOST_LAYERS, WIDEST = 16, 4096
"""Bounds of a network: layers, and units of one of them."""

DEEPEST = 12
"""Levels of nesting in the manifest."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""A plain file name: no folder, no leading dot."""

Text = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""One line for a person."""


class Weights(_Strict):
    """The weights of one training seed.

    ``file``: beside the manifest; ``training_seed`` and ``training_steps``: as they were, if known.
    """

    file: FileName
    training_seed: int | None = Field(None, ge=0, lt=2**62)
    training_steps: int | None = Field(None, ge=0, lt=2**62)


class Submission(_Strict):
    """The content of the manifest.

    Attributes:
        format: name and version of the format.
        name: what the table calls it.
        env: id of the environment it plays.
        author: whom to ask.
        description: one sentence.
        algorithm: what trained it.
        architecture: of the network, for safetensors; see `sixgym.agents.policies.Architecture`.
        normalization: of the observations, where the network has it.
        seats: agents of a game that share the network; None: one controller.
        env_kwargs: how it is connected to the environment: ``observation``, ``action_mode``.
        deterministic: whether it plays its best action; else it is sampled.
        weights: one a training seed, all of one kind.
    """

    format: Literal["sixgym submission 1"]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{1,39}$")
    env: str = Field(max_length=100)
    author: Text
    description: Text
    algorithm: Text = "unknown"
    architecture: Architecture | None = None
    normalization: Normalization | None = None
    seats: int | None = Field(None, ge=1, le=1024)
    env_kwargs: dict[Literal["observation", "action_mode"], str] = Field(default_factory=dict)
    deterministic: bool = True
    weights: list[Weights] = Field(min_length=1, max_length=16)

    @property
    def connection(self) -> dict[str, Any]:
        """`env_kwargs` as the environment takes them."""
        return {str(name): value for name, value in self.env_kwargs.items()}

    @property
    def is_onnx(self) -> bool:
        """Whether the weights are ONNX."""
        return self.weights[0].file.endswith(".onnx")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        files = [w.file for w in self.weights]
        if len(set(files)) != len(files):
            raise ValueError(f"weights: {files}: a file is named twice")
        kinds = {Path(file).suffix for file in files}
        if len(kinds) > 1 or not kinds <= set(KINDS):
            raise ValueError(f"weights: {files}: allowed: all {' or all '.join(KINDS)}")
        if self.is_onnx == (self.architecture is not None):
            raise ValueError("architecture: needed for safetensors, and not allowed for ONNX")
        if self.is_onnx and (self.normalization or self.seats or not self.deterministic):
            raise ValueError(
                "normalization, seats and deterministic=false: allowed for safetensors only"
            )
        if self.architecture is not None:
            _check_size(self.architecture)
        return self


def _check_size(architecture: Architecture) -> None:
    """Raise where a network is larger than any that we play."""
    memory = architecture.recurrence
    layers = len(architecture.hidden) + (memory.layers if memory else 0)
    widest = max([*architecture.hidden, memory.hidden_size if memory else 1])
    if layers > MOST_LAYERS or widest > WIDEST:
        raise ValueError(
            f"architecture: {layers} layers of at most {widest} units; "
            f"allowed: {MOST_LAYERS} of {WIDEST}"
        )


class Received(NamedTuple):
    """A submission that was checked: what it says, and the copies of its files.

    Attributes:
        submission: the manifest.
        folder: of the copies.
        sha256: checksum of each file of weights, by name.
    """

    submission: Submission
    folder: Path
    sha256: dict[str, str]


def read_manifest(text: str) -> Submission:
    """The manifest in a text.

    Raises:
        SubmissionError: not plain YAML, or a field is missing, unknown or wrong.
    """
    try:
        _check_plain(text)
        content: Any = yaml.safe_load(text)
        return Submission.model_validate(content)
    except SubmissionError:
        raise
    except yaml.YAMLError as error:
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise SubmissionError(f"{MANIFEST}: not YAML: {reason}") from None
    except ValidationError as error:
        raise SubmissionError(f"{MANIFEST}: {first_fault(error)}") from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise SubmissionError(f"{MANIFEST}: {error}") from None


def _check_plain(text: str) -> None:
    """Raise where YAML is more than nested lists and mappings of plain values.

    Aliases could make a text of a kilobyte a tree of gigabytes; tags name types of Python; a key
    that stands twice says two things.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise SubmissionError(f"{MANIFEST}: *{event.anchor}: aliases are not allowed")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise SubmissionError(f"{MANIFEST}: {tag}: tags are not allowed")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise SubmissionError(f"{MANIFEST}: nested more than {DEEPEST} deep")
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is not None:
        _check_keys(node)


def _check_keys(node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        keys = [str(key.value) for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise SubmissionError(f"{MANIFEST}: {twice[0]}: stands twice")
        for _, value in node.value:
            _check_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_keys(value)
