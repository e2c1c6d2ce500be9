# kdiffe: `make run` trains on the demo data set, `make test` runs every test this machine can run; `make help` tells more.
CC      ?= gcc
BUILD   ?= build
ARCH    ?= -march=native
OPT     ?= -O3
PREFIX  ?= /usr/local
CSTD    := -std=c11
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla

# OpenBLAS in its OpenMP build: the pthread one would start its own threads inside parallel loops.
BLAS_INC := $(firstword $(wildcard /usr/include/*/openblas-openmp) $(shell pkg-config --variable=includedir openblas 2>/dev/null))
BLAS_LIB := $(firstword $(wildcard /usr/lib/*/openblas-openmp))
PKGS     := libcjson libxxhash yaml-0.1
CPPFLAGS += -D_GNU_SOURCE -Iinclude -Isrc -Itests $(if $(BLAS_INC),-isystem $(BLAS_INC)) \
            $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS   += $(CSTD) $(WARN) $(OPT) $(ARCH) -g -fopenmp -fno-math-errno -fno-trapping-math $(SANITIZE)
COMMA    := ,
LDFLAGS  += $(if $(BLAS_LIB),-L$(BLAS_LIB) -Wl$(COMMA)-rpath$(COMMA)$(BLAS_LIB)) $(SANITIZE)
LDLIBS   += -lopenblas $(shell pkg-config --libs $(PKGS) 2>/dev/null || echo -lcjson -lxxhash -lyaml) -lm -fopenmp

LIB_SRC  := $(filter-out src/host/cli/main.c,$(wildcard src/host/*/*.c)) $(wildcard src/kernels/*.c src/kernels/*/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o)
GOLDEN   := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/published/*.c))
TEST_SRC := $(wildcard tests/test_*.c)
TEST_BIN := $(TEST_SRC:tests/%.c=$(BUILD)/tests/%)
SOURCES  := $(wildcard include/*/*.h src/*/*.[ch] src/*/*/*.[ch] tests/*.[ch] tests/published/*.[ch] bench/*.c)
MAKEFLAGS += --no-print-directory

.PHONY: all tests run test check config install clean help bench-epoch setup format lint sanitize

all: $(BUILD)/kdiffe
tests: all $(TEST_BIN) $(BUILD)/tests/golden

$(BUILD)/libkdiffe.a: $(LIB_OBJ)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/kdiffe: $(BUILD)/src/host/cli/main.o $(BUILD)/libkdiffe.a
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/tests/golden: $(GOLDEN) $(BUILD)/libkdiffe.a
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(TEST_BIN): $(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libkdiffe.a
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(BUILD)/bench/gemm.d $(LIB_OBJ:.o=.d) $(TEST_BIN:%=%.d) $(GOLDEN:.o=.d) $(BUILD)/src/host/cli/main.d

# What needs packages goes through setup first; a second make then sees what setup installed.
setup:
	@sh tests/setup.sh build

run: setup
	@$(MAKE) -j2 all
	@sh datasets/demo.sh $(BUILD)/kdiffe

test: setup
	@$(MAKE) -j2 tests
	@bash tests/run_all.sh $(BUILD)

# Everything that should be true of the sources: format, static analysis, and the tests under the sanitizers.
check: format lint sanitize

format:
	@sh tests/setup.sh check
	@clang-format --dry-run -Werror $(SOURCES) && echo "format: $(words $(SOURCES)) files as .clang-format wants them"

lint: setup
	@cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr --enable=warning,performance,portability \
	    --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches --suppress=unknownMacro -Iinclude -Isrc -D__GNUC__=12 src
	@echo "lint: cppcheck has no findings"

# vptr of OpenMP's runtime and OpenBLAS's buffers live until exit: only leaks with our frames count (tests/lsan.supp).
sanitize: setup
	@$(MAKE) -j2 BUILD=build/asan OPT=-O1 SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer" tests
	@LSAN_OPTIONS=suppressions=$(CURDIR)/tests/lsan.supp:print_suppressions=0 bash tests/run_all.sh build/asan

config:
	@sh tests/setup.sh report

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include/kdiffe
	install -m 755 $(BUILD)/kdiffe $(DESTDIR)$(PREFIX)/bin/kdiffe
	install -m 644 include/kdiffe/*.h $(DESTDIR)$(PREFIX)/include/kdiffe

# Stage times of an epoch beside their floor: make bench-epoch DATA=data/demo [ARGS="--key=value ..."]
bench-epoch: all $(BUILD)/bench/gemm
	@python3 bench/epoch.py $(BUILD)/kdiffe $(BUILD)/bench/gemm $(DATA) $(BUILD)/bench/run $(ARGS)

$(BUILD)/bench/gemm: $(BUILD)/bench/gemm.o
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

clean:
	rm -rf build

help:
	@echo "make            build $(BUILD)/kdiffe"
	@echo "make run        install what is missing, build, make the demo data set, train on it"
	@echo "make test       install what is missing, build, run every test that this machine can run"
	@echo "make check      format, cppcheck, and the tests under AddressSanitizer and UBSan"
	@echo "make config     which parts and packages are there"
	@echo "make install    into PREFIX ($(PREFIX)) below DESTDIR"
	@echo "make bench-epoch DATA=DIR   stage times of an epoch beside their floor"
	@echo "make clean      remove build/"
	@echo "variables: CC BUILD ARCH (-march=native) OPT (-O3) PREFIX DESTDIR"
