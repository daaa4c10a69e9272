"""Our client in live groups with implementations of RFC 9420 that others wrote."""
