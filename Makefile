# Every target does all set-up that it needs; what is up to date is not done again.

BIN     := .venv/bin
TYPED   := $(wildcard $(patsubst %.pxd,%.py,$(shell find sipcore -name '[!_]*.pxd')))
SOURCES := $(shell find sipcore benchmarks -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.bpf.c') $(TYPED)
CYTHON  := $(shell find sipcore benchmarks -name '*.pyx' -o -name '*.pxd')

# The unit tests of sipcore: the ones worth running under the sanitizers.
UNITS := $(wildcard $(addprefix tests/,base wire stack anchor media net))
DEBUG := build/debug
TREE  := sipcore proxy benchmarks tests setup.py pyproject.toml README.md LICENSE
# Where network namespaces can be made (root), the suite runs in three processes with a loopback each: two cores are kept
# busy although tests wait.
PARALLEL := $(shell unshare -n true 2>/dev/null && printf '%s' '-n 3 --dist loadfile')
FUZZ_SECONDS ?= 8
# 0: another way through the inputs each time.
FUZZ_SEED ?= 0

.DELETE_ON_ERROR:
.PHONY: setup run test bench lint debug-test fuzz lock clean

setup: .venv/.built

run: .venv/.built .venv/.run-packages
	$(BIN)/sipedge run --demo

# Paths of sockets have at most 107 bytes: what the tests keep stands in a folder with a short name. Tests start hundreds of
# processes, which would compile the same modules again where Python is told to keep no compiled ones.
test: .venv/.built .venv/.test-packages .venv/.jssip
	$(BIN)/python -m compileall -q proxy sipcore benchmarks tests
	folder=$$(mktemp -d /tmp/sipedge-XXXX); $(BIN)/python -m pytest $(PARALLEL) --basetemp $$folder; \
		status=$$?; rm -rf $$folder; exit $$status

bench: .venv/.built
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only
	$(BIN)/python -m benchmarks.end_to_end
	$(BIN)/python -m benchmarks.end_to_end --transport tcp
	$(BIN)/python -m benchmarks.end_to_end --transport tls
	$(BIN)/python -m benchmarks.end_to_end --controlled
	$(BIN)/python -m benchmarks.end_to_end_memory
	$(BIN)/python -m benchmarks.end_to_end_media
	$(BIN)/python -m benchmarks.transfers
	$(BIN)/python -m benchmarks.overload
	$(BIN)/python -m benchmarks.end_to_end_held
	$(BIN)/python -m benchmarks.end_to_end_idle

lint: .venv/.built
	$(BIN)/ruff check .
	PATH=$(BIN):$$PATH cython-lint $(CYTHON)
	$(BIN)/mypy

# A copy of the tree, so that checked and plain builds never mix; -p keeps times, so that only changes are rebuilt.
# The load generator is not built in it. Tests look for the folder `shared` beside the project.
.PHONY: debug-build
debug-build: .venv/.built
	mkdir -p $(DEBUG)
	cd $(DEBUG) && rm -rf sanitizer.* && find . -type f -not -name '*.so' -not -path './build/*' -delete
	find $(TREE) -name __pycache__ -prune -o -type f -not -name '*.so' -not -path 'benchmarks/*.pyx' -print0 \
		| xargs -0 cp -p --parents -t $(DEBUG)
	ln -sfn ../../shared build/shared
	cd $(DEBUG) && SIPCORE_DEBUG=1 SIPCORE_SANITIZE=1 ../../$(BIN)/python setup.py -q build_ext --inplace

# Leak detection stays off: the interpreter itself leaks at exit, and every stack of ours runs through it. Objects
# of ours are counted by the debug build instead. PYTHONMALLOC shows reads past the end of a bytes object. Each
# report, a failed check's too, ends the process and leaves a file, so that none is missed in a process of a test.
debug-test: debug-build .venv/.test-packages
	cd $(DEBUG) && PYTHONMALLOC=malloc \
		LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
		ASAN_OPTIONS=detect_leaks=0:handle_abort=1:log_path=$$PWD/sanitizer \
		UBSAN_OPTIONS=abort_on_error=1:log_path=$$PWD/sanitizer \
		../../$(BIN)/python -m pytest $(PARALLEL) --capture sys --timeout 900 $(UNITS); \
		status=$$?; cat sanitizer.* 2>/dev/null && exit 1; exit $$status

# The fuzzer brings its own sanitizer runtime, which gcc's modules fit. What breaks a target is left in out/.
fuzz: debug-build
	mkdir -p out
	cd $(DEBUG) && runtime=$$(../../$(BIN)/python -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so && \
		for target in $(wildcard tests/fuzz/fuzz_*.py); do \
			echo "$$target: $(FUZZ_SECONDS) s" && \
			LD_PRELOAD=$$runtime PYTHONPATH=. PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=64 \
			../../$(BIN)/python $$target -verbosity=0 -seed=$(FUZZ_SEED) -max_total_time=$(FUZZ_SECONDS) \
				-artifact_prefix=../../out/$$(basename $$target .py)- || exit 1; \
		done

# Hashes for every platform and every supported Python; needs uv.
lock:
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --extra postgresql --group build --group test --group lint pyproject.toml -o requirements.lock

clean:
	rm -rf build dist out *.egg-info .venv/.built .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find sipcore benchmarks -name '*.so' -delete
	find sipcore -name '*.bpf' -delete
	find sipcore benchmarks -name '*.pyx' | sed 's/pyx$$/c/' | xargs rm -f $(TYPED:.py=.c)
	find sipcore proxy benchmarks tests -name __pycache__ -prune -exec rm -rf {} +

.venv/.packages: .ci/packages .ci/python
	.ci/packages build
	mkdir -p .venv
	touch $@

.venv/.test-packages: .ci/packages | .venv/.packages
	.ci/packages test
	touch $@

# The phone of the tests with a browser, in the versions and with the hashes of its lock file.
.venv/.jssip: tests/browser/package.json tests/browser/package-lock.json | .venv/.test-packages
	mkdir -p .venv/jssip
	cp tests/browser/package.json tests/browser/package-lock.json .venv/jssip
	npm ci --silent --fetch-retries 5 --ignore-scripts --no-audit --no-fund --prefix .venv/jssip
	touch $@

.venv/.run-packages: .ci/packages | .venv/.packages
	.ci/packages run
	touch $@

.venv/.locked: requirements.lock | .venv/.packages
	test -x $(BIN)/pip || "$$(.ci/python)" -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --retries 10 --require-hashes -r requirements.lock
	touch $@

.venv/.built: .venv/.locked pyproject.toml setup.py $(SOURCES)
	$(BIN)/python setup.py -q build_ext --inplace
	test $(BIN)/sipedge -nt pyproject.toml || SIPCORE_BUILT=1 \
		$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@
