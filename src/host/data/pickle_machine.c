#include "host/data/pickle_machine.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

/* Opcodes that are run or refused, by the names that Python's pickletools gives them. */
enum {
    PICKLE_MARK = '(',
    PICKLE_EMPTY_TUPLE = ')',
    PICKLE_STOP = '.',
    PICKLE_POP = '0',
    PICKLE_POP_MARK = '1',
    PICKLE_DUP = '2',
    PICKLE_BINBYTES = 'B',
    PICKLE_SHORT_BINBYTES = 'C',
    PICKLE_BINFLOAT = 'G',
    PICKLE_BININT = 'J',
    PICKLE_BININT1 = 'K',
    PICKLE_BININT2 = 'M',
    PICKLE_NONE = 'N',
    PICKLE_PERSID = 'P',
    PICKLE_BINPERSID = 'Q',
    PICKLE_REDUCE = 'R',
    PICKLE_BINSTRING = 'T',
    PICKLE_SHORT_BINSTRING = 'U',
    PICKLE_BINUNICODE = 'X',
    PICKLE_EMPTY_LIST = ']',
    PICKLE_APPEND = 'a',
    PICKLE_BUILD = 'b',
    PICKLE_GLOBAL = 'c',
    PICKLE_APPENDS = 'e',
    PICKLE_BINGET = 'h',
    PICKLE_INST = 'i',
    PICKLE_LONG_BINGET = 'j',
    PICKLE_OBJ = 'o',
    PICKLE_BINPUT = 'q',
    PICKLE_LONG_BINPUT = 'r',
    PICKLE_SETITEM = 's',
    PICKLE_TUPLE = 't',
    PICKLE_SETITEMS = 'u',
    PICKLE_EMPTY_DICT = '}',
    PICKLE_PROTO = 0x80,
    PICKLE_NEWOBJ = 0x81,
    PICKLE_EXT1 = 0x82,
    PICKLE_EXT2 = 0x83,
    PICKLE_EXT4 = 0x84,
    PICKLE_TUPLE1 = 0x85,
    PICKLE_TUPLE2 = 0x86,
    PICKLE_TUPLE3 = 0x87,
    PICKLE_NEWTRUE = 0x88,
    PICKLE_NEWFALSE = 0x89,
    PICKLE_LONG1 = 0x8a,
    PICKLE_LONG4 = 0x8b,
    PICKLE_SHORT_BINUNICODE = 0x8c,
    PICKLE_BINUNICODE8 = 0x8d,
    PICKLE_BINBYTES8 = 0x8e,
    PICKLE_EMPTY_SET = 0x8f,
    PICKLE_ADDITEMS = 0x90,
    PICKLE_FROZENSET = 0x91,
    PICKLE_NEWOBJ_EX = 0x92,
    PICKLE_STACK_GLOBAL = 0x93,
    PICKLE_MEMOIZE = 0x94,
    PICKLE_FRAME = 0x95,
    PICKLE_BYTEARRAY8 = 0x96,
    PICKLE_NEXT_BUFFER = 0x97,
    PICKLE_READONLY_BUFFER = 0x98,
};

typedef kd_status (*opcode_handler)(kd_pickle_machine *machine, unsigned char opcode);

kd_status kd_pickle_push(kd_pickle_machine *machine, kd_pickle_value value) {
    KD_OR_RETURN(kd_host_grow(&machine->values, &machine->value_capacity, machine->value_count + 1, sizeof value,
                              machine->path));
    KD_OR_RETURN(kd_host_grow(&machine->stack, &machine->stack_capacity, machine->height + 1, sizeof *machine->stack,
                              machine->path));
    machine->values[machine->value_count] = value;
    machine->stack[machine->height++] = (int32_t)machine->value_count++;
    return KD_OK;
}

static kd_status push_again(kd_pickle_machine *machine, int32_t value) {
    kd_status status = kd_host_grow(&machine->stack, &machine->stack_capacity, machine->height + 1,
                                    sizeof *machine->stack, machine->path);
    if (status == KD_OK) machine->stack[machine->height++] = value;
    return status;
}

/* The height below which an opcode may not reach: what lies under the last mark belongs to an unfinished container. */
static int64_t stack_floor(const kd_pickle_machine *machine) {
    return machine->mark_count > 0 ? machine->marks[machine->mark_count - 1] : 0;
}

