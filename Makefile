# Everything lives in the checkout: .venv holds Python and the packages, .demo what the demo writes.
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PYTHON ?= python3
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' src/swarm_sd/__init__.py)

.PHONY: help install demo test check fast format lint types bench soak lock clean debian dist image
.DEFAULT_GOAL := help

help: ## What can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

$(STAMP): requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { sh tools/debian.sh python3-venv && $(PYTHON) -m venv $(VENV); }
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

install: $(STAMP) ## The program as .venv/bin/swarm-sd

demo: $(STAMP) ## Simulated Swarms, classic and swarm mode, swarm-sd and (where installed) Prometheus; DURATION=30 ends it
	@$(PY) examples/demo.py $(if $(DURATION),--duration $(DURATION))

debian: ## The Debian packages that the tests want (as root; otherwise says what is missing)
	@sh tools/debian.sh prometheus docker.io containerd busybox-static iptables iproute2 \
	  etcd-server zookeeper default-jre-headless curl jq chromium \
	  nginx-light docker-compose systemd

test: debian $(STAMP) lint types ## Every test, real programs included
	$(VENV)/bin/pytest -n 4 --dist worksteal -m "not campaign" tests

check: lint types fast ## Format, lint, types and the fast tests: before every commit

fast: $(STAMP)
	$(VENV)/bin/pytest -q -n 2 -m "not e2e" tests

lint: $(STAMP)
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/ruff check

types: $(STAMP)
	$(VENV)/bin/mypy

format: $(STAMP) ## Put the code in order
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

bench: $(STAMP) ## The measurements of benchmarks/README.md
	@sh tools/debian.sh nginx-light wrk prometheus
	$(PY) -m benchmarks

soak: $(STAMP) ## The long tests on the real cluster; an hour (SECONDS=3600) of churn and faults
	$(VENV)/bin/pytest -m campaign tests
	$(PY) -m benchmarks.soak --seconds $(or $(SECONDS),3600)

lock: $(STAMP) ## Resolve the dependencies anew
	$(PY) -m pip install --quiet uv
	$(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --upgrade --group dev pyproject.toml -o requirements-dev.lock
	$(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --extra zookeeper --constraint requirements-dev.lock pyproject.toml -o requirements.lock

dist: $(STAMP) ## The wheel, in dist/
	$(PY) -m hatchling build -t wheel

image: dist ## The container image prometheus-swarm-sd:VERSION (BASE=python@sha256:... to pin its base)
	docker build -f packaging/Dockerfile -t prometheus-swarm-sd:$(VERSION) --build-arg VERSION=$(VERSION) \
	  $(if $(BASE),--build-arg PYTHON=$(BASE)) $(if $(PIP_NO_INDEX),--build-arg PIP_NO_INDEX=$(PIP_NO_INDEX)) .

clean: ## Remove what was made
	rm -rf $(VENV) .demo .bench dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
