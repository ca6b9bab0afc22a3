# Needs python3 (3.11 or newer), pip and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
FAST := not slow and not services and not gpu and not online
export NOISE2MAP_DATA ?= ../shared/data
# Some environments set it. Each of Ray's processes would then compile its libraries anew: 10 s of CPU.
unexport PYTHONDONTWRITEBYTECODE
# Unit tests in several processes; the others, which share a Ray cluster, in one.
PARALLEL := --numprocesses logical --maxprocesses 4
PYTEST_ARGS ?=
# Hypothesis looks for new examples, many of each; a failure prints how to repeat it.
RANDOM := HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-random}
DEBIAN := chromium chromium-driver nginx-light postgresql-15-postgis-3 python3-qgis

.PHONY: demo test test-all test-slow packages services check format docs bench wheel distributions \
  wheel-demo \
  shipped-checkpoint shipped-buildings shipped-land viewer clean help

help:  ## This list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 22

demo: $(VENV)/.installed  ## The main job on an embedded catalogue, into out/demo/
	$(BIN)/noise2map demo --output out/demo

test: $(VENV)/.installed-dev  ## Tests that need neither root nor servers
	$(BIN)/python -m pytest $(PARALLEL) -m "$(FAST)" tests/unit $(PYTEST_ARGS)
	$(BIN)/python -m pytest -m "$(FAST)" tests/integration $(PYTEST_ARGS)

test-all: $(VENV)/.installed-dev packages services  ## All tests but those that need a GPU or the internet; random examples
	$(RANDOM) $(BIN)/python -m pytest -m "not gpu and not online" $(PYTEST_ARGS)

test-slow: $(VENV)/.installed-dev packages services  ## Only those of test-all that are not in test
	$(BIN)/python -m pytest -m "(slow or services) and not gpu and not online" $(PYTEST_ARGS)

packages:  ## Debian packages that tests of the marker services need (as root)
	@dpkg --status $(DEBIAN) >/dev/null 2>&1 || \
	  (apt-get update -qq && apt-get install -qq --yes --no-install-recommends $(DEBIAN))

services: .venv-services/.installed  ## Servers that tests of the marker services start

.venv-services/.installed: tests/services/requirements.txt
	$(PYTHON) -m venv .venv-services
	.venv-services/bin/python -m pip install --quiet --no-compile --requirement $<
	touch $@

check: $(VENV)/.installed-dev  ## Lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Offline: pages are made of the code, and nothing on them comes from elsewhere.
docs: $(VENV)/.installed-dev  ## The site into out/site; a link or an anchor that leads nowhere fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

format: $(VENV)/.installed-dev  ## Rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev  ## Measurements; figures are printed, nothing is asserted
	@set -e; for script in tests/benchmarks/*.py; do \
	  if [ -e "$$script" ]; then echo "== $$script"; $(BIN)/python "$$script"; fi; done

wheel: $(VENV)/.installed-dev  ## dist/*.whl, applications included
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation

distributions: $(VENV)/.installed-dev  ## dist/: wheel and source, as package indices take them
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*

wheel-demo: wheel  ## The wheel in a clean environment, away from the checkout: must run the demo
	rm -rf out/wheel-venv out/wheel-demo
	$(PYTHON) -m venv out/wheel-venv
	out/wheel-venv/bin/python -m pip install --quiet --no-compile --constraint constraints.txt dist/*.whl
	mkdir -p out/wheel-demo
	cd out/wheel-demo && ../wheel-venv/bin/noise2map demo --output demo
	rm -rf out/wheel-venv

# About an hour and a half on two cores, most of it `buildings`. Each step continues or leaves alone
# what is there; weights that are to be trained anew want out/buildings or out/land deleted first.
BUILDINGS := out/buildings
LAND := out/land
WORLDS := $(BIN)/noise2map draw-worlds
SCORE := $(BIN)/noise2map evaluate-maps --add-to-card --checkpoint
shipped-checkpoint: shipped-buildings shipped-land  ## The checkpoints that ship anew: data, training, scores, cards

shipped-buildings: $(VENV)/.installed-dev
	test -d $(BUILDINGS)/worlds.zarr || $(WORLDS) --family buildings --output $(BUILDINGS)/worlds.zarr \
	  --count 5000 --chip-px 128 --resolution 0.45 --resolution-spread 2
	$(BIN)/noise2map ingest-region pipelines/configs/buildings-banepa-ingest.yaml
	test -d $(BUILDINGS)/pairs.zarr || \
	  $(BIN)/noise2map pair-chips pipelines/configs/buildings-pairs.yaml
	$(BIN)/noise2map finetune-maps pipelines/configs/buildings-first-finetune.yaml
	$(BIN)/noise2map finetune-maps pipelines/configs/buildings-finetune.yaml
	$(BIN)/noise2map ingest-dataset pipelines/configs/buildings-gzcd-dataset.yaml
	$(BIN)/noise2map ingest-dataset pipelines/configs/buildings-dsifn-dataset.yaml
	$(SCORE) $(BUILDINGS)/checkpoint --chips $(BUILDINGS)/banepa.zarr --task segment \
	  --output $(BUILDINGS)/segment.json
	$(SCORE) $(BUILDINGS)/checkpoint --chips $(BUILDINGS)/gz_cd.zarr --task change \
	  --output $(BUILDINGS)/gz_cd.json
	$(SCORE) $(BUILDINGS)/checkpoint --chips $(BUILDINGS)/dsifn.zarr --task change \
	  --evaluation.any-resolution --output $(BUILDINGS)/dsifn.json
	mkdir -p noise2map_core/models/shipped/buildings
	cp $(BUILDINGS)/checkpoint/* noise2map_core/models/shipped/buildings/

shipped-land: $(VENV)/.installed-dev
	$(BIN)/python tests/benchmarks/transfer.py oscd --data $(NOISE2MAP_DATA) --chips_only --output $(LAND)
	$(BIN)/noise2map teach-chips $(LAND)/oscd.zarr --output $(LAND)/lessons.zarr
	$(BIN)/noise2map finetune-maps pipelines/configs/land-finetune.yaml
	$(BIN)/noise2map ingest-region pipelines/configs/taizhou-ingest.yaml --output $(LAND)/taizhou.zarr \
	  --search.bands blue green red nir swir16 swir22
	$(SCORE) $(LAND)/checkpoint --chips $(LAND)/taizhou.zarr --task change --output $(LAND)/taizhou.json
	$(SCORE) $(LAND)/checkpoint --chips $(LAND)/oscd.zarr --task change --split train \
	  --output $(LAND)/oscd.json
	mkdir -p noise2map_core/models/shipped/land
	cp $(LAND)/checkpoint/* noise2map_core/models/shipped/land/

# The stamps are older than what they depend on when either file changes; only then pip runs again.
$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "noise2map needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --no-compile --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --no-compile --constraint constraints.txt --editable ".[dev,tune,baselines,csmask]"
	touch $@ $(VENV)/.installed

viewer:  ## The viewer's bundle of other packages anew, by infra/viewer's lockfile (needs Node.js and npm)
	cd infra/viewer && npm ci --ignore-scripts --no-audit --no-fund && npm run build

clean:  ## Removes what make made
	rm -rf $(VENV) .venv-services out dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache infra/viewer/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
