# Every command of this repository. README, CI and .ci/run call these targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build demo test check lint types contracts rust-lint rust-test python-test examples \
        bench bench-eta bench-canvas instructions versus interop faults fuzz faults-long steady peers matrix wheel wheel-test \
        sdist-test docs docs-pages clean
.NOTPARALLEL:

export UV_PYTHON_DOWNLOADS := never
export VIRTUAL_ENV := $(CURDIR)/.venv
export PATH := $(CURDIR)/.venv/bin:$(PATH)
unexport PYTHONPATH

# Function names stay for backtraces; lines of code would treble the wheel.
WHEEL_ENV = CARGO_PROFILE_RELEASE_STRIP=debuginfo
# debootstrap's folders belong to root (tools/debian_tree.py).
AS_ROOT = $(if $(filter 0,$(shell id -u)),,sudo)

step = @printf '\n\033[1m== %s\033[0m\n' "$(1)"

help: ## List the targets.
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

setup: ## Make .venv with the locked tools (first use only).
	@tools/setup.sh

build: setup ## Build the Rust module (release) and install it into .venv.
	$(call step,build)
	maturin develop --release --locked --uv --quiet

demo: build ## Start a worker on the embedded default, send tasks, watch them, stop.
	$(call step,demo)
	python examples/demo/run.py

test: build peers lint types contracts rust-lint rust-test ## Every check there is.
	$(call step,pytest: everything, on Redis, RabbitMQ and beside the real Celery)
	python tools/halves.py

check: build lint types contracts ## The fast tier: lints, types, contracts, unit tests.
	$(call step,cargo clippy)
	cargo clippy --locked --quiet -p celeriac-core --lib -- -D warnings
	$(call step,Rust unit tests)
	tools/rust_tests.sh --lib
	$(call step,pytest: unit)
	pytest tests/unit

lint: setup ## Formats, lints, spelling, workflows, lock files.
	$(call step,formats and lints)
	cargo fmt --check
	ruff format --check --quiet .
	ruff check --quiet .
	typos
	$(call step,no two test files of one name: pytest imports them by it)
	@[[ -z "$$(find tests -name 'test_*.py' -printf '%f\n' | sort | uniq -d | tee /dev/stderr)" ]]
	$(call step,workflows and lock files)
	zizmor --offline --quiet .github/workflows
	check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	uv lock --check --quiet
	cargo metadata --locked --format-version 1 > /dev/null

types: build ## mypy --strict, pyright, stubtest, generated pages.
	$(call step,types)
	python tools/settings_page.py --check
	mypy
	pyright
	python -m mypy.stubtest celeriac._core --allowlist tests/stubtest-allowlist.txt

contracts: setup ## Who may import whom (style and reasons: ARCHITECTURE.md).
	$(call step,import contracts)
	PYTHONPATH=python lint-imports --no-cache

rust-lint: ## clippy on everything, warnings are errors.
	$(call step,cargo clippy)
	cargo clippy --locked --quiet --workspace --all-targets -- -D warnings

rust-test: setup ## Rust tests, with Redis and RabbitMQ, and doc tests.
	$(call step,Rust tests)
	python tools/services.py -- tools/rust_tests.sh
	cargo test --locked --quiet -p celeriac-core --doc

peers: setup ## Environments of the other versions of Celery, for the interoperability tests.
	@python tools/celery_versions.py

python-test: build peers ## Python tests only, both halves at the same time: ARGS="-x -q".
	python tools/halves.py $(ARGS)

interop: build peers ## The whole of the interoperability tests with every version of Celery on every broker.
	CELERIAC_TEST_INTEROP=all python tools/services.py -- pytest tests/interop

faults: build ## Faults by chance while tasks run, and kills during random canvases (long).
	CELERIAC_TEST_FAULTS=$${CELERIAC_TEST_FAULTS:-300} CELERIAC_TEST_KILLS=$${CELERIAC_TEST_KILLS:-200} \
	python tools/services.py -- pytest -s tests/faults tests/worker/test_stopping_in_trouble.py tests/canvas/test_kills.py $(ARGS)

faults-long: build ## 1,000 faults on three brokers at the same time, with tables: ARGS="--of celery --faults 100".
	nice python tools/fault_run.py $(ARGS)

steady: build ## Ten minutes of the same load on each broker, with kills: ARGS="-k redis", CELERIAC_TEST_STEADY_S=3600.
	CELERIAC_TEST_STEADY_S=$${CELERIAC_TEST_STEADY_S:-600} pytest -s tests/faults/test_steady_load.py $(ARGS)

fuzz: setup ## Coverage-guided fuzzing of everything that reads bytes: SECONDS=60 for each target (ARGS=url).
	python tools/fuzz.py --seconds $(or $(SECONDS),60) $(ARGS)

examples: build ## The examples only.
	python tools/services.py -- pytest tests/examples

bench: build ## Micro-benchmarks: criterion and pytest-benchmark.
	cargo bench --locked -p celeriac-core
	python tools/services.py -- pytest benches/python --benchmark-only $(ARGS)

instructions: ## Instructions of the core's hottest functions, compared with the stored: ARGS=--save.
	python3 benches/rust/instructions.py $(ARGS)

versus: build ## The same work on Celery, celeriac and bare clients, and every goal: ARGS="--page" (long), ARGS=--list.
	python tools/services.py -- python benches/versus/run.py $(ARGS)

bench-eta: build ## Tasks that wait for their eta: ARGS="far --broker sqlite --count 1000000".
	python tools/services.py -- python benches/eta/run.py $(if $(ARGS),$(ARGS),lateness)

bench-canvas: build ## What workflows cost as they grow, on Celery and on celeriac: ARGS="--page".
	python tools/services.py -- python benches/canvas/run.py $(ARGS)

matrix: build ## The suites of the brokers on every RabbitMQ, Redis and Valkey there is (long).
	python tools/matrix.py $(ARGS)

wheel: ## Build the wheel for manylinux2014 and the sdist into dist/, and look at them.
	tools/setup.sh wheel
	rm -rf dist
	python tools/crate_licences.py
	$(WHEEL_ENV) maturin build --release --locked --zig --compatibility manylinux2014 --out dist
	maturin sdist --out dist
	twine check --strict dist/*
	auditwheel show dist/*.whl | grep -A1 'consistent with'
	@ls -l dist
	@[[ -z $$(find dist -name '*.whl' -size +8000k) ]] || { echo 'the wheel is larger than 8 MB'; exit 1; }

wheel-test: ## Install the wheel on every CPython without a compiler: demo and unit tests.
	tools/setup.sh
	python tools/services.py -- python tools/wheel_test.py $(ARGS)

sdist-test: ## Build a wheel from the source distribution alone, in an empty folder.
	tools/setup.sh
	tools/sdist_test.sh

docs-pages: build ## Write the pages that are generated from code.
	python tools/settings_page.py

docs: build ## Build the documentation into site/; a broken link is an error.
	tools/setup.sh docs
	zensical build --clean --strict

clean: ## Remove what the other targets made (not the registries' caches).
	rm -rf target .venv .peers .demo dist site .pytest_cache .hypothesis .mypy_cache .ruff_cache .benchmarks
	[[ ! -d .matrix ]] || $(AS_ROOT) rm -rf --one-file-system .matrix
	find python tests benches examples tools -name '__pycache__' -prune -exec rm -rf {} +
	rm -f python/celeriac/_core*.so
