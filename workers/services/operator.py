"""The person at this machine, for the record of what is decided there."""

from __future__ import annotations

import getpass


def current_user() -> str:
    """Return the name of the user of this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return "unknown"
