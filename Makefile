# Each target sets up what it needs in .venv. A second run installs nothing, until
# pyproject.toml or constraints.txt change.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
# The version is in the path, so that another PYTHON makes .venv anew.
STAMPS := $(VENV)/stamps-$(VERSION)
PINS := pyproject.toml constraints.txt
CLASSES := tests/sample_class
# What the demo grades.
CHAPTERS := one-neuron classifier optimizers detective
# What shares a fixture in one process; in the order of tests/conftest.py, the longest first.
SIDE_BY_SIDE := -n auto --dist loadgroup --no-loadscope-reorder

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test proof quick lint types format release verify mutation benchmark screenshots clean

help: ## List what can be made
	@echo "make [PYTHON=python3.12] TARGET"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-11s  %s\n", $$1, $$2 }' Makefile

demo: $(STAMPS)/grading ## Grade the sample classes of four chapters into demo/
	for name in $(CHAPTERS); do \
	  $(BIN)/backprop grade $(CLASSES)/$$name/submissions --assignment $$name --out demo/$$name || exit; done

test: lint ## Run every check and test but the proofs (ARGS go to pytest)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not proof" $(ARGS)

proof: $(STAMPS)/dev ## Run the tests that take long: attacks, wheels, seeds, corpora
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m proof $(ARGS)

quick: lint ## Run every check, and the tests that are not slow
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow and not proof" $(ARGS)

lint: $(STAMPS)/dev ## Look for mistakes, unformatted code and imports that run upward
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/lint-imports --no-logo --no-cache

types: $(STAMPS)/dev ## Check the types
	$(BIN)/python -m mypy

format: $(STAMPS)/dev ## Format the code, and repair what can be repaired
	$(BIN)/python -m ruff check --fix-only
	$(BIN)/python -m ruff format

release: $(STAMPS)/grading ## Make the handouts in assignments/ from solutions/
	$(BIN)/backprop release

verify: $(STAMPS)/grading ## Prove that every mistake is found and no right answer is rejected (minutes)
	$(BIN)/backprop verify $(ARGS)

mutation: $(STAMPS)/mutation ## Change the judge in small ways that the tests have to notice (hours)
	$(BIN)/mutmut run $(ARGS)
	@$(BIN)/mutmut results | tee mutants/survivors.txt

benchmark: $(STAMPS)/dev ## Measure grading side by side with other graders (ARGS go to the benchmark)
	$(BIN)/python -m benchmarks $(ARGS)

screenshots: $(STAMPS)/dev ## Retake the screenshots of README.md and docs/ (ARGS name some of them)
	$(BIN)/python -m screenshots $(ARGS)

clean: ## Remove .venv, demo/ and every cache
	rm -rf $(VENV) demo build dist mutants .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -path ./.git -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "This needs Python 3.11 or newer, and '$(PYTHON)' is $(or $(VERSION),not to be found)." >&2; \
	  echo "Name another one, for example: make PYTHON=python3.12 $(or $(MAKECMDGOALS),test)" >&2; \
	  exit 1; }
	@echo "Making $(VENV) with Python $(VERSION)"
	@$(PYTHON) -m venv --clear $(VENV)
	@mkdir -p $(@D) && touch $@

# Each is a superset of the one before it, and says so with its stamps.
$(STAMPS)/base: PARTS := base
$(STAMPS)/grading: PARTS := base grading
$(STAMPS)/grading: EXTRAS := [grading]
$(STAMPS)/dev: PARTS := base grading dev
$(STAMPS)/dev: EXTRAS := [notebook,grading,cluster,postgresql,dev]
$(STAMPS)/mutation: PARTS := base grading dev mutation
$(STAMPS)/mutation: EXTRAS := [notebook,grading,cluster,postgresql,dev,mutation]
$(STAMPS)/base $(STAMPS)/grading $(STAMPS)/dev $(STAMPS)/mutation: $(STAMPS)/venv $(PINS)
	@echo "Installing backprop-harness$(EXTRAS) into $(VENV); the first time takes minutes, as torch is large"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.$(EXTRAS)'
	@touch $(addprefix $(STAMPS)/,$(PARTS))
