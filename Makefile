# Thin: every target is a CMake preset or a script. `make help` lists them.
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
DEMO_ARGS ?=
BENCH_ARGS ?=
GROWTH_ARGS ?=
# CMake takes the directory's name from PWD. Reached by a symbolic link the checkout would have
# another name, with which everything would be compiled again.
export PWD := $(CURDIR)

.DEFAULT_GOAL := help
.PHONY: help demo test bench bench-ops growth lint install python asan ubsan tsan build deps models clean

help:                  ## what each target does
	@sed -n 's/^\([a-z -]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 24

demo: build models     ## read real text with token reduction (DEMO_ARGS="--full" runs more)
	build/cpu/pith demo --fresh $(DEMO_ARGS)

test: build models     ## build and run every test
	ctest --test-dir build/cpu --output-on-failure -j $(JOBS)

bench: build models    ## measure speed and memory into benchmarks/RESULTS.md (BENCH_ARGS="--threads 2")
	scripts/bench.sh build/cpu/pith $(BENCH_ARGS)

bench-ops: deps models ## measure operators, prefill and tokenizer one by one
	cmake --preset cpu -DPITH_BENCHMARKS=ON
	cmake --build --preset cpu -j $(JOBS)
	scripts/bench-ops.sh build/cpu

growth: build models   ## measure time and memory against length (GROWTH_ARGS="--to 16384")
	benchmarks/growth/growth.py $(GROWTH_ARGS)

lint:                  ## formatting, clang-tidy on changed files, include direction, sizes
	scripts/install-deps.sh --with-lint
	cmake --preset cpu >/dev/null
	scripts/lint.sh

install: build         ## install program, library and headers (PREFIX, DESTDIR)
	cmake --install build/cpu --prefix $(PREFIX)

python: models         ## build the Python package and run its tests (docs/python.md)
	scripts/install-deps.sh --with-python
	scripts/python.sh $(JOBS)

asan ubsan tsan: deps models   ## run the tests that gain from it under a sanitizer
	scripts/sanitize.sh $@ $(JOBS)

build: deps            ## compile everything for the CPU
	cmake --preset cpu
	cmake --build --preset cpu -j $(JOBS)

deps:                  ## install the packages that pith needs
	scripts/install-deps.sh

models: | deps          ## unpack the shipped models
	scripts/unpack-models.sh

clean:                 ## remove builds and unpacked models
	rm -rf build out models/*/model.safetensors
