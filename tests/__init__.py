"""The tests: published vectors first, then properties, then attacks."""