kd_status kd_pickle_pop(kd_pickle_machine *machine, int32_t *value) {
    if (machine->height <= stack_floor(machine)) return KD_PICKLE_FAIL(machine, "the stack is empty");
    *value = machine->stack[--machine->height];
    return KD_OK;
}

/* The value on top, which stays; NULL if there is none above the last mark. */
static kd_pickle_value *top_value(kd_pickle_machine *machine) {
    if (machine->height <= stack_floor(machine)) return NULL;
    return &machine->values[machine->stack[machine->height - 1]];
}

/* Takes the last mark off; *base is the height it stood at. */
static kd_status pop_mark(kd_pickle_machine *machine, int64_t *base) {
    if (machine->mark_count == 0) return KD_PICKLE_FAIL(machine, "no mark on the stack");
    *base = machine->marks[--machine->mark_count];
    return KD_OK;
}

/* The next `count` bytes of the file; a count is believed only when that many are left. */
static kd_status take(kd_pickle_machine *machine, uint64_t count, const unsigned char **out) {
    uint64_t left = (uint64_t)(machine->file.bytes - machine->cursor);
    if (count > left)
        return KD_PICKLE_FAIL(machine, "truncated: expected %llu more bytes, the file has %llu",
                              (unsigned long long)count, (unsigned long long)left);
    *out = machine->file.data + machine->cursor;
    machine->cursor += (int64_t)count;
    return KD_OK;
}

/* A little-endian unsigned number of `size` bytes. */
static kd_status take_number(kd_pickle_machine *machine, int size, uint64_t *out) {
    const unsigned char *bytes = NULL;
    kd_status status = take(machine, (uint64_t)size, &bytes);
    *out = 0;
    if (status == KD_OK)
        for (int i = 0; i < size; i++) *out |= (uint64_t)bytes[i] << (8 * i);
    return status;
}

static kd_status push_constant(kd_pickle_machine *machine, unsigned char opcode) {
    kd_pickle_value value = {.first = -1, .last = -1};
    switch (opcode) {
    case PICKLE_NONE: value.kind = KD_PICKLE_NONE; break;
    case PICKLE_EMPTY_TUPLE: value.kind = KD_PICKLE_TUPLE; break;
    case PICKLE_EMPTY_LIST: value.kind = KD_PICKLE_LIST; break;
    case PICKLE_EMPTY_DICT: value.kind = KD_PICKLE_DICT; break;
    default: value.kind = KD_PICKLE_BOOL, value.integer = opcode == PICKLE_NEWTRUE;
    }
    return kd_pickle_push(machine, value);
}

static kd_status push_integer(kd_pickle_machine *machine, unsigned char opcode) {
    kd_pickle_value value = {.kind = KD_PICKLE_INTEGER};
    uint64_t size = opcode == PICKLE_BININT1 ? 1 : opcode == PICKLE_BININT2 ? 2 : 4, bits = 0;
    bool is_signed = opcode == PICKLE_BININT;

    if (opcode == PICKLE_LONG1 || opcode == PICKLE_LONG4) { /* the size comes first */
        is_signed = true;
        KD_OR_RETURN(take_number(machine, opcode == PICKLE_LONG1 ? 1 : 4, &size));
        if (size > 8) return KD_PICKLE_FAIL(machine, "an integer of more than 8 bytes");
    }
    KD_OR_RETURN(take_number(machine, (int)size, &bits));
    if (is_signed && size > 0 && size < 8 && bits >> (8 * size - 1) != 0) bits |= UINT64_MAX << (8 * size);
    memcpy(&value.integer, &bits, sizeof bits);
    return kd_pickle_push(machine, value);
}

static kd_status push_real(kd_pickle_machine *machine, unsigned char opcode) {
    (void)opcode;
    static const kd_element big_double = {.kind = 'f', .size = 8, .big_endian = true};
    const unsigned char *bytes = NULL;
    KD_OR_RETURN(take(machine, 8, &bytes));
    return kd_pickle_push(machine,
                          (kd_pickle_value){.kind = KD_PICKLE_REAL, .real = kd_element_real(big_double, bytes)});
}

