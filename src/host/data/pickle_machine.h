/* The restricted pickle machine (internal to pickle*.c): it runs the opcodes of protocols 2 to 5 over plain values and
 * can construct nothing but the scipy, numpy and Python types named in pickle_objects.c. Strings and arrays point into
 * the file. */
#ifndef KD_DATA_PICKLE_MACHINE_H
#define KD_DATA_PICKLE_MACHINE_H

#include "host/base/file.h"
#include "host/data/element.h"

/* A pickled matrix takes about 150 opcodes. The limit bounds time and every list below, whatever a file asks for. */
enum { KD_PICKLE_MAX_OPCODES = 1 << 16 };

typedef enum kd_pickle_kind {
    KD_PICKLE_NONE,
    KD_PICKLE_BOOL,
    KD_PICKLE_INTEGER,
    KD_PICKLE_REAL,
    KD_PICKLE_STRING,
    KD_PICKLE_BYTES,
    KD_PICKLE_TUPLE,
    KD_PICKLE_LIST,
    KD_PICKLE_DICT,
    KD_PICKLE_GLOBAL,
    KD_PICKLE_DTYPE,
    KD_PICKLE_ARRAY,
    KD_PICKLE_MATRIX,
} kd_pickle_kind;

typedef enum kd_pickle_global {
    KD_PICKLE_COO_MATRIX,
    KD_PICKLE_CSR_MATRIX,
    KD_PICKLE_NDARRAY,
    KD_PICKLE_DTYPE_CLASS,
    KD_PICKLE_RECONSTRUCT,
    KD_PICKLE_FROMBUFFER,
    KD_PICKLE_SCALAR,
    KD_PICKLE_ENCODE,
} kd_pickle_global;

/* Values, cells and so on are named by their index, because the lists that hold them move when they grow. */
typedef struct kd_pickle_value {
    kd_pickle_kind kind;
    int64_t integer;           /* INTEGER, BOOL; number of elements of an ARRAY, -1 until it is built */
    double real;               /* REAL */
    const unsigned char *data; /* STRING, BYTES, ARRAY */
    int64_t bytes;             /* of data */
    int32_t first, last;       /* TUPLE, LIST, DICT: their cells, -1 if empty */
    int32_t count;             /* TUPLE, LIST, DICT: number of cells */
    kd_element element;        /* DTYPE, ARRAY */
    kd_pickle_global global;   /* GLOBAL, and the class of a MATRIX */
    int32_t state;             /* MATRIX: its DICT, -1 until it is built */
} kd_pickle_value;

/* One entry of a container; key is -1 in tuples and lists. */
typedef struct kd_pickle_cell {
    int32_t key, value, next;
} kd_pickle_cell;

typedef struct kd_pickle_machine {
    const char *path;
    kd_mapped_file file;
    int64_t at;     /* offset of the opcode that runs now */
    int64_t cursor; /* offset of the next byte to read */
    kd_pickle_value *values;
    kd_pickle_cell *cells;
    int32_t *stack, *marks, *memo; /* marks: heights of the stack */
    int64_t value_count, cell_count, height, mark_count, memo_count;
    int64_t value_capacity, cell_capacity, stack_capacity, mark_capacity, memo_capacity;
    unsigned char *decoded; /* bytes decoded from Latin-1 text, at most as many as the file has; NULL until needed */
    int64_t decoded_bytes;
} kd_pickle_machine;

/* KD_ERR_FORMAT with the file and the offset of the current opcode before the message. */
#define KD_PICKLE_FAIL(machine, format, ...) \
    KD_FAIL(KD_ERR_FORMAT, "%s: offset %lld: " format, (machine)->path, (long long)(machine)->at, ##__VA_ARGS__)

/* Maps `path` and runs it to its STOP; *machine is overwritten and *result is the value it leaves, valid until the
 * machine is closed. KD_ERR_FORMAT as in kd_pickle_read_sparse, KD_ERR_MEMORY. The machine is to be closed after a
 * failure too. */
kd_status kd_pickle_run(const char *path, kd_pickle_machine *machine, int32_t *result);

/* Frees everything; an empty (zeroed) machine is allowed. */
void kd_pickle_close(kd_pickle_machine *machine);

/* Makes a value and pushes it. */
kd_status kd_pickle_push(kd_pickle_machine *machine, kd_pickle_value value);

/* Pops one value; KD_ERR_FORMAT if there is none above the last mark. */
kd_status kd_pickle_pop(kd_pickle_machine *machine, int32_t *value);

/* Entry `index` of a tuple or list, NULL if there is none. */
kd_pickle_value *kd_pickle_item(kd_pickle_machine *machine, const kd_pickle_value *container, int32_t index);

/* The value that a dictionary has last been given under a string key, NULL if there is none. */
kd_pickle_value *kd_pickle_lookup(kd_pickle_machine *machine, const kd_pickle_value *dictionary, const char *key);

/* True if `value` is a string (or the bytes of a Python 2 string) equal to `text`. */
bool kd_pickle_equals(const kd_pickle_value *value, const char *text);

/* The opcodes that name, call, build and make objects (pickle_objects.c). Each works on the stack. */
kd_status kd_pickle_find_global(kd_pickle_machine *machine, const unsigned char *module, int64_t module_bytes,
                                const unsigned char *name, int64_t name_bytes);
kd_status kd_pickle_reduce(kd_pickle_machine *machine);
kd_status kd_pickle_build(kd_pickle_machine *machine);
kd_status kd_pickle_new_object(kd_pickle_machine *machine);

#endif
