# kdiffe: `make run` trains on the demo data set, `make test` runs every test this machine can run; `make help` tells more.
ifeq ($(origin CC),default)
CC      := gcc
endif
BUILD   ?= build
OPT     ?= -O3
OBJCOPY ?= objcopy
PREFIX  ?= /usr/local
JOBS    ?= $(shell nproc 2>/dev/null || echo 2)
CSTD    := -std=c11
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla

# The CPU column is compiled once for each of these levels of the instruction set, and the highest that a machine can run
# is chosen at start (src/kernels/cpu_level.h); all else is compiled for any machine of the architecture. native: one
# level, which runs on machines like this one.
CPU_LEVELS ?= $(if $(filter x86_64-%,$(shell $(CC) -dumpmachine 2>/dev/null)),v2 v3 v4,native)
# -mtune: told of no processor, gcc schedules the loops that draw random numbers up to a quarter slower.
LEVEL_ARCH  = $(if $(filter v%,$(1)),-march=x86-64-$(1) -mtune=znver3,-march=$(1))

# Where packages are: the system's, or with DEPS=DIR what `sh tests/setup.sh unpack DIR` put there without being root.
export DEPS
# OpenBLAS in its OpenMP build: the pthread one would start its own threads inside parallel loops.
BLAS_INC := $(firstword $(wildcard $(DEPS)/usr/include/*/openblas-openmp) $(shell pkg-config --variable=includedir openblas 2>/dev/null))
BLAS_LIB := $(firstword $(wildcard $(DEPS)/usr/lib/*/openblas-openmp))
DEPS_LIB := $(if $(DEPS),$(patsubst %/,%,$(dir $(BLAS_LIB))))
PKGS     := libcjson libxxhash yaml-0.1
CPPFLAGS += -D_GNU_SOURCE -Iinclude -Isrc $(if $(BLAS_INC),-isystem $(BLAS_INC)) \
            $(if $(DEPS),-isystem $(DEPS)/usr/include,$(shell pkg-config --cflags $(PKGS) 2>/dev/null))
# What of the library can be seen from outside is marked in include/kdiffe.
SHARED   := -fPIC -fvisibility=hidden
CFLAGS   += $(CSTD) $(WARN) $(OPT) $(SHARED) -g -fopenmp -fno-math-errno -fno-trapping-math $(SANITIZE)
COMMA    := ,
# Programs that travel (make gpu-pack), the stand-in's among them: their libraries lie in a folder lib beside build/kdiffe.
PACKED   ?= $(filter 1,$(EMU))
LDFLAGS  += $(if $(PACKED),-Wl$(COMMA)--disable-new-dtags -Wl$(COMMA)-rpath$(COMMA)\$$ORIGIN/lib:\$$ORIGIN/../lib) \
            $(foreach dir,$(BLAS_LIB) $(DEPS_LIB),-L$(dir) -Wl$(COMMA)-rpath$(COMMA)$(dir)) \
            $(if $(DEPS),-Wl$(COMMA)--disable-new-dtags) $(SANITIZE) $(KERNEL_SANITIZE)
LDLIBS   += -lopenblas $(if $(DEPS),-lcjson -lxxhash -lyaml,$(shell pkg-config --libs $(PKGS) 2>/dev/null || echo -lcjson -lxxhash -lyaml)) \
            -lm -fopenmp