/* Strings and bytes are not copied: the value points into the file. */
static kd_status push_text(kd_pickle_machine *machine, unsigned char opcode) {
    bool is_string = opcode == PICKLE_BINUNICODE || opcode == PICKLE_SHORT_BINUNICODE || opcode == PICKLE_BINUNICODE8;
    bool is_short =
        opcode == PICKLE_SHORT_BINSTRING || opcode == PICKLE_SHORT_BINBYTES || opcode == PICKLE_SHORT_BINUNICODE;
    bool is_long = opcode == PICKLE_BINUNICODE8 || opcode == PICKLE_BINBYTES8 || opcode == PICKLE_BYTEARRAY8;
    kd_pickle_value value = {.kind = is_string ? KD_PICKLE_STRING : KD_PICKLE_BYTES};
    uint64_t bytes = 0;

    KD_OR_RETURN(take_number(machine, is_short ? 1 : is_long ? 8 : 4, &bytes));
    KD_OR_RETURN(take(machine, bytes, &value.data));
    value.bytes = (int64_t)bytes;
    return kd_pickle_push(machine, value);
}

/* Appends one entry to the container with index `container`. */
static kd_status append_cell(kd_pickle_machine *machine, int32_t container, int32_t key, int32_t value) {
    KD_OR_RETURN(kd_host_grow(&machine->cells, &machine->cell_capacity, machine->cell_count + 1, sizeof *machine->cells,
                              machine->path));
    int32_t cell = (int32_t)machine->cell_count++;
    kd_pickle_value *into = &machine->values[container];
    machine->cells[cell] = (kd_pickle_cell){.key = key, .value = value, .next = -1};
    if (into->first < 0)
        into->first = cell;
    else
        machine->cells[into->last].next = cell;
    into->last = cell;
    into->count++;
    return KD_OK;
}

static kd_status make_tuple(kd_pickle_machine *machine, unsigned char opcode) {
    int64_t base = machine->height - (opcode - PICKLE_TUPLE1 + 1);
    int64_t top = machine->height;

    if (opcode == PICKLE_TUPLE) KD_OR_RETURN(pop_mark(machine, &base));
    if (base < stack_floor(machine)) return KD_PICKLE_FAIL(machine, "the stack is empty");
    KD_OR_RETURN(kd_pickle_push(machine, (kd_pickle_value){.kind = KD_PICKLE_TUPLE, .first = -1, .last = -1}));
    int32_t tuple = machine->stack[top];
    for (int64_t i = base; i < top; i++) KD_OR_RETURN(append_cell(machine, tuple, -1, machine->stack[i]));
    machine->stack[base] = tuple;
    machine->height = base + 1;
    return KD_OK;
}

/* What lies above the container goes into it. */
static kd_status fill_container(kd_pickle_machine *machine, unsigned char opcode) {
    bool is_dict = opcode == PICKLE_SETITEM || opcode == PICKLE_SETITEMS;
    int64_t step = is_dict ? 2 : 1, base = machine->height - step;

    if (opcode == PICKLE_APPENDS || opcode == PICKLE_SETITEMS) KD_OR_RETURN(pop_mark(machine, &base));
    if (base - 1 < stack_floor(machine)) return KD_PICKLE_FAIL(machine, "no container to add to");
    int32_t container = machine->stack[base - 1];
    if (machine->values[container].kind != (is_dict ? KD_PICKLE_DICT : KD_PICKLE_LIST))
        return KD_PICKLE_FAIL(machine, "expected a %s to add to", is_dict ? "dictionary" : "list");
    if ((machine->height - base) % step != 0) return KD_PICKLE_FAIL(machine, "a key without a value");
    for (int64_t i = base; i < machine->height; i += step)
        KD_OR_RETURN(append_cell(machine, container, is_dict ? machine->stack[i] : -1, machine->stack[i + step - 1]));
    machine->height = base;
    return KD_OK;
}

static kd_status use_stack(kd_pickle_machine *machine, unsigned char opcode) {
    int32_t value = 0;
    if (opcode == PICKLE_MARK) {
        kd_status status = kd_host_grow(&machine->marks, &machine->mark_capacity, machine->mark_count + 1,
                                        sizeof *machine->marks, machine->path);
        if (status == KD_OK) machine->marks[machine->mark_count++] = (int32_t)machine->height;
        return status;
    }
    if (opcode == PICKLE_POP_MARK) return pop_mark(machine, &machine->height);
    kd_status status = kd_pickle_pop(machine, &value);
    if (status == KD_OK && opcode == PICKLE_DUP) {
        machine->height++;
        status = push_again(machine, value);
    }
    return status;
}

