# Everything a developer and CI run. `make` alone prints the targets.
#
# The environment is .venv; it is built anew when pyproject.toml or the pins change. Paths here are relative,
# so that the checkout may stand in a folder with spaces in its name.

PYTHON ?= python3
JOBS ?= 2
BUF_VERSION := 1.75.0

PROTOS := $(wildcard protos/upbeat/v1/*.proto protos/google/api/*.proto protos/externalscaler/*.proto)
PIP_INSTALL := .venv/bin/python -m pip install --quiet --disable-pip-version-check
ESLINT_VERSION := 9.39.5
ESLINT := build/eslint-$(ESLINT_VERSION)/node_modules/.bin/eslint
# The modules of the dashboard that were written here.
PAGE := $(shell find server/upbeat_server/http/page -name '*.js' -not -path '*/vendor/*' 2>/dev/null)
BUF := build/buf-$(BUF_VERSION)/node_modules/.bin/buf

.DEFAULT_GOAL := help
.PHONY: help run test check format bench bench-quick collaborations ballots replay abuse sim faults nested talk power schemathesis soak lowest crowd-page screenshots proto image pins clean python lint types layers contract

help: ## Print the targets
	@echo "upbeat: targets of make"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

run: .venv/server.stamp build/stubs.sha256 ## Install what is needed, run the demo, leave the server up
	.venv/bin/upbeat demo --stay

test: .venv/dev.stamp build/stubs.sha256 ## Install what is needed, run the tests in short forms (ARGS="-k word" goes to pytest)
	.venv/bin/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

check: lint types layers contract ## Lint, formatting, types, layers, sizes and names, contract

lint: .venv/dev.stamp
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	@if command -v npm >/dev/null 2>&1; then \
		$(MAKE) --silent --no-print-directory $(ESLINT) && \
		echo "eslint" && $(ESLINT) -c tests/server/http/dashboard/eslint.config.mjs $(PAGE); \
	else \
		echo "SKIPPED: eslint, because npm is missing (apt install nodejs npm)."; \
	fi

types: .venv/dev.stamp build/stubs.sha256
	.venv/bin/python -m mypy client server tests protos

layers: .venv/dev.stamp build/stubs.sha256
	.venv/bin/lint-imports --no-logo
	.venv/bin/python -m pytest -q tests/test_tidy.py

contract: .venv/dev.stamp build/stubs.sha256
	.venv/bin/python -m pytest -q tests/protos
	@if command -v npm >/dev/null 2>&1; then \
		$(MAKE) --silent --no-print-directory $(BUF) && \
		echo "buf lint" && $(BUF) lint protos && \
		echo "buf breaking" && $(BUF) breaking protos --against protos/upbeat.v1.binpb; \
	else \
		echo "SKIPPED: buf lint and buf breaking, because npm is missing (apt install nodejs npm)." \
			"tests/protos has covered the main rules."; \
	fi

format: .venv/dev.stamp ## Format the code and repair what ruff can
	.venv/bin/python -m ruff check --fix .
	.venv/bin/python -m ruff format .

bench: .venv/dev.stamp build/stubs.sha256 ## Measure everything, peers included, for minutes (ARGS="--only word")
	.venv/bin/python -m tests.bench $(ARGS)

bench-quick: .venv/dev.stamp build/stubs.sha256 ## Measure upbeat and the bare relay in less than a minute
	.venv/bin/python -m tests.bench --quick $(ARGS)

collaborations: .venv/dev.stamp build/stubs.sha256 ## Measure whether pipelines and races keep their time
	.venv/bin/python -m tests.bench.collaborations $(ARGS)

ballots: .venv/dev.stamp build/stubs.sha256 ## Hold votes with recorded ballots: DATA=file (QUESTIONS=all SEEDS=1)
	@test -n "$(DATA)" || { echo "SKIPPED: name a file of recorded ballots: make ballots DATA=path"; exit 0; }; \
		.venv/bin/python -m tests.bench.ballots "$(DATA)" --questions $(or $(QUESTIONS),0) --seeds $(or $(SEEDS),1)

replay: .venv/dev.stamp build/stubs.sha256 ## Replay a trace of requests, policy beside policy: TRACE=file (LOAD=0.8 SEEDS=3 FLEET=file)
	@test -n "$(TRACE)" || { echo "SKIPPED: name a trace (CSV): make replay TRACE=path LOAD=0.8 SEEDS=3"; exit 0; }; \
		.venv/bin/python -m tests.bench.replay "$(TRACE)" --load $(or $(LOAD),0.8) --seeds $(or $(SEEDS),3) \
		$(if $(FLEET),--fleet "$(FLEET)") $(ARGS)

power: .venv/dev.stamp build/stubs.sha256 ## Pull the plug of a server ROUNDS times (200), break its disk; needs root
	POWER_ROUNDS="$(or $(ROUNDS),200)" DISK_ALL=1 .venv/bin/python -m pytest -o faulthandler_timeout=0 \
		tests/faults/test_power_cut.py tests/faults/test_disk_errors.py tests/faults/test_disk_full.py \
		tests/faults/test_store_damage.py $(ARGS)

abuse: .venv/dev.stamp build/stubs.sha256 ## Attack servers with raw HTTP/2, SECONDS each (20), and print what others notice
	.venv/bin/python -m tests.abuse $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

sim: .venv/dev.stamp build/stubs.sha256 ## Simulate RUNS seeds (1000) from SEED (1) on; with SEED alone, replay it
	.venv/bin/python -m tests.simulation --seed $(or $(SEED),1) \
		--runs $(or $(RUNS),$(if $(SEED),1,1000)) $(ARGS)

faults: .venv/dev.stamp build/stubs.sha256 ## Kill and stop servers and agents under load (ROUNDS=100 SEED=1 KIND=mixed)
	.venv/bin/python -m tests.faults --rounds $(or $(ROUNDS),100) --seed $(or $(SEED),1) \
		--kind $(or $(KIND),mixed)

nested: .venv/dev.stamp build/stubs.sha256 ## Kill a server KILLS times (5) amid COLLABORATIONS (200) in each other
	NESTED_COLLABORATIONS=$(or $(COLLABORATIONS),200) NESTED_KILLS=$(or $(KILLS),5) NESTED_SEED=$(or $(SEED),1) \
		.venv/bin/python -m pytest -o timeout=900 tests/faults/test_nested_kills.py $(ARGS)

talk: .venv/dev.stamp build/stubs.sha256 ## Cut and kill amid MESSAGES (10000) between members of groups and topics
	GROUP_MESSAGES=$(or $(MESSAGES),10000) GROUP_CUTS=$(or $(CUTS),40) GROUP_KILLS=$(or $(KILLS),3) \
		.venv/bin/python -m pytest -o timeout=900 tests/faults/test_group_messages.py \
		tests/client/test_bus_under_loss.py $(ARGS)

schemathesis: .venv/dev.stamp build/stubs.sha256 ## Try requests of all kinds that /openapi.json allows and does not (EXAMPLES=100)
	SCHEMATHESIS_EXAMPLES=$(or $(EXAMPLES),100) .venv/bin/python -m pytest -o timeout=3600 \
		-o faulthandler_timeout=0 -vv tests/server/http/test_schemathesis.py $(ARGS)

soak: .venv/dev.stamp build/stubs.sha256 ## Load a server with churn and see whether it levels off (MINUTES=10)
	.venv/bin/python -m tests.soak --minutes $(or $(MINUTES),10) $(ARGS)

crowd-page: .venv/dev.stamp build/stubs.sha256 ## Measure whether the dashboard stays fluent over 10,000 agents (TASKS=100000)
	.venv/bin/python -m tests.server.http.dashboard.crowd --tasks $(or $(TASKS),100000)

screenshots: .venv/dev.stamp build/stubs.sha256 ## Take pictures of the dashboard over a busy fleet into build/screenshots/demo
	.venv/bin/python -m tests.server.http.dashboard.screenshots $(ARGS)

lowest: ## Run the client's tests with the oldest grpcio and protobuf that the SDK allows
	@$(MAKE) --no-print-directory python
	rm -rf build/lowest && "$(PYTHON)" -m venv build/lowest
	grep -vE '^(grpcio|protobuf|googleapis)' deploy/constraints.txt > build/lowest.txt
	build/lowest/bin/python -m pip install --quiet --disable-pip-version-check -c build/lowest.txt \
		grpcio==1.78.0 protobuf==6.31.1 ".[test]"
	build/lowest/bin/python -m pytest tests/client tests/protos $(ARGS)

proto: ## Generate the stubs of the contract
	@rm -f build/stubs.sha256
	@$(MAKE) --no-print-directory build/stubs.sha256

image: .venv/dev.stamp build/stubs.sha256 ## Accept the contract as it is: later changes must not break it
	.venv/bin/python -m tests.protos.image

pins: ## Resolve all dependencies anew into deploy/constraints.txt
	@$(MAKE) --no-print-directory python
	rm -rf build/pins
	"$(PYTHON)" -m venv build/pins
	build/pins/bin/python -m pip install --quiet --disable-pip-version-check ".[dev]"
	{ sed '/^[^#]/,$$d' deploy/constraints.txt; \
		build/pins/bin/python -m pip freeze --exclude upbeat; } > build/constraints.txt
	mv build/constraints.txt deploy/constraints.txt
	rm -rf build/pins

clean: ## Remove everything that make has built
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -f client/upbeat/v1/*_pb2* server/upbeat_server/http/contract.binpb server/upbeat_server/rpc/keda/*_pb2*
	find client server tests protos -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
		echo "upbeat needs Python 3.11 or newer, and there is no $(PYTHON). On Debian or Ubuntu:" \
			"apt install python3 python3-venv" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "upbeat needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" -V 2>&1)." \
			"Name another one: make run PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv with pip. On Debian or Ubuntu: apt install" \
			"$$("$(PYTHON)" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; }

.venv/server.stamp: pyproject.toml deploy/constraints.txt
	@$(MAKE) --no-print-directory python
	@echo "Installing upbeat into .venv (once; about a minute)"
	@"$(PYTHON)" -m venv --clear .venv
	@$(PIP_INSTALL) -c deploy/constraints.txt -e ".[server]"
	@touch $@

.venv/dev.stamp: .venv/server.stamp
	@echo "Installing what tests and checks need into .venv"
	@$(PIP_INSTALL) -c deploy/constraints.txt -e ".[dev]"
	@touch $@

# The build hook of the package writes the stubs and this stamp, in a build environment of its own.
build/stubs.sha256: $(PROTOS) protos/build_stubs.py | .venv/server.stamp
	@echo "Generating the stubs of the contract"
	@$(PIP_INSTALL) --no-deps -e .
	@test -f $@

$(BUF):
	@echo "Installing buf $(BUF_VERSION)"
	@mkdir -p build/buf-$(BUF_VERSION)
	@npm install --prefix build/buf-$(BUF_VERSION) --no-save --no-audit --no-fund --silent @bufbuild/buf@$(BUF_VERSION)

$(ESLINT):
	@echo "Installing eslint $(ESLINT_VERSION)"
	@mkdir -p build/eslint-$(ESLINT_VERSION)
	@npm install --prefix build/eslint-$(ESLINT_VERSION) --no-save --no-audit --no-fund --silent \
		eslint@$(ESLINT_VERSION)
