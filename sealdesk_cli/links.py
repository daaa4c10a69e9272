"""Invitation links: `https://chat.example.org/#k5f6…`, the server's public URL, then `/#`, then the code.

A code stands behind the `#` because browsers and link previews send nothing of what follows it to the server: pasted
anywhere, the code stays out of its log. What stands before is the public URL exactly, as session signatures cover it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from protocol.invitations import format_invitation, parse_invitation
from sealdesk_cli.errors import CommandError, Exit

_LINK = re.compile(r"(https?://[!-~]+)/#([a-z2-7]+)")
_SHAPE = "an invitation link looks like https://HOST/#CODE: copy the whole line that `sealdesk invite` printed"


@dataclass(frozen=True, slots=True)
class Invitation:
    """A server's public URL, without a slash at its end, and a code, 16 bytes, that lets one account register."""

    server_url: str
    code: bytes = field(repr=False)


def format_link(invitation: Invitation) -> str:
    """The link, to be pasted."""
    return f"{invitation.server_url}/#{format_invitation(invitation.code)}"


def parse_link(text: str) -> Invitation:
    """Read a link. Raises CommandError for anything that `format_link` does not make, save space around it."""
    found = _LINK.fullmatch(text.strip())
    if found is None or "#" in found[1] or found[1].endswith("/"):
        raise CommandError(_SHAPE, Exit.USAGE)
    try:
        invitation = Invitation(found[1], parse_invitation(found[2]))
    except ValueError as error:
        raise CommandError(f"the invitation link is not whole: {error}", Exit.USAGE) from error
    if format_link(invitation) != text.strip():  # the last character has two bits to spare: a code has one spelling
        raise CommandError(_SHAPE, Exit.USAGE)
    return invitation
