# Everything lives in .venv: made on first use, brought up to date when pyproject.toml or constraints.txt change.
# PYTHON=… names the interpreter that makes it.

PYTHON ?=
ARGS ?=
BIN := .venv/bin
PYTEST := $(BIN)/pytest --durations=5

# One leg of the tests, with its seconds.
leg = @printf '\n== %s\n' '$@'; began=$$(date +%s); $(1) && printf '== %s: %s s\n' '$@' "$$(($$(date +%s) - began))"
# What the runs under faults are told alike.
said = $(if $(SEED),--seed $(SEED)) $(if $(JSON),--json '$(JSON)')

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test fmt lint type unit deploy-check integration acceptance quick-faults faults soak pins compose-env

help: ## Show these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

demo: .venv/.local ## Start everything, break a machine, watch the alert come (ARGS=--exit: then stop)
	@$(BIN)/pdm demo $(ARGS)

test: lint type unit deploy-check integration acceptance quick-faults ## Every check and test, the quick ones first

fmt: .venv/.dev ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lint: .venv/.dev ## Style, format, pins, and who may import whom
	$(call leg,$(BIN)/ruff check && $(BIN)/ruff format --check && $(PYTEST) -q tests/architecture)

type: .venv/.dev ## Types
	$(call leg,$(BIN)/mypy)

unit: .venv/.dev ## Tests without any engine
	$(call leg,$(PYTEST) tests/unit)

deploy-check: .venv/.dev ## Image, compose file and chart, checked without running them
	$(call leg,$(PYTEST) tests/deploy)

integration: .venv/.dev ## Tests on the real engines
	$(call leg,$(PYTEST) tests/integration)

acceptance: .venv/.dev ## The real command line, from outside
	$(call leg,$(PYTEST) tests/acceptance)

quick-faults: .venv/.dev ## The faults that every change must survive
	$(call leg,$(BIN)/python -m tests.faults --quick)

faults: .venv/.dev ## Break everything, check everything (QUICK=1, ONLY='kill kafka', SEED=2, KILLS=100, JSON=file)
	@$(if $(KILLS),$(BIN)/python -m tests.faults.hundred_kills --kills $(KILLS),$(BIN)/python -m tests.faults \
	    $(if $(QUICK),--quick) $(if $(ONLY),--only '$(ONLY)')) $(said)

soak: .venv/.dev ## Half of what this machine holds, a fault every 30 s (MINUTES=20, SEED, JSON; IDLE=30: all of it, no fault)
	@$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),20) $(if $(IDLE),--idle $(IDLE)) $(said)

pins: .venv/.dev ## Pin what pyproject.toml has gained in constraints.txt (ARGS=--upgrade: renew every pin)
	@$(BIN)/pip install --quiet uv
	$(BIN)/uv --no-config pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-header \
	    --no-annotate --no-emit-package smart-factory-pdm --quiet $(ARGS) --output-file constraints.txt >/dev/null

compose-env: deploy/.env ## Write deploy/.env with random secrets, once

deploy/.env: | deploy/.env.example
	@umask 077; while IFS= read -r line; do \
	    case $$line in PDM_*=) line=$$line$$(LC_ALL=C tr -dc A-Za-z0-9 </dev/urandom | head -c 32);; esac; \
	    printf '%s\n' "$$line"; \
	done <deploy/.env.example >$@
	@echo 'Wrote deploy/.env. It holds the secrets of the stack: keep it, and keep it private.'

.venv/.local .venv/.dev: .venv/.%: pyproject.toml constraints.txt
	@PYTHON='$(PYTHON)' sh .ci/venv $*
