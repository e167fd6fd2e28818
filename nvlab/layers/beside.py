# SPDX-License-Identifier: GPL-2.0-or-later
"""Fields that name a file beside the scenario: a profile, what a drive held."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nvlab.layers.fields import Marker
from nvlab.medium import Profile, load_profile


@dataclass
class Files:
    """Where the files are that a scenario names: relative to its own, or ``given`` by name instead. ``named``: those it names."""

    directory: Path = Path()
    given: Mapping[str, Path] = field(default_factory=dict)
    named: dict[str, Path] = field(default_factory=dict)

    def find(self, name: str) -> Path:
        path = self.given.get(name) or (self.directory / name).resolve()
        self.named[name] = path
        return path


class Beside(Marker):
    """Names a file: whoever validates gives as the context where those are."""

    def read(self, value: Any, files: Files | None = None) -> Any:
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        read = lambda value, info: self.read(value, info.context)  # noqa: E731
        return {"type": "function-plain", "function": {"type": "with-info", "function": read}}


@dataclass(frozen=True)
class ProfileOf(Beside):
    """One of the ``known`` profiles by its name, or the file of another one (mine.toml), read as a Profile."""

    known: Mapping[str, Profile]

    def read(self, value: Any, files: Files | None = None) -> Profile:
        if isinstance(value, str) and value in self.known:
            return self.known[value]
        names = f"{', '.join(self.known)}, or the file of a profile of your own, like mine.toml"
        if not isinstance(value, str) or not re.fullmatch(r"([^\0]*/)?[\w.+-]+\.toml", value):
            raise ValueError(f"{value!r} is not one of: {names}")
        try:
            return load_profile((files or Files()).find(value))
        except OSError as error:
            raise ValueError(f"cannot read the profile {value!r}: {error.strerror}") from None

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"enum": list(self.known)}, {"type": "string", "pattern": r"\.toml$"}]}


@dataclass(frozen=True)
class FileOf(Beside):
    """A file that is there, as an absolute path. ``what`` it is, for the message."""

    what: str

    def read(self, value: Any, files: Files | None = None) -> str:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError(f"{value!r} is not the name of a file: {self.what}")
        path = (files or Files()).find(value)
        if not path.is_file():
            raise ValueError(f"there is no file {value!r} (looked for {path}): {self.what}")
        return str(path)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}
