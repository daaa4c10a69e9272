"""The Sealdesk server: relays and stores ciphertext, and never holds a key that opens any of it.

Owns: HTTP routes, the stream, the ordering of every chat's log, the tables, the embedded PostgreSQL. Of our own
packages it imports `protocol` (what crosses the wire) and `crypto.public` (what a server may check), nothing else.
"""
