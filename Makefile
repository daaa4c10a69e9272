# Every target works on a machine that has Python 3.11 or newer and make; the first one that runs makes .venv.
# Paths are relative on purpose: the folder's own path may contain spaces.

SHELL = /bin/sh
.DEFAULT_GOAL = help
.PHONY: help demo test serve check format bench audit mutants fuzz rules surface lock clean

# The Python that makes .venv. Empty: the first suitable of those below.
PYTHON =
# Arguments for the program that a target runs: make test ARGS="-k stream", make serve ARGS="--port 9000".
ARGS =
# Test processes; each starts its own PostgreSQL.
WORKERS = 2

VENV_PYTHON = .venv/bin/python
INSTALLED = .venv/installed

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' Makefile

demo: $(INSTALLED) ## Run a real conversation on a real server, and search the server for what was said
	@$(VENV_PYTHON) -m examples.demo $(ARGS)

test: $(INSTALLED) ## Run all tests
	@$(VENV_PYTHON) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

serve: $(INSTALLED) ## Start a server for development, with a PostgreSQL of its own unless DATABASE_URL is set
	@$(VENV_PYTHON) -m sealdesk_cli serve $(ARGS)

check: $(INSTALLED) ## Check format, lint and types
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m mypy

format: $(INSTALLED) ## Format the code and apply the safe lint fixes
	@$(VENV_PYTHON) -m ruff format .
	@$(VENV_PYTHON) -m ruff check --fix .

bench: $(INSTALLED) ## Measure sizes and times, and write them to benchmarks/results
	@$(VENV_PYTHON) -m benchmarks $(ARGS)

audit: $(INSTALLED) ## Count what shows that crypto is right, and write it to docs/audit.json (some minutes)
	@$(VENV_PYTHON) -m tests.audit $(ARGS)

mutants: $(INSTALLED) ## Take each check of the MLS rules away, and expect a test to fail; result in docs/mutants.json (half an hour)
	@$(VENV_PYTHON) -m tests.mutation $(ARGS)

fuzz: $(INSTALLED) ## Fuzz everything that takes bytes into crypto, ten minutes a target (Linux on x86-64)
	@$(VENV_PYTHON) -m tests.fuzzing $(ARGS)

rules: $(INSTALLED) ## Write docs/mls-rules.md and docs/permissions.md again from the code
	@$(VENV_PYTHON) -m tests.contracts.mls_rules $(ARGS)
	@$(VENV_PYTHON) -m tests.contracts.permissions $(ARGS)

surface: $(INSTALLED) ## Write the listing of public names again, for review
	@$(VENV_PYTHON) -m tests.contracts.surface $(ARGS)

# Needs uv. Keeps the pins that still fit; make lock ARGS=--upgrade takes the newest.
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url
lock: ## Write the requirements files again from pyproject.toml
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	$(COMPILE) pyproject.toml $(ARGS) -o requirements.txt
	$(COMPILE) --group build $(ARGS) -o requirements-build.txt
	$(COMPILE) pyproject.toml --extra test -c requirements.txt -c requirements-build.txt --group build $(ARGS) -o requirements-test.txt

clean: ## Remove .venv and everything else that these targets made
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements-test.txt pyproject.toml .ci/environment.py
	@for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.14 python3.13 python3.12 python3.11); do \
	  problem=$$("$$python" .ci/environment.py --fit 2>/dev/null) && exec "$$python" .ci/environment.py; \
	  [ -z "$$problem" ] || problems="$$problems $$problem"; \
	done; \
	echo "Sealdesk needs Python 3.11 to 3.14.$$problems Install one, or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1
