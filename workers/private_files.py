"""The data folder is for the operator alone: 0700, and everything in it 0600 or 0700, whatever the umask."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.disk import set_mode

if TYPE_CHECKING:
    from workers.settings import Settings

log = logging.getLogger(__name__)

#: Taken from every new file: all rights of the group and of others.
UMASK = 0o077


def restrict_new_files() -> None:
    """Let this process and those that it starts create files and folders that only their owner can open."""
    os.umask(UMASK)


def restrict_data_folder(settings: Settings, deep: bool) -> int:
    """Take the rights of the group and of others from the data folder; return how many files and folders had some.

    Args:
        deep: everything in it as well. Of a tray, only what Mailroom put there: a file that somebody dropped may be a
            hard link to one elsewhere, whose permissions are not ours to change.
    """
    home = settings.home
    home.mkdir(parents=True, exist_ok=True)
    if home in (Path("/"), Path.home()) or home.stat().st_mode & stat.S_ISVTX:
        log.warning("%s is shared with other files: its permissions stay. Use a data folder of its own", home)
        return 0
    trays = {settings.tray_path(folder) for folder in settings.tray.folders}
    count = sum(map(_restrict, (home, *_contents(home, trays)) if deep else (home,)))
    if count:
        log.warning("%d files and folders of %s were open to others; now only their owner can read them", count, home)
    return count


def _contents(home: Path, trays: set[Path]) -> Iterator[Path]:
    for folder, folders, names in os.walk(home):
        place = Path(folder)
        if place in trays:
            folders[:] = [name for name in folders if name in (".claim", "failed")]
            names = []
        yield from (place / name for name in (*folders, *names))


def _restrict(path: Path) -> bool:
    """Take others' rights from a file or folder of ours; return whether it had any."""
    try:
        mode = path.lstat().st_mode
    except OSError:  # it is gone
        return False
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or not mode & UMASK:
        return False
    if not set_mode(path, stat.S_IMODE(mode) & 0o700):
        log.warning("the permissions of %s cannot be changed: it belongs to another user", path)
        return False
    return True
