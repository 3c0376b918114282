# Every target makes or reuses the virtual environment $(VENV) from constraints.txt by itself.
#   make demo   train, evaluate and rank an agent       make test   the fast tests
#   make lint | typecheck | docs | bench | test-slow | test-smoke | test-rllib | measure
#   make bench-limits | bench-peers | notebooks | pictures | soak | faults | fuzz | versions | supply | constraints | clean
PYTHON ?= python3
VENV ?= .venv
PYTEST_FLAGS ?= -n 2 --dist loadgroup
BENCH_FLAGS ?=
SOAK_FLAGS ?=
FUZZ_FLAGS ?= --engine random --seconds 60

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev
RLLIB := .venv-rllib
PEERS := .venv-peers

.PHONY: demo test test-slow test-smoke test-rllib lint typecheck docs bench measure notebooks pictures
.PHONY: bench-limits bench-peers soak faults fuzz versions supply constraints clean
.DEFAULT_GOAL := test

$(VENV)/.made: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) setuptools
	@touch $@

# Stamps, so that a second run installs nothing. The demo needs less than the tests.
$(DEMO): EXTRAS := train,wandb,leaderboard
$(DEV): EXTRAS := dev
$(DEMO) $(DEV): $(VENV)/.made pyproject.toml setup.py
	@echo "installing sixgym[$(EXTRAS)] into $(VENV)"
	$(PIP) --no-build-isolation -e '.[$(EXTRAS)]'
	@touch $@

demo: $(DEMO)
	$(BIN)/python tools/demo.py

# One thread a process: torch's threads of two test processes would only get in each other's way.
test: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_FLAGS)

test-slow: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_FLAGS) -m slow

# Every shipped configuration trains for a few updates and plays what it learned.
test-smoke: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_FLAGS) -m smoke

# RLlib pins an older Gymnasium, so that it is tested in an environment of its own.
$(RLLIB)/.made: constraints-rllib.txt
	$(PYTHON) -m venv $(RLLIB)
	$(RLLIB)/bin/python -m pip --disable-pip-version-check install --quiet -r constraints-rllib.txt
	$(RLLIB)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation -e .
	@touch $@

test-rllib: $(RLLIB)/.made
	OMP_NUM_THREADS=1 $(RLLIB)/bin/python -m pytest tests/rllib

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(DEV)
	$(BIN)/python tools/typecheck.py

docs: $(DEV)
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	$(BIN)/python tools/links.py docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed.py $(BENCH_FLAGS)

# How far the steps are from what a machine can do, and from other people's environments.
bench-limits: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/roofline.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/single.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/limits.py

$(PEERS)/.made:
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip --disable-pip-version-check install --quiet mobile-env==2.1.0 gym-d2d==0.0.3 vmas==1.5.2
	@touch $@

bench-peers: $(DEV) $(PEERS)/.made
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/peers.py

# The numbers that the pages and the package carry, all measured anew (an hour on two cores).
measure: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed.py --out docs/measured/speed.json
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/roofline.py --out docs/measured/roofline.json
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/single.py --out docs/measured/single.json
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/limits.py --out docs/measured/limits.json
	$(BIN)/sixgym benchmark --results leaderboard/results --probe
	$(BIN)/sixgym claims sixgym/RisNoma-v0 --out docs/measured/RisNoma-v0
	$(BIN)/sixgym claims sixgym/EventOffload-v0 --out docs/measured/EventOffload-v0
	$(BIN)/sixgym claims sixgym/LlmMac-v0 --out docs/measured/LlmMac-v0
	$(BIN)/sixgym claims sixgym/NetGptThreshold-v0 --out docs/measured/NetGptThreshold-v0
	$(BIN)/sixgym claims sixgym/TwinSync-v0 --out docs/measured/TwinSync-v0
	$(BIN)/python tools/readme.py

# Long runs with random actions, five minutes of the processor an id; and bad input of every kind.
# SOAK_FLAGS=--resume plays what a run that was cut off has left.
soak: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/soak.py --jobs 2 --out docs/measured/soak.json $(SOAK_FLAGS)

faults: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/faults.py --out docs/measured/faults.json

# The parsers for a minute each; guided by coverage where atheris is installed: FUZZ_FLAGS=.
fuzz: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/fuzz.py $(FUZZ_FLAGS)

# The tests on every Python that is found, and on the lowest and the newest versions.
versions: $(DEV)
	$(PIP) uv
	$(BIN)/python tools/versions.py --out docs/measured/versions.json

# Known vulnerabilities, wheel and sdist, and the wheel alone in a clean environment.
supply: $(DEV)
	$(PIP) uv pip-audit build twine
	$(BIN)/python tools/supply.py

notebooks: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python tools/notebooks.py

pictures: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python tools/pictures.py

constraints:
	$(PYTHON) tools/pin.py

clean:
	rm -rf $(VENV) $(RLLIB) $(PEERS) build dist *.egg-info docs/_build .mypy_cache .pytest_cache .ruff_cache
