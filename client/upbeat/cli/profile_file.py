"""Profiles: servers by name, in one TOML file of whoever uses the command line.

``$XDG_CONFIG_HOME/upbeat/config.toml``, else ``~/.config/upbeat/config.toml``; UPBEAT_CLI_CONFIG names
another. A key that nobody knows is an error. A token is better named than held: a file or a variable that
has it. A file that holds one may be read by its owner alone, here as when it is written.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.inputs import usage

ENVIRONMENT_FILE = "UPBEAT_CLI_CONFIG"
ENVIRONMENT_PROFILE = "UPBEAT_PROFILE"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_HEAD = "# Servers by name, written by `upbeat profile`, which keeps no comments but this one.\n"


@dataclass(frozen=True)
class Profile:
    """One server, and as whom. At most one of the three says what the token is."""

    server: str
    namespace: str = ""
    token: str = ""
    token_file: str = ""
    token_env: str = ""
    tls: bool = False
    tls_ca: str = ""

    @property
    def token_source(self) -> str:
        """Where the token comes from, for people; never the token."""
        if self.token:
            return "stored"
        if self.token_file:
            return f"file {self.token_file}"
        return f"${self.token_env}" if self.token_env else ""

    def read_token(self) -> str:
        """The token, "" for none; raises Failure where it is not where the profile says."""
        if self.token_file:
            try:
                return Path(self.token_file).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise usage(f"cannot read the token in {self.token_file}: {_cause(error)}") from None
        if self.token_env:
            token = os.environ.get(self.token_env, "")
            if not token:
                raise usage(f"the profile takes its token from {self.token_env}, which is not set")
            return token
        return self.token

    def faults(self) -> list[str]:
        """What is wrong with it."""
        found = []
        if not self.server:
            found.append("server is missing: write HOST:PORT")
        if sum(map(bool, (self.token, self.token_file, self.token_env))) > 1:
            found.append("token, token_file and token_env exclude each other: give one of them")
        found += [
            f"{name} holds characters that cannot be stored"
            for name, value in asdict(self).items()
            if isinstance(value, str) and not value.isprintable()
        ]
        return found


@dataclass
class Profiles:
    """All of the file. ``current`` is what is used where nothing else is said."""

    path: Path
    current: str = ""
    by_name: dict[str, Profile] = field(default_factory=dict)

    def get(self, name: str) -> Profile:
        """The profile of a name; raises Failure."""
        profile = self.by_name.get(name)
        if profile is None:
            known = ", ".join(sorted(self.by_name)) or "none"
            raise usage(
                f"there is no profile {name!r} in {self.path}; there is {known}",
                "add one with: upbeat profile add NAME --server HOST:PORT",
            )
        return profile

    def write(self) -> None:
        """Put it on disk, whole or not at all, for its owner alone; raises Failure."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=".config-")  # Made with 0600.
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(_text(self))
                Path(name).replace(self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise usage(f"cannot write {self.path}: {_cause(error)}") from None


def check_name(name: str) -> str:
    """The name of a profile, if it can be one; raises Failure."""
    if not _NAME.fullmatch(name):
        raise usage(f"{name!r} is no name of a profile: 1 to 63 characters of [A-Za-z0-9_.-] are expected")
    return name


def profiles_path() -> Path:
    """Where the file is, or would be."""
    if named := os.environ.get(ENVIRONMENT_FILE):
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME", "")
    # The standard says to ignore one that is not absolute.
    folder = Path(home) if home.startswith("/") else Path("~/.config").expanduser()
    return folder / "upbeat" / "config.toml"


def read_profiles() -> Profiles:
    """What the file says; nothing where there is none. Raises Failure for all that is wrong with it."""
    path = profiles_path()
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        is_private = not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    except FileNotFoundError:
        return Profiles(path)
    except OSError as error:
        raise usage(f"cannot read {path}: {_cause(error)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise usage(f"{path} is not TOML: {error}") from None
    found, faults = _read(path, tree)
    if not is_private and any(profile.token for profile in found.by_name.values()):
        faults.append("it holds a token and others may read it: chmod 600 it, or use token_file")
    if faults:
        raise Failure(ExitCode.USAGE, "\n".join(f"{path}: {fault}" for fault in faults))
    return found


def _read(path: Path, tree: dict[str, Any]) -> tuple[Profiles, list[str]]:
    faults = [
        f"{key}: there is no such key; known are profile and profiles" for key in tree if key not in _TOP
    ]
    found = Profiles(path, _typed(tree, "profile", str, faults))
    tables = _typed(tree, "profiles", dict, faults)
    for name, table in tables.items():
        where = f"profiles.{name}"
        if not _NAME.fullmatch(name) or not isinstance(table, dict):
            faults.append(f"{where}: a table under a name of [A-Za-z0-9_.-] is expected")
            continue
        kinds = {item.name: bool if item.name == "tls" else str for item in fields(Profile)}
        faults += [
            f"{where}.{key}: there is no such key; known are {', '.join(kinds)}"
            for key in table
            if key not in kinds
        ]
        values = {key: _typed(table, key, kind, faults, f"{where}.") for key, kind in kinds.items()}
        profile = Profile(**values)
        faults += [f"{where}: {fault}" for fault in profile.faults()]
        found.by_name[name] = profile
    if found.current and found.current not in tables:
        faults.append(f"profile = {json.dumps(found.current)}: there is no such profile")
    return found, faults


_TOP = ("profile", "profiles")


def _typed(table: dict[str, Any], key: str, kind: type, faults: list[str], prefix: str = "") -> Any:
    value = table.get(key, kind())
    if isinstance(value, kind):
        return value
    words = {str: "a text", bool: "true or false", dict: "a table"}[kind]
    faults.append(f"{prefix}{key}: {words} is expected")
    return kind()


def _text(profiles: Profiles) -> str:
    lines = [_HEAD]
    if profiles.current:
        lines.append(f"profile = {_toml(profiles.current)}\n")
    for name, profile in sorted(profiles.by_name.items()):
        lines.append(f"\n[profiles.{_toml(name) if '.' in name else name}]\n")
        lines += [f"{key} = {_toml(value)}\n" for key, value in asdict(profile).items() if value]
    return "".join(lines)


def _toml(value: str | bool) -> str:
    return json.dumps(value, ensure_ascii=False)  # Of printable texts and booleans, TOML has the same form.


def _cause(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
