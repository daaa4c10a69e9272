"""Mutation testing of the rules: a check is taken away or weakened, and a test must turn red. See `python -m tests.mutation --help`."""
