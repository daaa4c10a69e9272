"""Programs to read: a bot, and the demo that `make demo` runs."""
