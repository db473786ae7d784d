# Livelens: every command a person needs. `make` alone lists them.

PYTHON   ?= python3
VENV     ?= .venv
ARGS     ?=
PIP_ARGS ?=

PY        = $(VENV)/bin/python
INSTALLED = $(VENV)/.installed
DEV       = $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help setup run test test-gpu lint types bench bench-gpu demo check format clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  make run ARGS="rtsp://camera/stream --recognize boxes/coco"   gives options to livelens serve'
	@echo '  make test ARGS="tests/test_config.py -x"                      gives options to pytest'
	@echo '  PYTHON=python3.12 chooses the Python for $(VENV); PIP_ARGS="..." goes to pip install'

setup: $(INSTALLED) ## Make .venv and install Livelens in it (6 GB: torch brings its CUDA libraries)
	@echo 'Ready: make run, or $(VENV)/bin/livelens --help'

$(PY):
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no '$(PYTHON)' here. Install Python 3.11 or newer and say which: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Livelens needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) -V 2>&1)." >&2; \
	  echo "Install one and say which: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps make a second run fast. A changed pyproject.toml installs again.
$(INSTALLED): pyproject.toml | $(PY)
	@echo 'Installing Livelens in $(VENV): about 6 GB, a few minutes the first time ...'
	$(PY) -m pip install --quiet $(PIP_ARGS) --editable .
	@touch $@

$(DEV): pyproject.toml | $(PY)
	@echo 'Installing Livelens and its test tools in $(VENV): about 6 GB, a few minutes the first time ...'
	$(PY) -m pip install --quiet $(PIP_ARGS) --editable '.[dev]'
	@touch $@ $(INSTALLED)

run: $(INSTALLED) ## Start the server: the first camera, else the sample clip; Ctrl-C ends it
	@exec $(VENV)/bin/livelens serve $(ARGS)

test: $(DEV) ## Install what the tests need, then run them all
	@bash tests/install_system.sh
	$(PY) -m pytest $(ARGS)

test-gpu: $(DEV) ## Run the tests that need an NVIDIA GPU
	$(PY) -m pytest -m gpu $(ARGS)

lint: $(DEV) ## Check style and formatting (ruff)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(DEV) ## Put the code into the format that lint wants
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

types: $(DEV) ## Check types (mypy --strict on stream/ and models/)
	$(VENV)/bin/mypy

bench: $(DEV) ## Measure speed and memory on this machine
	$(PY) -m tests.bench $(ARGS)

bench-gpu: $(DEV) ## Measure models, copies and the whole picture on an NVIDIA GPU
	$(PY) -m tests.bench.gpu $(ARGS)

demo: ## List the demos and how to start one
	@for file in demos/[0-9]*.py; do \
	  printf '  %-34s %s\n' "$$file" "$$(awk 'NR == 1 {gsub(/"""/, ""); print; exit}' "$$file")"; done
	@echo; echo '  Start one with: $(PY) demos/NAME.py   (after make setup)'

check: test lint types ## Everything CI checks

clean: ## Remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
