# Everything a person or CI needs; a fresh machine with Python (3.11 or newer) and make is enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PYTEST  = $(BIN)/python -m pytest

.PHONY: help install demo test test-slow test-slurm test-slurm-ci test-images faults faults-slurm check format lint types schema cluster clean
.DEFAULT_GOAL := help

help:            ## list the targets
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  .*##' $(MAKEFILE_LIST) | sed 's/: *[^#]*##/\t/' | expand -t 14

$(READY): pyproject.toml constraints.txt requirements-no-deps.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch numpy setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-no-deps.txt
	touch $@

install: $(READY) ## make the environment in .venv

demo: $(READY)   ## run five rounds of SELU with the built-in default; ends with where the report lies
	$(BIN)/python -m selu_hpc.submit --rounds 5 --engine local

test: $(READY)   ## the default tests
	$(PYTEST) -n 2 --dist loadfile -m 'not slow'

test-slow: $(READY) ## tests that take longer than ten seconds each, without Slurm and images
	$(PYTEST) -n 2 --dist loadfile -m 'slow and not slurm and not apptainer'

test-slurm: $(READY) ## tests on a real Slurm, brought up as root on Debian or Ubuntu
	$(BIN)/python tests/cluster/cluster.py up
	$(PYTEST) -m 'slurm and not apptainer'

test-slurm-ci: $(READY) ## the part of test-slurm that CI runs: chain, templates, quorum, resume and the quick faults
	$(BIN)/python tests/cluster/cluster.py up
	$(PYTEST) -m slurm_ci

test-images: $(READY) ## build the image with a real Apptainer, share it and run a round inside it; root on Debian 12
	@tests/containers/can.sh
	tests/containers/install.sh
	$(BIN)/python tests/cluster/cluster.py up
	tests/containers/build.sh $(BIN)/python
	$(PYTEST) -m 'apptainer'

faults: $(READY) ## kill a small run 25 times and compare its bytes with an undisturbed one
	$(BIN)/python tests/faults/local.py --kills 25

faults-slurm: $(READY) ## every fault of the table on a real Slurm, brought up as root on Debian or Ubuntu
	$(BIN)/python tests/cluster/cluster.py up
	$(BIN)/python tests/faults/slurm.py

cluster: $(READY) ## a real four-node Slurm on this machine to try things on; root on Debian or Ubuntu
	$(BIN)/python tests/cluster/cluster.py up
	$(BIN)/python tests/cluster/cluster.py shell

check: format lint types test ## format, lint, types, tests; CI adds the slow ones, a real Slurm and a real image

format: $(READY)
	$(BIN)/ruff format --check .

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

schema: $(READY) ## write configs/schema.json anew after a change of config.py
	$(BIN)/python -m selu_hpc.recipes.schema

clean:           ## remove the environment and caches, keep runs/
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
