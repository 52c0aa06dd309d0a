# Two commands matter: `make compare` and `make test`. Both build .venv first if it is not there yet.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: compare test test-slow gpu-test crash-test parity-table parity-sweep lint install docs clean help

compare: $(INSTALLED) ## run both loops on the quick preset and compare them; options in ARGS="--preset tiny"
	$(BIN)/sameloop compare $(ARGS)

test: $(INSTALLED) ## the whole default test suite
	$(BIN)/python -m pytest $(ARGS)

test-slow: $(INSTALLED) ## the quick preset in full, and torch.compile; about 8 minutes on 2 cores
	$(BIN)/python -m pytest -m slow $(ARGS)

gpu-test: $(INSTALLED) ## what needs a GPU: fp32, bf16 and fp16 with full determinism
	$(BIN)/python -m pytest -m gpu -rs $(ARGS)

crash-test: $(INSTALLED) ## docs/crash.md: both loops killed 20 times each and resumed; about 9 minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.crash $(ARGS)

parity-table: $(INSTALLED) ## docs/parity.md and docs/faults.md, measured anew; about 6 minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.parity table

parity-sweep: $(INSTALLED) ## search: 300 whole configurations, each compared in full; about 8 minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.parity sweep $(ARGS)

lint: $(INSTALLED) ## ruff, as configured in pyproject.toml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

install: $(INSTALLED) ## only build .venv

$(INSTALLED): pyproject.toml constraints.txt shared/embedded.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r shared/embedded.txt
	touch $@

docs: $(INSTALLED) ## make the README's table of dials, and its picture from runs/quick
	$(BIN)/python -m benchmarks.docs
	mkdir -p docs && cp runs/quick/comparison.png docs/comparison.png

clean: ## remove .venv and every run
	rm -rf .venv runs build *.egg-info

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/' | expand -t 16
