"""What auditors review: MLS and everything else that is cryptographic. No I/O, nothing of `backend` or `client_lib`."""