# The CUDA column: through nvcc where it is found (CUDA=0: never), or, for tests on machines without a GPU, through the
# host's C++ compiler and the stand-in of tests/emu (EMU=1).
# nvcc on PATH, the usual place, or where Python packages (nvidia-cuda-nvcc and its kin) put it.
PYTHON_CUDA = $(wildcard $(shell python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null)/nvidia/cu*/bin/nvcc)
CUDA_HOME ?= $(patsubst %/bin/nvcc,%,$(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc) $(PYTHON_CUDA)))
NVCC     := $(wildcard $(CUDA_HOME)/bin/nvcc)
CUDA_LIB := $(firstword $(dir $(wildcard $(addsuffix /libcublasLt.so*,$(CUDA_HOME)/lib64 $(CUDA_HOME)/lib $(CUDA_HOME)/lib/*-linux-gnu))))
CUDA     ?= $(if $(and $(NVCC),$(CUDA_LIB),$(shell command -v $(CXX))),1,0)
EMU      ?= 0
KERNEL_SANITIZE ?=
GPU_CODE ?= -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90]
CU_SRC   := $(wildcard src/kernels/cuda/*.cu)
CUDA_INC := $(if $(filter-out /usr,$(CUDA_HOME)),-isystem $(CUDA_HOME)/include)
CXXFLAGS += -std=c++17 $(filter-out -Wstrict-prototypes -Wmissing-prototypes -Wvla,$(WARN)) $(OPT) $(SHARED) -g -fno-math-errno -ffp-contract=off
ifeq ($(EMU),1)
CPPFLAGS += -DKD_WITH_CUDA
CU_OBJ   := $(CU_SRC:%.cu=$(BUILD)/%.o) $(patsubst %.cc,$(BUILD)/%.o,$(filter-out tests/emu/test_% tests/emu/loads.cc,$(wildcard tests/emu/*.cc)))
LDLIBS   += -lstdc++ -ldl
LDFLAGS  += -Wl$(COMMA)-u$(COMMA)ncclAllReduce # the stand-in of NCCL: what is referred to weakly is not taken otherwise
else ifeq ($(CUDA),1)
CPPFLAGS += -DKD_WITH_CUDA
CU_OBJ   := $(CU_SRC:%.cu=$(BUILD)/%.o)
LDFLAGS  += -L$(CUDA_LIB) -Wl$(COMMA)-rpath$(COMMA)$(CUDA_LIB)
LDLIBS   += $(firstword $(wildcard $(CUDA_LIB)libcublasLt.so $(CUDA_LIB)libcublasLt.so.*)) -lcudart_static -ldl -lrt -lpthread -lstdc++
endif

# Ranks on several machines, or several on one, where MPI's headers are (MPI=0: never).
MPI      ?= $(if $(shell pkg-config --exists ompi-c 2>/dev/null && echo 1),1,0)
ifeq ($(MPI),1)
CPPFLAGS += -DKD_WITH_MPI $(patsubst -I%,-isystem %,$(shell pkg-config --cflags ompi-c))
LDLIBS   += $(shell pkg-config --libs ompi-c)
endif

# Sums over several GPUs: NCCL's header is enough, its library is loaded by the jobs that need it.
NCCL_INC := $(patsubst %/nccl.h,%,$(firstword $(wildcard $(addsuffix /nccl.h,$(CUDA_HOME)/include /usr/include /usr/local/include \
              $(patsubst %/bin/nvcc,%/../nccl/include,$(PYTHON_CUDA))))))
ifneq ($(filter 1,$(EMU) $(CUDA)),)
CPPFLAGS += $(if $(NCCL_INC),-DKD_WITH_NCCL $(if $(filter-out /usr/include $(CUDA_HOME)/include,$(NCCL_INC)),-isystem $(NCCL_INC)))
endif

# The stand-in includes NVIDIA's headers.
STAND_IN := $(if $(and $(wildcard $(CUDA_HOME)/include/cublasLt.h),$(shell command -v $(CXX))),1)

CPU_SRC  := $(wildcard src/kernels/cpu/*.c)
CPU_OBJ  := $(CPU_LEVELS:%=$(BUILD)/cpu-%.o)
# The library for programs of others: its soname changes when those that were linked with an older one could no longer run.
VERSION  := $(shell sed -n 's/^.define KDIFFE_VERSION "\(.*\)"/\1/p' include/kdiffe/version.h)
SO       := libkdiffe.so.$(VERSION)
SONAME   := libkdiffe.so.$(firstword $(subst ., ,$(VERSION)))
# The plain loops that tests and bench compare the columns with.
REF_SRC  := $(wildcard src/kernels/ref/*.c)
LIB_SRC  := $(filter-out src/host/cli/main.c,$(wildcard src/host/*/*.c src/host/*/*/*.c)) $(wildcard src/kernels/*.c) $(REF_SRC) $(CPU_SRC)
LIB_OBJ  := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(CPU_SRC),$(LIB_SRC))) $(CPU_OBJ) $(CU_OBJ)
GOLDEN   := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/published/*.c))
TEST_SRC := $(wildcard tests/test_*.c)
TEST_BIN := $(TEST_SRC:tests/%.c=$(BUILD)/tests/%)
SOURCES  := docs/example.c $(wildcard include/*/*.h src/*/*.[ch] src/*/*/*.[ch] src/*/*/*/*.[ch] src/*/*/*.cu tests/*.[ch] tests/published/*.[ch] tests/emu/*.[ch] \
              tests/emu/*.cc tests/emu/*.cu bench/peers/*.cu)
ASAN     := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
MAKEFLAGS += --no-print-directory
# Targets for people call make once more for what they build: it then sees what setup has installed, and uses every core.
PARALLEL  = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))

.PHONY: all profile-nsys profile-ncu gpu-check gpu-pack tests column-tests kernels-table launch-report run test check config install clean help bench setup structure format lint sanitize FORCE

all: $(BUILD)/flags
	@$(MAKE) $(PARALLEL) $(BUILD)/kdiffe $(BUILD)/$(SO)

tests: $(BUILD)/kdiffe $(BUILD)/$(SO) $(TEST_BIN) $(BUILD)/tests/golden

# What compares the CUDA column with the CPU's.
column-tests: $(addprefix $(BUILD)/,kdiffe tests/golden $(addprefix tests/test_,ops columns graph_columns naive_columns training_columns split lightgcn resume ranks))
# Loads are counted without sanitizers, by what would call ThreadSanitizer.
ifeq ($(EMU)$(SANITIZE)$(KERNEL_SANITIZE),1)
column-tests: $(BUILD)/tests/launches $(BUILD)/tests/planted_loads
endif

ALL_FLAGS = $(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(CXX) $(CXXFLAGS) $(KERNEL_SANITIZE) $(NVCC) $(GPU_CODE) \
            $(foreach level,$(CPU_LEVELS),$(call LEVEL_ARCH,$(level)))
# Rewritten only when they change: other flags compile everything anew, a source file that went away links anew. Where
# something is missing that they need, make stops here, before it compiles anything, with one line.
NEW_FLAGS = $(shell echo '$(ALL_FLAGS)' | cmp -s - $(BUILD)/flags || echo 1)
LACKING   = $(shell sh tests/setup.sh lacking '$(CC)' $(CPPFLAGS) $(LDFLAGS) 2>&1)
stop      = $(if $(1),$(error $(1)))
$(BUILD)/flags: FORCE
	$(if $(NEW_FLAGS),$(call stop,$(LACKING))@mkdir -p $(@D) && echo '$(ALL_FLAGS)' >$@)

$(BUILD)/sources: FORCE
	@mkdir -p $(@D)
	@echo '$(LIB_OBJ) $(CPU_SRC)' | cmp -s - $@ || echo '$(LIB_OBJ) $(CPU_SRC)' >$@

# What benchmarks say they measured; only the file that says it is compiled anew after a commit.
$(BUILD)/commit.h: FORCE
	@mkdir -p $(@D)
	@echo '#define KDIFFE_COMMIT "$(shell git describe --always --dirty 2>/dev/null || echo unknown)"' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(BUILD)/src/host/bench/report.o: $(BUILD)/commit.h
$(BUILD)/src/host/bench/report.o: private CPPFLAGS += -include $(BUILD)/commit.h

$(BUILD)/libkdiffe.a: $(LIB_OBJ) $(BUILD)/sources
	@rm -f $@
	@ar rcs $@ $(LIB_OBJ)

# What include/kdiffe declares, and neither the commands nor what they alone need.
SO_OBJ   := $(filter-out $(BUILD)/src/host/cli/% $(BUILD)/src/host/bench/% $(REF_SRC:%.c=$(BUILD)/%.o),$(LIB_OBJ))
$(BUILD)/$(SO): $(SO_OBJ) $(BUILD)/sources src/host/api/exports.map
	@echo "  LD $@"
	@$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=src/host/api/exports.map $(LDFLAGS) -o $@ $(SO_OBJ) $(LDLIBS)
	@ln -sf $(SO) $(BUILD)/$(SONAME)
	@ln -sf $(SO) $(BUILD)/libkdiffe.so

$(BUILD)/kdiffe: $(BUILD)/src/host/cli/main.o $(BUILD)/libkdiffe.a
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/tests/golden: $(GOLDEN) $(BUILD)/libkdiffe.a
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(TEST_BIN): $(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libkdiffe.a
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

ifeq ($(EMU),1)
# Kernels that say what they load (tests/emu/loads.cc); gcc unrolls loops under -fsanitize=thread as without it.
$(BUILD)/loads/%.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CXX $< (loads)"
	@$(CXX) $(CPPFLAGS) $(CUDA_INC) -Itests $(CXXFLAGS) -fsanitize=thread --param tsan-instrument-func-entry-exit=0 -MMD -MP -x c++ -c -o $@ $<

LOADS_OBJ := $(BUILD)/tests/emu/loads.o $(CU_SRC:%.cu=$(BUILD)/loads/%.o)
$(BUILD)/tests/launches: $(BUILD)/tests/emu/launches.o $(LOADS_OBJ) $(filter-out $(CU_SRC:%.cu=$(BUILD)/%.o),$(LIB_OBJ))
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/tests/planted_loads: $(BUILD)/loads/tests/emu/planted_loads.o $(BUILD)/tests/emu/loads.o $(BUILD)/libkdiffe.a
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

-include $(LOADS_OBJ:.o=.d) $(BUILD)/loads/tests/emu/planted_loads.d $(BUILD)/tests/emu/launches.d

$(BUILD)/%.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CXX $<"
	@$(CXX) $(CPPFLAGS) $(CUDA_INC) -Itests $(CXXFLAGS) $(SANITIZE) $(KERNEL_SANITIZE) -MMD -MP -x c++ -c -o $@ $<

# The stand-in's engine is not instrumented (tests/emu/sanitizers.h says why), its runtime is, like the program.
$(BUILD)/tests/emu/%.o: tests/emu/%.cc $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CXX $<"
	@$(CXX) $(CPPFLAGS) $(CUDA_INC) -Itests $(CXXFLAGS) \
	    $(if $(filter $*,fibers barriers shared blas),-O3,$(SANITIZE) $(KERNEL_SANITIZE)) -MMD -MP -c -o $@ $<
else
$(BUILD)/%.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  NVCC $<"
	@$(NVCC) -std=c++17 -O3 -lineinfo $(GPU_CODE) -Xcompiler -Wall,-Wextra,-fPIC,-fvisibility=hidden -Werror all-warnings $(filter -D% -I%,$(CPPFLAGS)) \
	    $(if $(filter-out $(CUDA_HOME)/include,$(NCCL_INC)),-isystem $(NCCL_INC)) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<
endif

# The C standard lets a sum take a product unrounded; gcc under -std=c11 must be told to.
CONTRACT := -ffp-contract=fast
$(BUILD)/tests/test_vector_math.o: private CFLAGS += $(CONTRACT)

# One level of the CPU column: its files become one object of which only the op table is seen, as kd_cpu_ops_<level>.
define LEVEL_RULES
$(BUILD)/cpu-$(1)/%.o: src/kernels/cpu/%.c $(BUILD)/flags
	@mkdir -p $$(@D)
	@echo "  CC $$< ($(1))"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(CONTRACT) $(LEVEL_ARCH) -MMD -MP -c -o $$@ $$<

$(BUILD)/cpu-$(1).o: $(CPU_SRC:src/kernels/cpu/%.c=$(BUILD)/cpu-$(1)/%.o) $(BUILD)/sources
	@$(LD) -r -o $(BUILD)/cpu-$(1)/all.o $$(filter %.o,$$^)
	@$(OBJCOPY) --redefine-sym kd_cpu_ops=kd_cpu_ops_$(1) --keep-global-symbol=kd_cpu_ops_$(1) $(BUILD)/cpu-$(1)/all.o $$@

-include $(CPU_SRC:src/kernels/cpu/%.c=$(BUILD)/cpu-$(1)/%.d)
endef
$(foreach level,$(CPU_LEVELS),$(eval $(call LEVEL_RULES,$(level))))

$(BUILD)/src/kernels/cpu_level.o: private CPPFLAGS += '-DKD_CPU_LEVELS(X)=$(foreach level,$(CPU_LEVELS),X($(level)))'

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CPPFLAGS) $(if $(filter tests/%,$<),-Itests) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(LIB_OBJ:.o=.d) $(TEST_BIN:%=%.d) $(GOLDEN:.o=.d) $(BUILD)/src/host/cli/main.d

setup:
	@sh tests/setup.sh build

run: setup
	@$(MAKE) $(PARALLEL) $(BUILD)/kdiffe
	@sh datasets/demo.sh $(BUILD)/kdiffe

test:
	@sh tests/setup.sh test
	@$(MAKE) $(PARALLEL) tests
	@$(if $(STAND_IN),$(MAKE) $(PARALLEL) EMU=1 BUILD=$(BUILD)/emu column-tests)
	@bash tests/run_all.sh $(BUILD) $(if $(STAND_IN),$(BUILD)/emu plain)

# Everything that should be true of the sources, cheapest first.
check:
	@sh tests/setup.sh check
	@$(MAKE) structure
	@$(MAKE) format
	@$(MAKE) lint
	@$(MAKE) sanitize

# No include runs upwards or in a circle; every place of a document that is cited is there; every op has its plain loop.
structure:
	@python3 tests/check_includes.py
	@sh tests/check_anchors.sh
	@sh tests/check_ops.sh

format:
	@clang-format --dry-run -Werror $(SOURCES)
	@echo "format: $(words $(SOURCES)) files are as .clang-format wants them"

lint:
	@cppcheck --quiet -j $(JOBS) --std=c11 --error-exitcode=1 --inline-suppr --enable=warning,performance,portability \
	    --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches --suppress=unknownMacro \
	    -Iinclude -Isrc -D__GNUC__=12 src
	@printf '%s\n' $(LIB_SRC) | xargs -P $(JOBS) -n 8 sh -c 'clang-tidy --quiet "$$@" -- $(CPPFLAGS) $(CSTD) 2>/dev/null' lint
	@echo "lint: cppcheck and clang-tidy have no findings"

# Everything under AddressSanitizer, its leak checker and UBSan; what the runtimes of OpenMP and OpenBLAS keep until the
# end is theirs. Then the kernels under ThreadSanitizer.
sanitize: setup
	@$(MAKE) $(PARALLEL) BUILD=$(BUILD)/asan OPT=-O1 SANITIZE="$(ASAN)" MPI=0 CUDA=0 EMU=$(if $(STAND_IN),1,0) tests
	@LSAN_OPTIONS=suppressions=$(CURDIR)/tests/lsan.supp:print_suppressions=0 bash tests/run_all.sh $(BUILD)/asan \
	    $(if $(STAND_IN),$(BUILD)/asan asan)
	@$(if $(STAND_IN),$(MAKE) $(PARALLEL) BUILD=$(BUILD)/tsan OPT=-O1 KERNEL_SANITIZE=-fsanitize=thread MPI=0 EMU=1 column-tests)
	@$(if $(STAND_IN),bash tests/stand_in.sh $(BUILD)/tsan tsan)

config:
	@CC="$(CC)" sh tests/setup.sh report

# Where bash and zsh look for what completes a command's words.
COMPLETE_BASH := share/bash-completion/completions/kdiffe
COMPLETE_ZSH  := share/zsh/site-functions/_kdiffe
# Of /usr/lib/x86_64-linux-gnu on Debian: LIBDIR=lib/x86_64-linux-gnu.
LIBDIR   ?= lib
install: all
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin include/kdiffe $(LIBDIR)/pkgconfig share/man/man1 $(dir $(COMPLETE_BASH) $(COMPLETE_ZSH)))
	install -m 755 $(BUILD)/kdiffe $(DESTDIR)$(PREFIX)/bin/kdiffe
	install -m 644 $(BUILD)/$(SO) $(DESTDIR)$(PREFIX)/$(LIBDIR)/$(SO)
	ln -sf $(SO) $(DESTDIR)$(PREFIX)/$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(PREFIX)/$(LIBDIR)/libkdiffe.so
	install -m 644 include/kdiffe/*.h $(DESTDIR)$(PREFIX)/include/kdiffe
	printf '%s\n' 'prefix=$(PREFIX)' 'includedir=$${prefix}/include' 'libdir=$${prefix}/$(LIBDIR)' '' 'Name: kdiffe' \
	    'Description: knowledge-aware diffusion-enhanced multimedia recommendation' 'Version: $(VERSION)' \
	    'Cflags: -I$${includedir}' 'Libs: -L$${libdir} -lkdiffe' >$(BUILD)/kdiffe.pc
	install -m 644 $(BUILD)/kdiffe.pc $(DESTDIR)$(PREFIX)/$(LIBDIR)/pkgconfig/kdiffe.pc
	sh docs/manpage.sh $(BUILD)/kdiffe >$(BUILD)/kdiffe.1
	install -m 644 $(BUILD)/kdiffe.1 $(DESTDIR)$(PREFIX)/share/man/man1/kdiffe.1
	sh docs/completions.sh bash $(BUILD)/kdiffe >$(BUILD)/completion.bash
	install -m 644 $(BUILD)/completion.bash $(DESTDIR)$(PREFIX)/$(COMPLETE_BASH)
	sh docs/completions.sh zsh $(BUILD)/kdiffe >$(BUILD)/completion.zsh
	install -m 644 $(BUILD)/completion.zsh $(DESTDIR)$(PREFIX)/$(COMPLETE_ZSH)

# On a machine with an NVIDIA GPU: everything that only a GPU can confirm; a dated record in bench/results/. QUICK=1: under
# four minutes.
gpu-check: setup
	@$(MAKE) $(PARALLEL) BUILD=$(BUILD)/gpu CUDA=1 GPU_CODE=-arch=native column-tests
	@mkdir -p bench/results
	@python3 tests/gpu/run.py $(BUILD)/gpu-check --build=$(BUILD)/gpu --keep=bench/results $(if $(filter 1,$(QUICK)),--quick,--full) $(ARGS)

# The same for a machine on which nothing can be built or installed: a folder to copy there, whose run.sh takes eight minutes.
# No MPI, which it might not have, and one level of the CPU's kernels. EMU=1: of the stand-in's programs, to try the folder.
PACK_CODE ?= -gencode arch=compute_90,code=[sm_90,compute_90]
gpu-pack: setup
	@$(MAKE) $(PARALLEL) $(if $(filter 1,$(EMU)),BUILD=$(BUILD)/emu EMU=1,BUILD=$(BUILD)/packed PACKED=1 CUDA=1 MPI=0 CPU_LEVELS=v3 \
	    GPU_CODE='$(PACK_CODE)') column-tests
	@python3 tests/gpu/pack.py $(BUILD)/$(if $(filter 1,$(EMU)),emu,packed) $(BUILD)/gpu-pack $(ARGS)

# Every hot op and whole epochs beside their floors, on data of TikTok's shape: make bench [DATA=DIR] [ARGS="--ops=spmm ..."]
bench: all
	@$(BUILD)/kdiffe bench $(DATA) --json=$(BUILD)/bench.json $(ARGS)

# What bench/peers/kernels.py asks for cuSPARSE's times.
CUSPARSE = $(firstword $(wildcard $(CUDA_LIB)libcusparse.so $(CUDA_LIB)libcusparse.so.*))
$(BUILD)/peers/cusparse_spmm: bench/peers/cusparse_spmm.cu $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  NVCC $<"
	@$(NVCC) -std=c++17 -O3 -Xcompiler -Wall,-Wextra -Werror all-warnings -Xlinker -rpath -Xlinker $(CUDA_LIB) -o $@ $< $(CUSPARSE)

# docs/profiling.md: what the reports show.
STEPS  ?= 20:40
KERNEL ?= weighted_sums
profile-nsys: all
	nsys profile --trace=cuda,nvtx,cublas --cuda-graph-trace=node --capture-range=cudaProfilerApi --capture-range-end=stop \
	    --force-overwrite=true -o $(BUILD)/profile \
	    $(BUILD)/kdiffe train $(DATA) --out=$(BUILD)/profile-run --overwrite --device=cuda --profile-steps=$(STEPS) $(ARGS)

profile-ncu: all
	ncu --set full --kernel-name regex:$(KERNEL) --launch-count 3 --graph-profiling node --force-overwrite -o $(BUILD)/profile \
	    $(BUILD)/kdiffe train $(DATA) --out=$(BUILD)/profile-run --overwrite --device=cuda $(ARGS)

# The table of docs/kernels.md; fails if a kernel spills.
kernels-table:
	@python3 bench/kernel_resources.py $(NVCC) sm_80 sm_90 -- $(CU_SRC)

# The table of what kernels load, in docs/kernels.md: one step of each kind on data of TikTok's shape, on the stand-in.
TAILS := --users=9308 --items=6710 --tastes=5 --user-tastes=5 --popularity=0.9 --interactions=8.336 --active-users=103 --activity=0.12 \
         --split=0.823,0.01,0.167 --modalities=image:128,text:128,audio:128 --relations=4 --kg-informative=0 --kg-noise=0 --kg-hubs=3
launch-report:
	@$(MAKE) $(PARALLEL) EMU=1 BUILD=$(BUILD)/emu $(BUILD)/emu/kdiffe $(BUILD)/emu/tests/launches
	@$(BUILD)/emu/kdiffe synth $(BUILD)/tails --force $(TAILS)
	@KDIFFE_EMU_MULTIPROCESSORS=132 KDIFFE_EMU_LAUNCHES=$(BUILD)/launches.tsv $(BUILD)/emu/tests/launches $(BUILD)/tails --use.attention=false --device=cuda --precision=tf32 $(ARGS)
	@python3 bench/launch_report.py write $(BUILD)/launches.tsv docs/kernels.md

clean:
	rm -rf $(BUILD)

help:
	@echo "make            build $(BUILD)/kdiffe"
	@echo "make run        install what is missing, build, make the demo data set, train on it"
	@echo "make test       install what is missing, build, run every test that this machine can run"
	@echo "make check      format, cppcheck, clang-tidy, and the tests under AddressSanitizer and UBSan"
	@echo "make config     which packages and optional parts are there"
	@echo "make install    program, library, headers, man page, completions into PREFIX ($(PREFIX)) and its LIBDIR, below DESTDIR"
	@echo "make bench      ops and epochs, checked and timed beside their floors (docs/bench.md); DATA=DIR, ARGS=--ops=..."
	@echo "make gpu-check  what only a GPU can confirm, with a record in bench/results/ (QUICK=1: under four minutes)"
	@echo "make gpu-pack   a folder, $(BUILD)/gpu-pack, whose run.sh does that where nothing can be built (docs/gpu-status.md)"
	@echo "make profile-nsys DATA=DIR, make profile-ncu DATA=DIR KERNEL=NAME   Nsight reports (docs/profiling.md)"
	@echo "make kernels-table          registers, shared memory and spills of every CUDA kernel (docs/kernels.md)"
	@echo "make launch-report          what every CUDA kernel loads and how evenly, counted on the stand-in (docs/kernels.md)"
	@echo "make clean      remove $(BUILD)/"
	@echo "MPI=0 builds without jobs of several ranks, which are built in where MPI's headers are (libopenmpi-dev)"
	@echo "CUDA is built in where nvcc is found: CUDA_HOME=DIR, CUDA=0 for never, GPU_CODE for other cards;"
	@echo "EMU=1 BUILD=DIR builds it on the stand-in instead, to run kernels without a GPU"
	@echo "DEPS=DIR takes libraries and headers from there, as 'sh tests/setup.sh unpack DIR' leaves them: no root needed"
	@echo "CPU_LEVELS=native compiles the CPU's kernels for machines like this one alone, instead of for each level of x86-64"
	@echo "variables: CC BUILD CPU_LEVELS ($(CPU_LEVELS)) OPT (-O3) JOBS (every core) PREFIX LIBDIR DESTDIR"
