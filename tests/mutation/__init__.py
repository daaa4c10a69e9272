"""Mutation testing: each check is taken away or weakened in turn, and a test must turn red."""
