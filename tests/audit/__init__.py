"""The auditor's kit: what the tests have shown, counted. `make audit` makes it."""
