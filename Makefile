# Everything that people and CI run. `make` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
C_FILES := $(wildcard runtime/*.[ch] host/kernels/*.[ch] firmware/src/*.[ch] firmware/src/*/*.[ch] boards/sim/*.[ch])
BUILD_FILES := pyproject.toml setup.py host/wage_host/build_core.py $(C_FILES)
DEBIAN := cmake gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm \
	gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc \
	gcc-avr avr-libc libsimavr-dev libelf-dev arduino-core-avr
ANALYSIS := clang-19 clang-tidy-19 libclang-rt-19-dev llvm-19 cppcheck \
	$(if $(filter x86_64,$(shell uname -m)),gcc-multilib)
BROWSER := chromium chromium-driver

.PHONY: help demo test soak prove lint tools bench speed accuracy continual convert-table clean

help: ## list what there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' $(MAKEFILE_LIST)

demo: $(VENV)/.user ## a simulated board learns two new digits, in a minute
	@$(BIN)/wage-host demo

test: tools $(VENV)/.dev lint ## all tests but the long ones; 11 minutes on two cores
	$(BIN)/pytest -m "not soak and not prove" -n 2 --dist loadfile --no-loadscope-reorder

soak: tools $(VENV)/.dev ## the long tests; under 45 minutes
	$(BIN)/pytest -m soak -n 2 --dist loadfile

prove: $(VENV)/.dev ## bounded proofs of arithmetic, frames, requests, blob, slots, with ESBMC; ten minutes
	$(BIN)/pytest -m prove -n 2

lint: $(VENV)/.dev ## style of the Python files
	$(BIN)/ruff check .

tools: ## cross compiler and emulator, from Debian's packages when we may
	@./tests/tools.sh "Tests of cross-compiled and emulated boards will be skipped." $(DEBIAN)
	@./tests/tools.sh "Fuzzers, static analysis and some compilers will be skipped." $(ANALYSIS)
	@./tests/tools.sh "Tests of pages in a browser will be skipped." $(BROWSER)

bench: tools $(VENV)/.dev ## cost of the workloads on emulated boards: build/bench.md; minutes
	@$(BIN)/python tests/bench.py

speed: $(VENV)/.accuracy ## training on this computer beside PyTorch, a minute
	@$(BIN)/python tests/speed.py

accuracy: $(VENV)/.accuracy ## docs/accuracy.md, in hours; goes on where it stopped; ROWS=task…
	@./tests/tools.sh "Without it WAGE_DATA needs fashion-mnist." dataset-fashion-mnist
	@PYTHONPATH=tests $(BIN)/python -m accuracy run $(ROWS)

continual: tools $(VENV)/.continual ## docs/continual.md, in hours; goes on where it stopped; ROWS=benchmark…
	@./tests/tools.sh "Without it WAGE_DATA needs fashion-mnist." dataset-fashion-mnist
	@PYTHONPATH=tests $(BIN)/python -m continual run $(ROWS)

convert-table: $(VENV)/.accuracy ## docs/convert.md, models of other programs; goes on where it stopped
	@./tests/tools.sh "Without it WAGE_DATA needs fashion-mnist." dataset-fashion-mnist
	@PYTHONPATH=tests $(BIN)/python -m converted

clean: ## remove what was built here
	rm -rf $(VENV) build demo *.egg-info host/*.egg-info host/wage_host/_core*

# The package, compiled anew when a C file changes.
$(VENV)/.user: $(BUILD_FILES) | $(VENV)
	@echo "installing wage-host into $(VENV) (once; about a minute)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.user
	@echo "installing what the tests need into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,boards]'
	@touch $@

# PyTorch, for the float twins and the bench only.
$(VENV)/.accuracy: $(VENV)/.user
	@echo "installing PyTorch into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[accuracy]'
	@touch $@

# Small sets that come in packages; of aeon no code runs.
$(VENV)/.continual: $(VENV)/.accuracy $(VENV)/.dev
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps aeon==1.6.0
	@$(BIN)/pip install --quiet --disable-pip-version-check mnist1d==0.0.2.post1
	@touch $@

CANNOT := wage-host cannot be built without them.
HEADERS := import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")

$(VENV):
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || ./tests/tools.sh "$(CANNOT)" python3-venv
	@$(PYTHON) -c '$(HEADERS)' 2>/dev/null || ./tests/tools.sh "$(CANNOT)" python3-dev
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
