# Every target makes its own environment in .venv first; see `make help`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.feedd-built
SOURCES := $(shell find feedd \( -name '*.pyx' -o -name '*.pxd' -o -name '*.h' \) 2>/dev/null) \
	setup.py pyproject.toml
RANDOM_TESTS := tests/decode tests/fuzz/test_spellings.py \
	$(addprefix tests/acceptance/test_,captures.py damage.py mutations.py sessions.py) \
	tests/shm/test_ring_model.py tests/shm/test_segment.py tests/supervisor/test_listing.py \
	$(addprefix tests/pipeline/test_,book_model.py untimed_lines.py any_books.py) \
	$(addprefix tests/pipeline/test_quick_,changed.py tails.py) tests/fuzz/test_book_replay.py \
	tests/reader/test_session.py tests/demo/test_compare.py tests/assembler \
	tests/venues/test_reference.py tests/venues/test_toml_lint.py

.DEFAULT_GOAL := help
.PHONY: help demo test check build docs wheel bench bars model stress tsan autobahn fuzz asan soak clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

$(STAMP): $(SOURCES)
	@sh .ci/setup-venv "$(PYTHON)" "$(VENV)"
	@touch $@

build: $(STAMP) ## the environment and the compiled modules

demo: $(STAMP) ## the main job on the simulated venue: exchange, daemon, consumer, live screen
	@$(BIN)/feedd demo $(ARGS)

# Workers find each other's compiled tests, whatever the environment says of writing them.
# What fails beside three others is run once more, alone: tests of whole daemons share two cores.
test: $(STAMP) ## every test
	@export PYTHONDONTWRITEBYTECODE=; \
	$(BIN)/python -m pytest -q -n 4 --dist loadfile $(ARGS) || { \
		echo "feedd: once more, alone, what failed"; \
		$(BIN)/python -m pytest -q -n 0 --last-failed --last-failed-no-failures none $(ARGS); }

check: $(STAMP) ## ruff, mypy, cython-lint, stubs, import direction
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@PATH="$(BIN):$$PATH" cython-lint feedd
	@$(BIN)/mypy
	@$(BIN)/mypy --scripts-are-modules $(filter-out %__pycache__,$(wildcard tools/*))
	@$(BIN)/python tests/typing/check_stubs.py
	@$(BIN)/python -m pytest -q tests/typing

docs: $(STAMP) ## the reference pages that are made from the code
	@$(BIN)/feedd metrics > docs/metrics.md
	@$(BIN)/feedd records > docs/records.md
	@$(BIN)/feedd config explain --markdown > docs/configuration.md

wheel: $(STAMP) ## a wheel in dist/
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

bench: $(STAMP) ## speed beside floors and peers: writes the tables of docs/performance.md
	@$(BIN)/python bench/performance.py $(ARGS)

bars: $(STAMP) ## what readers do not notice, and how fast the daemon is whole again, measured
	@$(BIN)/python -m bench.undisturbed $(ARGS)
	@$(BIN)/python -m bench.reactions $(ARGS)

model: $(STAMP) ## the ring protocol under a weak memory model, with mutants that must fail
	@$(BIN)/python tests/stress/model.py

stress: $(STAMP) ## ring stress in C with and without the second stamp check, and over processes
	@$(BIN)/python tests/stress/stress.py

tsan: $(STAMP) ## the ring under ThreadSanitizer, with a mutant that it must report
	@$(BIN)/python tests/stress/tsan.py

autobahn: $(STAMP) ## the WebSocket assembler against Autobahn's client cases
	@$(BIN)/python tests/autobahn/run.py

fuzz: $(STAMP) ## fuzz the decode engine against orjson, and try many more seeds of random tests
	@$(BIN)/python tests/fuzz/run.py
	@FEEDD_EFFORT=8 $(BIN)/python -m pytest -q -n 4 --dist loadfile $(RANDOM_TESTS)

asan: $(STAMP) ## replay the fuzz corpus through an AddressSanitizer build
	@$(BIN)/python tests/fuzz/asan.py

soak: $(STAMP) ## a line of two cut every second for a minute, venue by venue: nothing lost, doubled, declared
	@$(BIN)/python tests/soak/lines.py $(ARGS)

clean: ## remove what was built
	rm -rf $(VENV) build dist .work *.egg-info feedd/_cython.c
	find feedd -name '*.so' -delete
	find feedd -name '*.pyx' | sed 's/pyx$$/c/' | xargs rm -f
