"""What RFC 9420 leaves to the application: wire formats and the limits on a leaf's lifetime."""

from __future__ import annotations

from dataclasses import dataclass

HOUR_S = 3600
DAY_S = 24 * HOUR_S


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """How this client behaves in a group. It is not part of the group's state: members may differ in it."""

    send_public_handshakes: bool = False
    """Send proposals and commits as PublicMessage, for a delivery service that must read them."""
    accept_public_handshakes: bool = False
    """Accept proposals and commits that come as PublicMessage (§6 recommends PrivateMessage)."""
    lifetime_max_s: int = 366 * DAY_S
    """The longest total lifetime of a leaf (§7.2: "Applications MUST define a maximum")."""
    send_tolerance_s: int = HOUR_S
    """How wrong our clock may be when we add someone."""
    receive_tolerance_s: int = 90 * DAY_S
    """How late we may read an Add. A member that was away must come to the same verdict as those who were not."""
    join_tolerance_s: int = 366 * DAY_S
    """How long a leaf in the tree of a group that we join may have been expired: a silent member blocks nobody."""


DEFAULT_CONFIG = GroupConfig()
