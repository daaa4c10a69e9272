"""MLS 1.0 (RFC 9420), one module per chapter."""
