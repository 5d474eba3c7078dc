# The commands of the project. `make help` lists them; each works from a fresh clone.
#
# PRESET=dev|release|asan|ubsan|tsan|clang chooses the build (CMakePresets.json); JOBS=N the number of compilers.

PRESET ?= release
JOBS ?= $(shell scripts/jobs.sh)
BUILD = $(if $(filter release,$(PRESET)),build,build-$(PRESET))
TESTS ?= .
RECIPE ?= recipes/quickstart.yaml
BENCH ?=

.DEFAULT_GOAL := help
.PHONY: help setup configure build quickstart test bench lint format asan ubsan tsan clang doctor clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PRESET=dev|release|asan|ubsan|tsan|clang   the build to use (default release, in build/)"
	@echo "  TESTS=regex                                only these tests"
	@echo "  RECIPE=file                                another recipe for quickstart"
	@echo "  RETORT_CACHE=folder                        where fetched parts are kept (default ~/.cache/retort)"

setup: ## install packages, fetch and build the pinned parts (nothing is done twice)
	@scripts/setup.sh build

# Always: it takes a second, and notices a part of another version or for another processor.
configure: setup
	@cmake --preset $(PRESET) --log-level=WARNING >/dev/null

build: configure ## the program: build/bin/retort
	cmake --build $(BUILD) -j $(JOBS) --target retort

quickstart: build ## distil a 135M teacher on this machine, with report: runs/quickstart
	$(BUILD)/bin/retort run $(RECIPE)

test: configure ## build everything and run all tests
	@scripts/clients.sh
	@python3 -B scripts/parts.py ensure nvrtc
	cmake --build $(BUILD) -j $(JOBS)
	ctest --test-dir $(BUILD) --output-on-failure --no-tests=error -j $(JOBS) -R '$(TESTS)'

asan: ## all tests with the address and undefined-behaviour sanitizers
	@$(MAKE) --no-print-directory test PRESET=asan

ubsan: ## all tests with the undefined-behaviour sanitizer alone
	@$(MAKE) --no-print-directory test PRESET=ubsan

tsan: ## all tests with the thread sanitizer
	@$(MAKE) --no-print-directory test PRESET=tsan

clang: ## all tests, built by Clang 16
	@scripts/setup.sh lint
	@$(MAKE) --no-print-directory test PRESET=clang

bench: configure ## speed side by side with llama.cpp and PyTorch (benchmarks/README.md)
	cmake --build $(BUILD) -j $(JOBS)
	@scripts/setup.sh bench
	BENCH="$(BENCH)" benchmarks/run.sh $(BUILD)

lint: configure ## clang-format and clang-tidy on what changed (ALL=1: on everything)
	@scripts/setup.sh lint
	scripts/lint.sh $(BUILD)

format: ## put all C++ files into the house's form
	@scripts/setup.sh lint
	git ls-files -z '*.h' '*.cc' | xargs -0 clang-format-16 -i

doctor: build ## what was found on this machine, and what is missing
	$(BUILD)/bin/retort doctor

clean: ## remove the build folders; the cache of parts stays
	rm -rf build build-*
