# What a fresh Debian or Ubuntu machine needs is installed by the first target that needs it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := .cache/bench
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
LAB := $(PYTHON) -m lab
POSTGRES_LAB := $(LAB) --name postgres
# A save of the database waits for the disk, and the tests make thousands: their folders are in memory where it has room.
FOLDERS := $(shell df --output=avail /dev/shm 2>/dev/null | awk '{room = $$1} END {print (room > 1000000) ? "/dev/shm" : "/tmp"}')
# More of them than there are cores: the unit tests also wait, for processes, locks and disks. Each reads all test files
# before it begins, so a third one per core would cost more than it saves.
UNIT_TESTS := PYTEST_DEBUG_TEMPROOT=$(FOLDERS) $(BIN)/pytest -q -n $(shell expr 2 '*' $$(nproc))

unexport PYTHONDONTWRITEBYTECODE  # the tests start Python hundreds of times

.PHONY: run run-postgres guest-debian setup stop test shake torture check types compiled bench packages postgresql clean lock

run: packages $(VENV)/ready  ## the menu on a lab of three hosts
	$(LAB) up
	@echo "The lab goes on running when you leave the menu; 'make stop' ends it."
	@trap : INT; $(LAB) run $(BIN)/python cli.py --database .lab/default/database.yaml || [ $$? -eq 130 ]  # 130: Ctrl-C

run-postgres: packages postgresql $(VENV)/ready  ## the same on a lab of its own, whose three managers share a database
	$(POSTGRES_LAB) --managers 3 up
	@$(POSTGRES_LAB) run $(BIN)/python cli.py list >/dev/null 2>&1 || \
	    $(POSTGRES_LAB) run $(BIN)/python cli.py database import .lab/postgres/database.yaml
	@echo "Open the menu at another manager with '$(POSTGRES_LAB) run --manager 2 $(BIN)/python cli.py'."
	@echo "The lab goes on running when you leave the menu; 'make stop' ends it."
	@trap : INT; $(POSTGRES_LAB) run $(BIN)/python cli.py || [ $$? -eq 130 ]

guest-debian: packages  ## the image of the lab's flavor `debian`: Debian, cloud-init, OpenSSH and FRR, from packages
	@$(LAB) image debian
	@echo "Labs that start from now on have the flavor 'debian'. One that runs is ended by 'make stop', with its slices."

setup: $(VENV)/ready  ## the Python packages only: all that is needed with hosts of your own

stop:  ## the labs of `make run` and `make run-postgres` are taken down, and all their disks with them
	$(LAB) down
	$(POSTGRES_LAB) down

check: $(VENV)/ready  ## style, types, scripts, import rules and quick unit tests: no root, no host, no network
	@sh lab/install-packages shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory -j 2 types compiled
	$(UNIT_TESTS) -m "not lab and not long"

types:
	$(BIN)/mypy

compiled:  # in one process: otherwise each of those that run the tests compiles all of them
	@$(BIN)/pytest -q --collect-only >/dev/null

test: packages postgresql check  ## all tests; those on the lab need root, and have four labs side by side
	$(UNIT_TESTS) -m "long and not lab"
	$(SUDO) $(BIN)/pytest -q -n 4 --dist loadfile --no-loadscope-reorder -m lab

shake: packages postgresql $(VENV)/ready  ## the lab tests five times, beside two busy processes per core: all five have to be green
	$(SUDO) $(BIN)/python -m tests.shake

torture: packages postgresql $(VENV)/ready  ## the long versions of the tests that have one: every step boundary, thousands of histories
	$(SUDO) env CLOUD_TORTURE=1 $(BIN)/pytest -q -m torture

bench: packages $(VENV)/ready $(BENCH)/ready  ## docs/performance.md again; WHAT="start design" for parts of it
	@sh lab/install-packages $$(sed 's/#.*//' bench/packages.txt)
	$(SUDO) $(BIN)/python -m bench $(WHAT)

packages:  ## Debian's packages for the lab and its guest; asks for root only when one is missing
	@sh lab/install-packages

postgresql:  ## Debian's PostgreSQL, for tests of the store and for labs with several managers
	@sh lab/install-packages postgresql

$(VENV)/ready: requirements-dev.lock
	@sh lab/install-packages python3-venv
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --require-hashes -r requirements-dev.lock
	touch $@

$(BENCH)/ready: bench/requirements.lock
	@sh lab/install-packages python3-venv
	rm -rf $(BENCH)
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install -qq --require-hashes -r bench/requirements.lock
	touch $@

lock:  ## the locked versions again, within the bounds of pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --extra postgres \
	    -c requirements.lock pyproject.toml -o requirements-postgres.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev \
	    -c requirements.lock pyproject.toml -o requirements-dev.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group bench \
	    -o bench/requirements.lock

clean:  ## everything that was built here; labs that run are taken down first
	[ ! -d .lab ] || for lab in .lab/*/; do [ ! -d "$$lab" ] || $(LAB) --name "$$(basename "$$lab")" down; done
	$(SUDO) rm -rf --one-file-system $(VENV) .lab .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec $(SUDO) rm -rf {} +
