# On a fresh machine run `make demo` or `make test`: both first install everything into $(VENV), and nothing elsewhere.
PYTHON ?= python3
VENV   ?= .venv
RUN    := $(VENV)/bin/python
# Tests run with one thread each, in up to 4 processes. worksteal mostly keeps the tests of a file in one process, so
# that fixtures of the file are built once.
PYTEST := $(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal
# Tests of a real SLURM run one after the other, for they share it. See dev/slurm/README.md.
SLURM  := dev/slurm/with-slurm.sh $(RUN) -m pytest -m slurm tests/slurm
# make test COVERAGE=80 also prints the coverage of all tests, and fails if it is below 80 percent.
COVERAGE :=
COVERED  := $(if $(COVERAGE),--cov=dmaelab --cov-report=)
JUDGED   := $(if $(COVERAGE),--cov=dmaelab --cov-append --cov-report=term:skip-covered --cov-fail-under=$(COVERAGE))

.PHONY: setup demo test test-fast test-slurm lint format types bench clean

setup: $(VENV)/.installed

$(VENV)/.installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: dmaelab needs Python >= 3.11 and '$(PYTHON)' is older: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "error: this Python has no ensurepip: install the package python3-venv (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[demo,tensorboard,timm,safetensors,dev]'
	@touch $@

demo: setup
	$(RUN) tools/pipeline.py --config-file pipelines/digits

test: setup
	$(PYTEST) -m 'not slurm' $(COVERED)
	$(SLURM) $(JUDGED)

test-fast: setup
	$(PYTEST) -m 'not slow and not gpu and not slurm'

test-slurm: setup
	$(SLURM)

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: setup
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

types: setup
	$(RUN) -m mypy dmaelab tools projects dev

bench: setup
	$(RUN) -m benchmarks.processor
	$(RUN) -m benchmarks.attention
	$(RUN) -m benchmarks.residual_stream
	$(RUN) -m benchmarks.evaluation
	$(RUN) -m benchmarks.certify
	$(RUN) -m benchmarks.training
	$(RUN) -m benchmarks.image_loader
	$(RUN) -m benchmarks.memory_loader
	$(RUN) -m benchmarks.launch
	$(RUN) -m benchmarks.adaptive tests/data/certify_logs

clean:
	rm -rf $(VENV) build *.egg-info
