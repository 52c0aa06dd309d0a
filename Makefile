# Two commands matter: `make compare` and `make test`. Both build .venv first if it is not there yet.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: compare test test-lowest test-slow gpu-test crash-test parity-table hostile-table planted-faults situations-table ported-table check-table gallery-page whatif versions parity-sweep accelerate-table speed-lesson browser report-speed lint install docs notebook-page clean help

compare: $(INSTALLED) ## run both loops on the quick preset and compare them; options in ARGS="--preset tiny"
	@# Status 1, diverged, is an answer and no failure.
	$(BIN)/sameloop compare $(ARGS) || { status=$$?; [ $$status -eq 1 ] || exit $$status; }

test: $(INSTALLED) ## the whole default test suite
	$(BIN)/python -m pytest $(ARGS)

test-lowest: .venv-lowest/.installed ## the default test suite with the oldest releases that pyproject.toml allows; Python 3.10 to 3.12
	.venv-lowest/bin/python -m pytest $(ARGS)

test-slow: $(INSTALLED) ## the quick preset in full, torch.compile, the notebook; about 20 minutes on 2 cores
	$(BIN)/python -m pytest -m slow $(ARGS)

gpu-test: $(INSTALLED) ## what needs a GPU: fp32, bf16 and fp16 with full determinism
	$(BIN)/python -m pytest -m gpu -rs $(ARGS)

crash-test: $(INSTALLED) ## docs/crash.md: both loops killed 20 times each and resumed; about 9 minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.proofs.crash $(ARGS)

parity-table: $(INSTALLED) ## docs/parity.md, measured again; about 5 minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.proofs.parity table

planted-faults: $(INSTALLED) ## twenty faults in the product, one at a time: which tests notice each; about 15 minutes on 2 cores
	$(BIN)/python -m benchmarks.proofs.planted $(ARGS)

check-table: $(INSTALLED) ## docs/check.md, measured again: right loops, mistakes and hostile ones; about 6 minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.proofs.checks

hostile-table: $(INSTALLED) ## docs/hostile.md, measured again: what 70 hostile acts do in a check; about 8 minutes on 2 cores, Linux only
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.proofs.hostile $(ARGS)

gallery-page: $(INSTALLED) ## docs/gallery.md and its pictures, measured again: what mistakes cost and what is said of them; about 10 minutes on 2 cores, 4 with ARGS=--kept-costs
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.proofs.gallery $(ARGS)

whatif: $(INSTALLED) ## the lesson's figures, measured again: the loop without each of its lines, and the ladder; about 10 minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.proofs.whatif

versions: $(INSTALLED) ## docs/versions.md: both ejected scripts under 20 stacks of releases, each in an environment of its own; about an hour on 2 cores
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.proofs.versions measure $(ARGS)

situations-table: $(INSTALLED) ## docs/situations.md, tried again: what people bring and what is said of it; a minute
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.proofs.situations

ported-table: $(INSTALLED) ## docs/ported.md, tried again: Trainer scripts as people write them, each against its loop; about 10 minutes on 2 cores
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.proofs.ported

accelerate-table: $(INSTALLED) ## docs/accelerate.md, measured again: the loop with accelerate between the two others; a minute
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.proofs.accelerate

parity-sweep: $(INSTALLED) ## search: 300 whole configurations in three loops, and 100 as ejected scripts; about 20 minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.proofs.parity sweep $(ARGS)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.proofs.parity sweep-ejected

speed-lesson: $(INSTALLED) ## docs/speed.md and its picture: what each setting gains on this machine; 25 to 60 minutes on 2 slow cores
	$(BIN)/sameloop speed --lesson $(ARGS)
	$(BIN)/python -m benchmarks.proofs.speed

browser: ## what the report's tests take besides: Chromium (from Debian, as root) and axe-core (from npm)
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -qq --no-install-recommends chromium; }
	command -v npm >/dev/null || apt-get install -qq --no-install-recommends npm
	npm install --prefix tests/browser --no-package-lock --no-audit --no-fund --silent

report-speed: $(INSTALLED) ## the report of 6,000 steps in a browser: size, first paint, filter
	$(BIN)/python -m pytest tests/lesson/test_report_browser.py -n 0 -s -k 6000 --durations 0

lint: $(INSTALLED) ## ruff, mypy (types) and import-linter (who may import whom), as configured in pyproject.toml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

install: $(INSTALLED) ## only build .venv

$(INSTALLED): pyproject.toml constraints.txt shared/sources/embedded.txt
	@case "$$(uname -sm)" in \
	"Darwin x86_64") echo "SameLoop needs a Mac with Apple Silicon: torch has had no release for Intel Macs since 2.2"; exit 2;; \
	*_NT*) echo "SameLoop runs on Linux and macOS; on Windows use WSL (https://learn.microsoft.com/windows/wsl)"; exit 2;; esac
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	{ echo "SameLoop needs Python 3.10 or newer; name one: make PYTHON=python3.12"; exit 2; }
	@# One that was left half made, as without ensurepip, or is another Python's, is made again.
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && $(BIN)/python -m pip --version >/dev/null 2>&1 || \
	{ rm -rf .venv && $(PYTHON) -m venv .venv && $(BIN)/python -m pip --version >/dev/null; } || \
	{ rm -rf .venv; echo "Python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 2; }
	@# torch by pip, which knows where this machine has it from; the rest by uv in a fraction of the time, or else by pip.
	@# compat: on sys.path as a folder, or a checkout called sameloop would hide the module from scripts beside it.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch uv && \
	$(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt --config-settings editable_mode=compat -e '.[test,lint]' || \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --config-settings editable_mode=compat -e '.[test,lint]'
	$(BIN)/python -m benchmarks fetch
	touch $@

.venv-lowest/.installed: pyproject.toml shared/sources/embedded.txt
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	@# What is not named in pyproject.toml comes as new as that allows, as it does for whoever has such an old one;
	@# but the newest huggingface-hub would ask for a newer transformers.
	.venv-lowest/bin/uv pip install --python .venv-lowest/bin/python --resolution lowest-direct \
		--config-settings editable_mode=compat -e '.[test]' 'huggingface-hub<2'
	.venv-lowest/bin/sameloop fetch
	touch $@

docs: $(INSTALLED) browser notebook-page ## the README's loops, docs/settings.md, docs/lesson.md with its pictures from runs/quick, and the notebook's page
	$(BIN)/python -m benchmarks.proofs.documents

notebook-page: $(INSTALLED) ## docs/lesson-notebook.html: the lesson's notebook, run; about 3 minutes on 2 cores
	$(BIN)/python -m benchmarks.proofs.notebook

clean: ## remove both environments and every run
	rm -rf .venv .venv-lowest runs build *.egg-info

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/' | expand -t 16