static kd_status store_memo(kd_pickle_machine *machine, unsigned char opcode) {
    uint64_t slot = (uint64_t)machine->memo_count;

    if (opcode != PICKLE_MEMOIZE) KD_OR_RETURN(take_number(machine, opcode == PICKLE_BINPUT ? 1 : 4, &slot));
    if (slot >= KD_PICKLE_MAX_OPCODES)
        return KD_PICKLE_FAIL(machine, "memo %llu is too large", (unsigned long long)slot);
    if (top_value(machine) == NULL) return KD_PICKLE_FAIL(machine, "the stack is empty");
    KD_OR_RETURN(
        kd_host_grow(&machine->memo, &machine->memo_capacity, (int64_t)slot + 1, sizeof *machine->memo, machine->path));
    while (machine->memo_count <= (int64_t)slot) machine->memo[machine->memo_count++] = -1;
    machine->memo[slot] = machine->stack[machine->height - 1];
    return KD_OK;
}

static kd_status load_memo(kd_pickle_machine *machine, unsigned char opcode) {
    uint64_t slot = 0;
    KD_OR_RETURN(take_number(machine, opcode == PICKLE_BINGET ? 1 : 4, &slot));
    if (slot >= (uint64_t)machine->memo_count || machine->memo[slot] < 0)
        return KD_PICKLE_FAIL(machine, "memo %llu was never stored", (unsigned long long)slot);
    return push_again(machine, machine->memo[slot]);
}

/* PROTO after the start, and FRAME: they say how the rest is laid out, which changes nothing here. */
static kd_status skip_framing(kd_pickle_machine *machine, unsigned char opcode) {
    uint64_t argument = 0;
    kd_status status = take_number(machine, opcode == PICKLE_FRAME ? 8 : 1, &argument);
    if (status == KD_OK && opcode == PICKLE_PROTO && (argument < 2 || argument > 5))
        status = KD_PICKLE_FAIL(machine, "pickle protocol %llu; expected 2 to 5", (unsigned long long)argument);
    return status;
}

/* The argument of GLOBAL: "module\nname\n". */
static kd_status take_line(kd_pickle_machine *machine, const unsigned char **text, int64_t *bytes) {
    const unsigned char *begin = machine->file.data + machine->cursor;
    const unsigned char *end = memchr(begin, '\n', (size_t)(machine->file.bytes - machine->cursor));
    if (end == NULL) return KD_PICKLE_FAIL(machine, "truncated: a name without its end");
    *text = begin;
    *bytes = end - begin;
    machine->cursor += *bytes + 1;
    return KD_OK;
}

static kd_status name_global(kd_pickle_machine *machine, unsigned char opcode) {
    kd_pickle_value module = {0}, name = {0};
    int32_t index = 0;

    if (opcode == PICKLE_GLOBAL) {
        KD_OR_RETURN(take_line(machine, &module.data, &module.bytes));
        KD_OR_RETURN(take_line(machine, &name.data, &name.bytes));
    } else {
        KD_OR_RETURN(kd_pickle_pop(machine, &index));
        name = machine->values[index];
        KD_OR_RETURN(kd_pickle_pop(machine, &index));
        module = machine->values[index];
        if (name.kind != KD_PICKLE_STRING || module.kind != KD_PICKLE_STRING)
            return KD_PICKLE_FAIL(machine, "STACK_GLOBAL without two strings");
    }
    return kd_pickle_find_global(machine, module.data, module.bytes, name.data, name.bytes);
}

static kd_status use_object(kd_pickle_machine *machine, unsigned char opcode) {
    if (opcode == PICKLE_REDUCE) return kd_pickle_reduce(machine);
    return opcode == PICKLE_BUILD ? kd_pickle_build(machine) : kd_pickle_new_object(machine);
}

