"""`python -m sealdesk_cli` is `sealdesk`."""

from __future__ import annotations

import sys

from sealdesk_cli import main

if __name__ == "__main__":
    sys.exit(main())
