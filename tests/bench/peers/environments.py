"""Virtual environments of the peers: made once, made anew when a pin changes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.peers.pins import Peer

INSTALL_S_MAX = 900.0


class Uninstallable(Exception):
    """The environment of a peer could not be made; the message is the last line of what pip or venv said."""


def last_line(text: str) -> str:
    """The last line with something in it, without the frame that Python draws around errors in groups."""
    said = (line.strip(" |") for line in reversed(text.splitlines()))
    return next((line for line in said if line.strip("+-")), "")


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=INSTALL_S_MAX,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Uninstallable(str(error)) from error
    if done.returncode:
        raise Uninstallable(last_line(done.stderr) or f"{command[0]} ended with {done.returncode}")


def python_of(peer: Peer, folder: Path) -> Path:
    """The Python that has the peer installed, below ``folder``. Raises Uninstallable."""
    home = (folder / peer.environment).absolute()
    python, stamp = home / "bin" / "python", home / "requirements.txt"
    wanted = "".join(f"{requirement}\n" for requirement in peer.requirements)
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(home, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(home)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *peer.requirements])
    stamp.write_text(wanted)  # Last: an environment without it is made anew.
    return python
