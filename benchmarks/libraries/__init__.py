"""Ours and the libraries that it is measured beside, all behind one interface.

`ours` is Sealdesk itself; the other modules adapt the peers that PyPI has. A peer that this machine or Python has no
package of is left out.

Everything is measured on one thread: mls-rs would verify a tree's leaves in a pool with a thread for each core (rayon),
and whoever serves many groups has other work for those.
"""

from __future__ import annotations

import os

from benchmarks.libraries import mls_rs, openmls, rfc9420, rine_mls
from benchmarks.libraries.interface import Library


def installed_peers() -> list[Library]:
    """The peers that can be imported here."""
    os.environ["RAYON_NUM_THREADS"] = "1"  # read when the pool is made, at its first use
    loaded = (module.load() for module in (mls_rs, rine_mls, openmls, rfc9420))
    return [library for library in loaded if library is not None]
