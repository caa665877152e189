"""The rights of commands on a host: root runs each command of a batch, but the SSH user runs those with `as_user`.

sudo has to grant one right, to root's shell. `Command.as_user` of `remote/plan.py` says which commands are the user's;
docs/security.md lists the programs.
"""

from __future__ import annotations

SHELL = "sudo -n sh -s"
"""The shell that reads batches; sudo has to grant this one right."""

USERS_SHELL = 'setpriv --reuid="$SUDO_UID" --regid="$SUDO_GID" --init-groups -- sh -s'
"""The shell in that one which runs the commands of the SSH user, without any right of root."""
