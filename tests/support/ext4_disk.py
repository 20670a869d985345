"""An ext4 file system of our own on a loop file, whose power can be cut.

The cut is the file system's own shutdown: from then on nothing reaches the disk, what was not
synced is gone, and the next mount finds what a machine would find after its plug was pulled.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = struct.pack("I", 2)
TOOLS = ("losetup", "mkfs.ext4", "mount", "umount")


class Ext4Disk:
    """Mounted at ``place`` from construction until ``remove``."""

    def __init__(self, image: Path, place: Path) -> None:
        self.place = place
        self._image = image
        self.mount()

    def mount(self) -> None:
        """Plug it in."""
        command = ["mount", "-o", "loop", str(self._image), str(self.place)]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"an ext4 file cannot be mounted here: {mounted.stderr.strip()}")

    def cut_power(self) -> None:
        """Nothing reaches the disk any more, not even the journal that is in memory."""
        folder = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(folder)

    def restore_power(self) -> None:
        """Mount it again as the cut left it. Nobody may have a file open on it."""
        self.remove()
        if self._is_held():
            # A copy shows the same disk: since the cut nothing has reached it.
            copy = self._image.with_name(f"next-{self._image.name}")
            subprocess.run(["cp", "--sparse=always", str(self._image), str(copy)], check=True)
            self._image.unlink()
            self._image = copy
        self.mount()

    def _is_held(self) -> bool:
        """Whether the file system lives on: who made a mount namespace meanwhile has a mount of its own."""
        command = ["losetup", "--associated", str(self._image)]
        return bool(subprocess.run(command, capture_output=True, check=True).stdout)

    def remove(self) -> None:
        """Unplug it."""
        subprocess.run(["umount", str(self.place)], check=True)


@contextmanager
def ext4_disk(folder: Path, size_mib: int = 256) -> Iterator[Ext4Disk]:
    """A new file system below a folder. Skips the test where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("mounting an ext4 file needs root")
    if missing := [
        tool for tool in TOOLS if shutil.which(tool, path=f"{os.defpath}:/sbin:/usr/sbin") is None
    ]:
        pytest.skip(f"{' and '.join(missing)} missing: install e2fsprogs, mount and util-linux")
    image, place = folder / "disk.img", folder / "disk"
    with image.open("wb") as file:
        file.truncate(size_mib << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    place.mkdir()
    disk = Ext4Disk(image, place)
    try:
        yield disk
    finally:
        disk.remove()