static const opcode_handler handlers[256] = {
    [PICKLE_NONE] = push_constant,
    [PICKLE_EMPTY_TUPLE] = push_constant,
    [PICKLE_EMPTY_LIST] = push_constant,
    [PICKLE_EMPTY_DICT] = push_constant,
    [PICKLE_NEWTRUE] = push_constant,
    [PICKLE_NEWFALSE] = push_constant,
    [PICKLE_BININT1] = push_integer,
    [PICKLE_BININT2] = push_integer,
    [PICKLE_BININT] = push_integer,
    [PICKLE_LONG1] = push_integer,
    [PICKLE_LONG4] = push_integer,
    [PICKLE_BINFLOAT] = push_real,
    [PICKLE_SHORT_BINSTRING] = push_text,
    [PICKLE_BINSTRING] = push_text,
    [PICKLE_SHORT_BINBYTES] = push_text,
    [PICKLE_BINBYTES] = push_text,
    [PICKLE_BINUNICODE] = push_text,
    [PICKLE_SHORT_BINUNICODE] = push_text,
    [PICKLE_BINUNICODE8] = push_text,
    [PICKLE_BINBYTES8] = push_text,
    [PICKLE_BYTEARRAY8] = push_text,
    [PICKLE_TUPLE] = make_tuple,
    [PICKLE_TUPLE1] = make_tuple,
    [PICKLE_TUPLE2] = make_tuple,
    [PICKLE_TUPLE3] = make_tuple,
    [PICKLE_APPEND] = fill_container,
    [PICKLE_APPENDS] = fill_container,
    [PICKLE_SETITEM] = fill_container,
    [PICKLE_SETITEMS] = fill_container,
    [PICKLE_MARK] = use_stack,
    [PICKLE_POP] = use_stack,
    [PICKLE_POP_MARK] = use_stack,
    [PICKLE_DUP] = use_stack,
    [PICKLE_BINPUT] = store_memo,
    [PICKLE_LONG_BINPUT] = store_memo,
    [PICKLE_MEMOIZE] = store_memo,
    [PICKLE_BINGET] = load_memo,
    [PICKLE_LONG_BINGET] = load_memo,
    [PICKLE_PROTO] = skip_framing,
    [PICKLE_FRAME] = skip_framing,
    [PICKLE_GLOBAL] = name_global,
    [PICKLE_STACK_GLOBAL] = name_global,
    [PICKLE_REDUCE] = use_object,
    [PICKLE_BUILD] = use_object,
    [PICKLE_NEWOBJ] = use_object,
};

/* What an opcode without a handler would have done, for the message. */
static const char *refused_name(unsigned char opcode) {
    switch (opcode) {
    case PICKLE_PERSID:
    case PICKLE_BINPERSID: return "a persistent id";
    case PICKLE_EXT1:
    case PICKLE_EXT2:
    case PICKLE_EXT4: return "an extension code";
    case PICKLE_INST: return "an object by INST";
    case PICKLE_OBJ: return "an object by OBJ";
    case PICKLE_NEWOBJ_EX: return "an object by NEWOBJ_EX";
    case PICKLE_EMPTY_SET:
    case PICKLE_ADDITEMS:
    case PICKLE_FROZENSET: return "a set";
    case PICKLE_NEXT_BUFFER:
    case PICKLE_READONLY_BUFFER: return "an out-of-band buffer";
    }
    return "an opcode that matrices do not use";
}

kd_status kd_pickle_run(const char *path, kd_pickle_machine *machine, int32_t *result) {

    *machine = (kd_pickle_machine){.path = path};
    KD_OR_RETURN(kd_file_map(path, &machine->file));
    if (machine->file.bytes == 0 || machine->file.data[0] != PICKLE_PROTO)
        return KD_PICKLE_FAIL(machine, "not a pickle of protocol 2 to 5: expected the byte 0x80");
    for (int count = 0;; count++) {
        const unsigned char *opcode = NULL;
        machine->at = machine->cursor;
        if (count == KD_PICKLE_MAX_OPCODES)
            return KD_PICKLE_FAIL(machine, "more than %d opcodes: not a pickled matrix", KD_PICKLE_MAX_OPCODES);
        KD_OR_RETURN(take(machine, 1, &opcode));
        if (*opcode == PICKLE_STOP) break;
        if (handlers[*opcode] == NULL)
            return KD_PICKLE_FAIL(machine, "asks for %s (opcode 0x%02x); only scipy coo and csr matrices are read",
                                  refused_name(*opcode), *opcode);
        KD_OR_RETURN(handlers[*opcode](machine, *opcode));
    }
    return kd_pickle_pop(machine, result);
}

void kd_pickle_close(kd_pickle_machine *machine) {
    kd_file_unmap(&machine->file);
    free(machine->values);
    free(machine->cells);
    free(machine->stack);
    free(machine->marks);
    free(machine->memo);
    free(machine->decoded);
    *machine = (kd_pickle_machine){0};
}
