#include "host/data/pickle_machine.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

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
    case 'N': value.kind = KD_PICKLE_NONE; break;
    case ')': value.kind = KD_PICKLE_TUPLE; break;
    case ']': value.kind = KD_PICKLE_LIST; break;
    case '}': value.kind = KD_PICKLE_DICT; break;
    default: /* NEWTRUE, NEWFALSE */ value.kind = KD_PICKLE_BOOL, value.integer = opcode == 0x88;
    }
    return kd_pickle_push(machine, value);
}

static kd_status push_integer(kd_pickle_machine *machine, unsigned char opcode) {
    kd_pickle_value value = {.kind = KD_PICKLE_INTEGER};
    uint64_t size = opcode == 'K' ? 1 : opcode == 'M' ? 2 : 4, bits = 0;
    bool is_signed = opcode == 'J';

    if (opcode == 0x8a || opcode == 0x8b) { /* LONG1, LONG4: the size comes first */
        is_signed = true;
        KD_OR_RETURN(take_number(machine, opcode == 0x8a ? 1 : 4, &size));
        if (size > 8) KD_OR_RETURN(KD_PICKLE_FAIL(machine, "an integer of more than 8 bytes"));
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
    bool is_string = opcode == 'X' || opcode == 0x8c || opcode == 0x8d;
    bool is_short = opcode == 'U' || opcode == 'C' || opcode == 0x8c;
    bool is_long = opcode == 0x8d || opcode == 0x8e || opcode == 0x96;
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
    int64_t base = machine->height - (opcode - 0x84); /* TUPLE1 is 0x85 */
    int64_t top = machine->height;

    if (opcode == 't') KD_OR_RETURN(pop_mark(machine, &base));
    if (base < stack_floor(machine)) KD_OR_RETURN(KD_PICKLE_FAIL(machine, "the stack is empty"));
    KD_OR_RETURN(kd_pickle_push(machine, (kd_pickle_value){.kind = KD_PICKLE_TUPLE, .first = -1, .last = -1}));
    int32_t tuple = machine->stack[top];
    for (int64_t i = base; i < top; i++) KD_OR_RETURN(append_cell(machine, tuple, -1, machine->stack[i]));
    machine->stack[base] = tuple;
    machine->height = base + 1;
    return KD_OK;
}

/* APPEND, APPENDS, SETITEM, SETITEMS: what lies above the container goes into it. */
static kd_status fill_container(kd_pickle_machine *machine, unsigned char opcode) {
    bool is_dict = opcode == 's' || opcode == 'u';
    int64_t step = is_dict ? 2 : 1, base = machine->height - step;

    if (opcode == 'e' || opcode == 'u') KD_OR_RETURN(pop_mark(machine, &base));
    if (base - 1 < stack_floor(machine)) KD_OR_RETURN(KD_PICKLE_FAIL(machine, "no container to add to"));
    int32_t container = machine->stack[base - 1];
    if (machine->values[container].kind != (is_dict ? KD_PICKLE_DICT : KD_PICKLE_LIST))
        KD_OR_RETURN(KD_PICKLE_FAIL(machine, "expected a %s to add to", is_dict ? "dictionary" : "list"));
    if ((machine->height - base) % step != 0) KD_OR_RETURN(KD_PICKLE_FAIL(machine, "a key without a value"));
    for (int64_t i = base; i < machine->height; i += step)
        KD_OR_RETURN(append_cell(machine, container, is_dict ? machine->stack[i] : -1, machine->stack[i + step - 1]));
    machine->height = base;
    return KD_OK;
}

static kd_status use_stack(kd_pickle_machine *machine, unsigned char opcode) {
    int32_t value = 0;
    if (opcode == '(') {
        kd_status status = kd_host_grow(&machine->marks, &machine->mark_capacity, machine->mark_count + 1,
                                        sizeof *machine->marks, machine->path);
        if (status == KD_OK) machine->marks[machine->mark_count++] = (int32_t)machine->height;
        return status;
    }
    if (opcode == '1') return pop_mark(machine, &machine->height);
    kd_status status = kd_pickle_pop(machine, &value);
    if (status == KD_OK && opcode == '2') { /* DUP */
        machine->height++;
        status = push_again(machine, value);
    }
    return status;
}

static kd_status store_memo(kd_pickle_machine *machine, unsigned char opcode) {
    uint64_t slot = (uint64_t)machine->memo_count;

    if (opcode != 0x94) KD_OR_RETURN(take_number(machine, opcode == 'q' ? 1 : 4, &slot));
    if (slot >= KD_PICKLE_MAX_OPCODES)
        KD_OR_RETURN(KD_PICKLE_FAIL(machine, "memo %llu is too large", (unsigned long long)slot));
    if (top_value(machine) == NULL) KD_OR_RETURN(KD_PICKLE_FAIL(machine, "the stack is empty"));
    KD_OR_RETURN(
        kd_host_grow(&machine->memo, &machine->memo_capacity, (int64_t)slot + 1, sizeof *machine->memo, machine->path));
    while (machine->memo_count <= (int64_t)slot) machine->memo[machine->memo_count++] = -1;
    machine->memo[slot] = machine->stack[machine->height - 1];
    return KD_OK;
}

static kd_status load_memo(kd_pickle_machine *machine, unsigned char opcode) {
    uint64_t slot = 0;
    KD_OR_RETURN(take_number(machine, opcode == 'h' ? 1 : 4, &slot));
    if (slot >= (uint64_t)machine->memo_count || machine->memo[slot] < 0)
        return KD_PICKLE_FAIL(machine, "memo %llu was never stored", (unsigned long long)slot);
    return push_again(machine, machine->memo[slot]);
}

/* PROTO after the start, and FRAME: they say how the rest is laid out, which changes nothing here. */
static kd_status skip_framing(kd_pickle_machine *machine, unsigned char opcode) {
    uint64_t argument = 0;
    kd_status status = take_number(machine, opcode == 0x95 ? 8 : 1, &argument);
    if (status == KD_OK && opcode == 0x80 && (argument < 2 || argument > 5))
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

    if (opcode == 'c') {
        KD_OR_RETURN(take_line(machine, &module.data, &module.bytes));
        KD_OR_RETURN(take_line(machine, &name.data, &name.bytes));
    } else { /* STACK_GLOBAL */
        KD_OR_RETURN(kd_pickle_pop(machine, &index));
        name = machine->values[index];
        KD_OR_RETURN(kd_pickle_pop(machine, &index));
        module = machine->values[index];
        if (name.kind != KD_PICKLE_STRING || module.kind != KD_PICKLE_STRING)
            KD_OR_RETURN(KD_PICKLE_FAIL(machine, "STACK_GLOBAL without two strings"));
    }
    return kd_pickle_find_global(machine, module.data, module.bytes, name.data, name.bytes);
}

static kd_status use_object(kd_pickle_machine *machine, unsigned char opcode) {
    if (opcode == 'R') return kd_pickle_reduce(machine);
    return opcode == 'b' ? kd_pickle_build(machine) : kd_pickle_new_object(machine);
}

static const opcode_handler handlers[256] = {
    ['N'] = push_constant,  [')'] = push_constant,  [']'] = push_constant,  ['}'] = push_constant,
    [0x88] = push_constant, [0x89] = push_constant, ['K'] = push_integer,   ['M'] = push_integer,
    ['J'] = push_integer,   [0x8a] = push_integer,  [0x8b] = push_integer,  ['G'] = push_real,
    ['U'] = push_text,      ['T'] = push_text,      ['C'] = push_text,      ['B'] = push_text,
    ['X'] = push_text,      [0x8c] = push_text,     [0x8d] = push_text,     [0x8e] = push_text,
    [0x96] = push_text,     ['t'] = make_tuple,     [0x85] = make_tuple,    [0x86] = make_tuple,
    [0x87] = make_tuple,    ['a'] = fill_container, ['e'] = fill_container, ['s'] = fill_container,
    ['u'] = fill_container, ['('] = use_stack,      ['0'] = use_stack,      ['1'] = use_stack,
    ['2'] = use_stack,      ['q'] = store_memo,     ['r'] = store_memo,     [0x94] = store_memo,
    ['h'] = load_memo,      ['j'] = load_memo,      [0x80] = skip_framing,  [0x95] = skip_framing,
    ['c'] = name_global,    [0x93] = name_global,   ['R'] = use_object,     ['b'] = use_object,
    [0x81] = use_object,
};

/* What an opcode without a handler would have done, for the message. */
static const char *refused_name(unsigned char opcode) {
    switch (opcode) {
    case 'P':
    case 'Q': return "a persistent id";
    case 0x82:
    case 0x83:
    case 0x84: return "an extension code";
    case 'i': return "an object by INST";
    case 'o': return "an object by OBJ";
    case 0x92: return "an object by NEWOBJ_EX";
    case 0x8f:
    case 0x90:
    case 0x91: return "a set";
    case 0x97:
    case 0x98: return "an out-of-band buffer";
    }
    return "an opcode that matrices do not use";
}

kd_status kd_pickle_run(const char *path, kd_pickle_machine *machine, int32_t *result) {

    *machine = (kd_pickle_machine){.path = path};
    KD_OR_RETURN(kd_file_map(path, &machine->file));
    if (machine->file.bytes == 0 || machine->file.data[0] != 0x80)
        KD_OR_RETURN(KD_PICKLE_FAIL(machine, "not a pickle of protocol 2 to 5: expected the byte 0x80"));
    for (int count = 0;; count++) {
        const unsigned char *opcode = NULL;
        machine->at = machine->cursor;
        if (count == KD_PICKLE_MAX_OPCODES)
            KD_OR_RETURN(KD_PICKLE_FAIL(machine, "more than %d opcodes: not a pickled matrix", KD_PICKLE_MAX_OPCODES));
        KD_OR_RETURN(take(machine, 1, &opcode));
        if (*opcode == '.') break;
        if (handlers[*opcode] == NULL)
            KD_OR_RETURN(KD_PICKLE_FAIL(machine,
                                        "asks for %s (opcode 0x%02x); only scipy coo and csr matrices are read",
                                        refused_name(*opcode), *opcode));
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
