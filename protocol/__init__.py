"""Everything that crosses the wire between a Sealdesk client and a Sealdesk server, declared once for both.

Owns: the HTTP bodies (`api`), the stream's frames (`frames`), the stable error codes (`codes`) and the sizes that both
sides must agree on (`limits`). Does not own: what the bytes inside mean. Messages, certificates and key packages are
opaque `bytes` here; `crypto` gives them a meaning.

Invariants: every struct is frozen and refuses unknown fields; every `bytes` and every list has a ceiling.
"""
