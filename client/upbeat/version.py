"""The version of the installed package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("upbeat")
    except PackageNotFoundError:  # Run from a checkout that is not installed.
        return "0.0.0"


__version__ = _installed()
SDK_VERSION = f"upbeat-python/{__version__}"
