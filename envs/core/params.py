"""Parameters of a system: typed, ranged, with unit and source, and a readable error for a typo."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, NamedTuple, Self, Union, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic.fields import FieldInfo

from sixgym.envs.backend.trace_formats import TraceError
from sixgym.envs.backend.traces import digest_of
from sixgym.envs.core.errors import ParamsError, UnknownIdError

Source = Literal["paper", "notes", "related", "standard", "ours"]
"""Where a number comes from: the system's paper, third-party notes about that paper (its own text
was not seen), a related paper, common usage, or our choice."""


def param(
    default: Any,
    *,
    unit: str,
    source: Source,
    description: str,
    note: str = "",
    later: bool = False,
    **limits: Any,
) -> Any:
    """A field of a `Params` class.

    Args:
        default: the default value.
        unit: SI unit, ``"1"`` for a pure number, ``""`` for a name or a switch.
        source: where the default comes from.
        description: what the field means, one sentence.
        note: what to know of the source (a citation, why we chose it).
        later: the field was added after results of the system had been stored. At its default it
            is left out of the hash, so that those results keep their task.
        **limits: pydantic's ``ge``, ``gt``, ``le``, ``lt``, ``min_length``, ``max_length``.
    """
    extra: dict[str, Any] = {"unit": unit, "source": source, "note": note, "later": later}
    return Field(default, description=description, json_schema_extra=extra, **limits)


class ParamRow(NamedTuple):
    """One line of the parameter table of a system."""

    name: str
    default: Any
    unit: str
    allowed: str
    source: str
    description: str
    note: str


class Params(BaseModel):
    """Base of every system's parameters: frozen, strict, no unknown fields.

    Make one with `create`, which takes a preset's name and overrides and turns pydantic's report
    into one line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}
    _digests: dict[str, str] = PrivateAttr(default_factory=dict)

    def files(self) -> dict[str, tuple[str, ...]]:
        """Paths of the files that the values name, by field.

        The value ends with the path; in a tuple, the string that names the file does.
        """
        return {}

    @property
    def digests(self) -> Mapping[str, str]:
        """SHA-256 of the content of each of `files`, by path, from when `create` was called."""
        return self._digests

    @classmethod
    def create(cls, preset: str | None = None, **values: Any) -> Self:
        """Parameters of a preset with some values replaced.

        Args:
            preset: a name in ``presets``; None is ``"default"``.
            **values: fields to replace.

        Raises:
            UnknownIdError: there is no such preset.
            ParamsError: a field is unknown, of the wrong type or out of range, or there is no file
                of a name.
        """
        name = "default" if preset is None else preset
        if not isinstance(name, str) or name not in cls.presets:
            allowed = ", ".join(sorted(cls.presets))
            raise UnknownIdError(f"preset={preset!r}: unknown; allowed: {allowed}")
        merged = {**cls.presets[name], **{k: _plain(v) for k, v in values.items()}}
        try:
            made = cls(**merged)
        except ValidationError as error:
            raise ParamsError(_one_line(cls, error)) from None
        for field, paths in made.files().items():
            for path in paths:
                made._digests[path] = _digest(field, path)
        return made

    @classmethod
    def table(cls) -> list[ParamRow]:
        """The parameter table: one row a field, in order."""
        return [_row(name, field) for name, field in cls.model_fields.items()]

    def config_hash(self) -> str:
        """SHA-256 (first 16 hex digits) of all values in canonical JSON; names a task's physics.

        Of a file it takes the content, wherever the file lies.
        """
        values = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra.get("later") and values[name] == field.default:
                del values[name]
        for name, paths in self.files().items():
            for path in paths:
                digest = self._digests.get(path) or _digest(name, path)
                values[name] = _with_digest(values[name], path, digest)
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digest(field: str, path: str) -> str:
    try:
        return digest_of(path)
    except TraceError as error:
        why = str(error).removeprefix(f"{path}: ")
        raise ParamsError(f"{field}={path!r}: {why}") from None


def _with_digest(value: Any, path: str, digest: str) -> Any:
    """A value with the digest in place of a path."""
    if isinstance(value, list):
        return [_with_digest(item, path, digest) for item in value]
    if isinstance(value, str) and value.endswith(path):
        return value.removesuffix(path) + f"sha256:{digest}"
    return value


def _plain(value: Any) -> Any:
    """NumPy scalars as Python's and lists as tuples, for a strict model."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | np.ndarray):
        return tuple(_plain(v) for v in value)
    return value


def _one_line(cls: type[Params], error: ValidationError) -> str:
    parts = []
    for item in error.errors(include_url=False):
        name = ".".join(str(p) for p in item["loc"]) or cls.__name__
        field = cls.model_fields.get(str(item["loc"][0])) if item["loc"] else None
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, cls.model_fields, n=3)
            hint = f"did you mean {', '.join(near)}?" if near else f"allowed: {_names(cls)}"
            parts.append(f"{name}={item['input']!r}: no such parameter; {hint}")
        elif field is None:
            parts.append(str(item["msg"]).removeprefix("Value error, "))
        else:
            why = str(item["msg"]).removeprefix("Value error, ")
            parts.append(f"{name}={item['input']!r}: {why}; allowed: {_allowed(field)}")
    return "; ".join(parts)


def _names(cls: type[Params]) -> str:
    return ", ".join(cls.model_fields)


def _allowed(field: FieldInfo) -> str:
    """The type and range of a field, in words."""
    name = _type_name(field.annotation)
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [
        f"{sign} {getattr(limit, key)!r}"
        for key, sign in signs.items()
        for limit in field.metadata
        if getattr(limit, key, None) is not None
    ]
    return " ".join([name, " and ".join(bounds)]).strip()


def _type_name(kind: Any) -> str:
    """An annotation in words: a type, the values of a Literal, the members of a union."""
    origin = get_origin(kind)
    if origin is Literal:
        return ", ".join(repr(v) for v in get_args(kind))
    if origin in (Union, UnionType):
        return " or ".join(_type_name(part) for part in get_args(kind))
    if origin is not None:
        return str(kind)
    return "None" if kind is NoneType else getattr(kind, "__name__", str(kind))


def _row(name: str, field: FieldInfo) -> ParamRow:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return ParamRow(
        name=name,
        default=field.default,
        unit=str(extra.get("unit", "")),
        allowed=_allowed(field),
        source=str(extra.get("source", "")),
        description=field.description or "",
        note=str(extra.get("note", "")),
    )
