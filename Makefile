# Needs Python 3.10 or newer and make. `make` alone says what there is.
# Another interpreter: make test PYTHON=python3.12 (after `make clean`, where an environment is there already).
# More for a tool:     make test ARGS="-k windows"
# pip's own settings (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, ...) hold here too.

PYTHON ?= python3
ARGS ?=
DEMO := .demo-venv
DEV := .venv
RECORDS := benchmarks/results/0.1.0

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test lint types contracts bench bench-record figures clean

help:
	@echo "make demo       segment phantom cases with the shipped bundle, score them, draw them (no torch)"
	@echo "make test       run the tests in an environment with everything"
	@echo "make lint       ruff: rules and layout"
	@echo "make types      mypy, strict"
	@echo "make contracts  import-linter: which room may import which"
	@echo "make bench      run the benchmarks"
	@echo "make bench-record   run them on a quiet machine, keep the records, draw and write the figures"
	@echo "make figures    draw and write the figures from the records that there are"
	@echo "make clean      remove the environments and everything else that make made"

demo: $(DEMO)/stamp
	@rm -rf demo
	$(DEMO)/bin/ssa-fast phantom demo/cases --cases 3 --seed 0
	$(DEMO)/bin/ssa-fast infer --backend ort demo/cases --out demo/predictions
	$(DEMO)/bin/ssa-fast evaluate demo/predictions demo/cases --figures demo/figures --json demo/scores.json
	@echo
	@echo "cases        demo/cases        phantoms: four modalities and the exact label map each"
	@echo "predictions  demo/predictions  what the shipped bundle made of them"
	@echo "figures      demo/figures      reference beside prediction, a picture a case: look at these first"
	@echo "scores       demo/scores.json  Dice, precision and recall a case, mean and median"

test: $(DEV)/stamp
	$(DEV)/bin/python -m pytest $(ARGS)

lint: $(DEV)/stamp
	$(DEV)/bin/ruff check . $(ARGS)
	$(DEV)/bin/ruff format --check .

types: $(DEV)/stamp
	$(DEV)/bin/mypy $(ARGS)

contracts: $(DEV)/stamp
	$(DEV)/bin/lint-imports $(ARGS)

bench: $(DEV)/stamp
	$(DEV)/bin/python -m pytest benchmarks $(ARGS)

bench-record: $(DEV)/stamp
	$(DEV)/bin/python -m pytest benchmarks --benchmark-only --records $(RECORDS) $(ARGS)
	$(MAKE) figures

figures: $(DEV)/stamp
	$(DEV)/bin/python -m benchmarks.ladder_figure $(RECORDS)
	$(DEV)/bin/python -m benchmarks.scaling_figure $(RECORDS)
	$(DEV)/bin/python -m benchmarks.search_figure $(RECORDS)
	$(DEV)/bin/python -m benchmarks.readme
	$(DEV)/bin/python -m benchmarks.documents

clean:
	rm -rf $(DEMO) $(DEV) demo build dist ssa_fast.egg-info
	rm -rf .benchmarks .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find ssa_fast tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

# An environment is made whole or not at all: its stamp comes last, and --clear takes the old one away.
$(DEMO)/stamp: EXTRAS := cpu,report
$(DEV)/stamp: EXTRAS := cpu,openvino,trt-rtx,torch,export,evaluate,report,watch,ray,dev
$(DEMO)/stamp $(DEV)/stamp: setup.py constraints.txt
	@command -v $(PYTHON) >/dev/null \
		|| { echo "no '$(PYTHON)' here: name a Python of 3.10 or newer, as in: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "$$($(PYTHON) -V 2>&1) is too old: name a Python of 3.10 or newer, as in: make PYTHON=python3.11" >&2; exit 1; }
	@echo "making $(@D) with $(EXTRAS): packages are downloaded the first time"
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $@
