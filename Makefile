# kdiffe: `make run` trains on the demo data set, `make test` runs every test this machine can run.
CC      ?= gcc
BUILD   ?= build
ARCH    ?= -march=native
CSTD    := -std=c11
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
OPT     ?= -O3
PKGS    := openblas libcjson libxxhash yaml-0.1
CFLAGS  += $(CSTD) $(WARN) $(OPT) $(ARCH) -g -fopenmp -fno-math-errno -fno-trapping-math \
           -D_GNU_SOURCE -Iinclude -Isrc $(shell pkg-config --cflags $(PKGS) 2>/dev/null) $(SANITIZE)
LDLIBS  += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -fopenmp $(SANITIZE)

LIB_SRC  := $(filter-out src/host/cli/main.c,$(wildcard src/host/*/*.c)) $(wildcard src/kernels/*.c src/kernels/cpu/*.c src/kernels/common/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o)
TEST_SRC := $(wildcard tests/test_*.c)
TEST_BIN := $(TEST_SRC:tests/%.c=$(BUILD)/tests/%) $(BUILD)/tests/golden

.PHONY: all
all: $(BUILD)/kdiffe

$(BUILD)/libkdiffe.a: $(LIB_OBJ)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/kdiffe: $(BUILD)/src/host/cli/main.o $(BUILD)/libkdiffe.a
	$(CC) -o $@ $^ $(LDLIBS)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libkdiffe.a
	$(CC) -o $@ $^ $(LDLIBS) -lcmocka

-include $(LIB_OBJ:.o=.d) $(TEST_BIN:%=%.d)
