"""The one exception a user is meant to see."""

from __future__ import annotations


class SameLoopError(Exception):
    """Something the user can put right: one line saying what is wrong and what to do. Exit status 2.

    Without a text, the user has been told already and only the exit status is left to set.
    """

    exit_status = 2
