"""The command ``upbeat``, also as ``python -m upbeat``.

Apart from the command line itself, so that an installation of the SDK alone says
what is missing instead of showing a traceback.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say how to install it."""
    try:
        from upbeat.cli.main import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"grpc_health", "rich", "typer"}:
            raise
        sys.exit(f"upbeat: the command line needs {error.name}; install it with: pip install 'upbeat[cli]'")
    run()


if __name__ == "__main__":
    main()
