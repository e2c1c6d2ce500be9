#include <ctype.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/data/pickle_machine.h"

/* Every name that a pickle may ask for, and all that this program can be made to do by one. */
static const struct {
    const char *module, *name;
    kd_pickle_global global;
} allowed[] = {
    {"scipy.sparse._coo", "coo_matrix", KD_PICKLE_COO_MATRIX},
    {"scipy.sparse.coo", "coo_matrix", KD_PICKLE_COO_MATRIX},
    {"scipy.sparse._csr", "csr_matrix", KD_PICKLE_CSR_MATRIX},
    {"scipy.sparse.csr", "csr_matrix", KD_PICKLE_CSR_MATRIX},
    {"numpy", "ndarray", KD_PICKLE_NDARRAY},
    {"numpy", "dtype", KD_PICKLE_DTYPE_CLASS},
    {"numpy.core.multiarray", "_reconstruct", KD_PICKLE_RECONSTRUCT},
    {"numpy._core.multiarray", "_reconstruct", KD_PICKLE_RECONSTRUCT},
    {"numpy.core.multiarray", "scalar", KD_PICKLE_SCALAR},
    {"numpy._core.multiarray", "scalar", KD_PICKLE_SCALAR},
    {"numpy.core.numeric", "_frombuffer", KD_PICKLE_FROMBUFFER}, /* protocol 5 */
    {"numpy._core.numeric", "_frombuffer", KD_PICKLE_FROMBUFFER},
    {"_codecs", "encode", KD_PICKLE_ENCODE}, /* how protocol 2 stores bytes: Latin-1 text */
};

kd_pickle_value *kd_pickle_item(kd_pickle_machine *machine, const kd_pickle_value *container, int32_t index) {
    if (container->kind != KD_PICKLE_TUPLE && container->kind != KD_PICKLE_LIST) return NULL;
    if (index >= container->count) return NULL;
    int32_t cell = container->first;
    while (index-- > 0) cell = machine->cells[cell].next;
    return &machine->values[machine->cells[cell].value];
}

kd_pickle_value *kd_pickle_lookup(kd_pickle_machine *machine, const kd_pickle_value *dictionary, const char *key) {
    kd_pickle_value *found = NULL;
    if (dictionary->kind != KD_PICKLE_DICT) return NULL;
    for (int32_t cell = dictionary->first; cell >= 0; cell = machine->cells[cell].next)
        if (kd_pickle_equals(&machine->values[machine->cells[cell].key], key))
            found = &machine->values[machine->cells[cell].value];
    return found;
}

static bool same_text(const unsigned char *data, int64_t bytes, const char *text) {
    return bytes == (int64_t)strlen(text) && memcmp(data, text, strlen(text)) == 0;
}

bool kd_pickle_equals(const kd_pickle_value *value, const char *text) {
    return (value->kind == KD_PICKLE_STRING || value->kind == KD_PICKLE_BYTES) &&
           same_text(value->data, value->bytes, text);
}

/* Copies at most size - 1 characters of a name that comes from the file, with '?' for what a terminal should not get.
 */
static void printable(const unsigned char *data, int64_t bytes, char *out, int64_t size) {
    int64_t kept = bytes < size - 1 ? bytes : size - 1;
    for (int64_t i = 0; i < kept; i++) out[i] = isprint(data[i]) ? (char)data[i] : '?';
    out[kept] = '\0';
}

kd_status kd_pickle_find_global(kd_pickle_machine *machine, const unsigned char *module, int64_t module_bytes,
                                const unsigned char *name, int64_t name_bytes) {
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if (same_text(module, module_bytes, allowed[i].module) && same_text(name, name_bytes, allowed[i].name))
            return kd_pickle_push(machine, (kd_pickle_value){.kind = KD_PICKLE_GLOBAL, .global = allowed[i].global});
    char shown_module[80], shown_name[80];
    printable(module, module_bytes, shown_module, sizeof shown_module);
    printable(name, name_bytes, shown_name, sizeof shown_name);
    return KD_PICKLE_FAIL(machine, "asks for '%s.%s'; only scipy coo and csr matrices of numbers are read",
                          shown_module, shown_name);
}

/* ndarray of one dimension: shape (n,), a dtype and n elements of it. */
static kd_status make_array(kd_pickle_machine *machine, const kd_pickle_value *shape, const kd_pickle_value *dtype,
                            const kd_pickle_value *buffer, kd_pickle_value *out) {
    const kd_pickle_value *length = shape == NULL ? NULL : kd_pickle_item(machine, shape, 0);
    if (length == NULL || length->kind != KD_PICKLE_INTEGER || shape->count != 1)
        return KD_PICKLE_FAIL(machine, "expected an array of one dimension");
    if (dtype == NULL || dtype->kind != KD_PICKLE_DTYPE) return KD_PICKLE_FAIL(machine, "an array without its dtype");
    if (buffer == NULL || buffer->kind != KD_PICKLE_BYTES)
        return KD_PICKLE_FAIL(machine, "an array without the bytes of its elements");
    if (length->integer < 0 || buffer->bytes / dtype->element.size != length->integer ||
        buffer->bytes % dtype->element.size != 0)
        return KD_PICKLE_FAIL(machine, "an array of %lld elements of %d bytes has %lld bytes of data",
                              (long long)length->integer, dtype->element.size, (long long)buffer->bytes);
    *out = (kd_pickle_value){.kind = KD_PICKLE_ARRAY,
                             .integer = length->integer,
                             .data = buffer->data,
                             .bytes = buffer->bytes,
                             .element = dtype->element};
    return KD_OK;
}

/* dtype('f8', ...) */
static kd_status make_dtype(kd_pickle_machine *machine, const kd_pickle_value *arguments, kd_pickle_value *out) {
    const kd_pickle_value *text = kd_pickle_item(machine, arguments, 0);
    *out = (kd_pickle_value){.kind = KD_PICKLE_DTYPE};
    if (text == NULL || (text->kind != KD_PICKLE_STRING && text->kind != KD_PICKLE_BYTES))
        return KD_PICKLE_FAIL(machine, "a dtype without its name");
    if (!kd_element_parse((const char *)text->data, text->bytes, &out->element)) {
        char shown[40];
        printable(text->data, text->bytes, shown, sizeof shown);
        return KD_PICKLE_FAIL(machine, "dtype '%s' is not read; expected float, integer or bool", shown);
    }
    return KD_OK;
}

/* numpy's scalar(dtype, bytes): a plain number here. */
static kd_status make_scalar(kd_pickle_machine *machine, const kd_pickle_value *arguments, kd_pickle_value *out) {
    const kd_pickle_value *dtype = kd_pickle_item(machine, arguments, 0);
    const kd_pickle_value *buffer = kd_pickle_item(machine, arguments, 1);
    if (dtype == NULL || dtype->kind != KD_PICKLE_DTYPE || buffer == NULL || buffer->kind != KD_PICKLE_BYTES ||
        buffer->bytes != dtype->element.size)
        return KD_PICKLE_FAIL(machine, "a numpy scalar without a dtype and the bytes of one element");
    *out = (kd_pickle_value){.kind = KD_PICKLE_REAL, .real = kd_element_real(dtype->element, buffer->data)};
    if (dtype->element.kind != 'f') {
        out->kind = dtype->element.kind == 'b' ? KD_PICKLE_BOOL : KD_PICKLE_INTEGER;
        if (!kd_element_integer(dtype->element, buffer->data, &out->integer))
            return KD_PICKLE_FAIL(machine, "a numpy scalar beyond 63 bits");
    }
    return KD_OK;
}

/* codecs.encode(text, 'latin1'): every character is one byte, in UTF-8 one byte below 0x80 and two up to 0xff. */
static kd_status decode_latin1(kd_pickle_machine *machine, const kd_pickle_value *arguments, kd_pickle_value *out) {
    const kd_pickle_value *text = kd_pickle_item(machine, arguments, 0);
    const kd_pickle_value *codec = kd_pickle_item(machine, arguments, 1);
    if (text == NULL || text->kind != KD_PICKLE_STRING || codec == NULL || !kd_pickle_equals(codec, "latin1"))
        return KD_PICKLE_FAIL(machine, "_codecs.encode is read only as (text, 'latin1')");
    /* Each text is decoded once in an honest file; asking again and again would multiply memory. */
    if (text->bytes > machine->file.bytes - machine->decoded_bytes)
        return KD_PICKLE_FAIL(machine, "more Latin-1 text than the file holds");
    if (machine->decoded == NULL) {
        KD_OR_RETURN(kd_host_alloc(&machine->decoded, machine->file.bytes, 1, machine->path));
    }
    unsigned char *to = machine->decoded + machine->decoded_bytes;
    *out = (kd_pickle_value){.kind = KD_PICKLE_BYTES, .data = to};
    for (int64_t i = 0; i < text->bytes; i++) {
        unsigned char c = text->data[i];
        if (c >= 0x80) {
            unsigned char next = i + 1 < text->bytes ? text->data[i + 1] : 0;
            if ((c != 0xc2 && c != 0xc3) || (next & 0xc0) != 0x80)
                return KD_PICKLE_FAIL(machine, "text that is not Latin-1");
            c = (unsigned char)((c & 3) << 6 | (next & 0x3f));
            i++;
        }
        to[out->bytes++] = c;
    }
    machine->decoded_bytes += out->bytes;
    return KD_OK;
}

kd_status kd_pickle_reduce(kd_pickle_machine *machine) {
    int32_t arguments_index = 0, callable_index = 0;
    kd_pickle_value made = {0};

    KD_OR_RETURN(kd_pickle_pop(machine, &arguments_index));
    KD_OR_RETURN(kd_pickle_pop(machine, &callable_index));
    const kd_pickle_value *arguments = &machine->values[arguments_index];
    const kd_pickle_value *callable = &machine->values[callable_index];
    if (callable->kind != KD_PICKLE_GLOBAL || arguments->kind != KD_PICKLE_TUPLE)
        return KD_PICKLE_FAIL(machine, "REDUCE without a function and its arguments");
    switch (callable->global) {
    case KD_PICKLE_RECONSTRUCT: made = (kd_pickle_value){.kind = KD_PICKLE_ARRAY, .integer = -1}; break;
    case KD_PICKLE_DTYPE_CLASS: KD_OR_RETURN(make_dtype(machine, arguments, &made)); break;
    case KD_PICKLE_FROMBUFFER:
        KD_OR_RETURN(make_array(machine, kd_pickle_item(machine, arguments, 2), kd_pickle_item(machine, arguments, 1),
                                kd_pickle_item(machine, arguments, 0), &made));
        break;
    case KD_PICKLE_SCALAR: KD_OR_RETURN(make_scalar(machine, arguments, &made)); break;
    case KD_PICKLE_ENCODE: KD_OR_RETURN(decode_latin1(machine, arguments, &made)); break;
    case KD_PICKLE_COO_MATRIX:
    case KD_PICKLE_CSR_MATRIX:
    case KD_PICKLE_NDARRAY: return KD_PICKLE_FAIL(machine, "a class called by REDUCE"); break;
    }
    return kd_pickle_push(machine, made);
}

/* dtype.__setstate__((version, byte order, ...)) */
static kd_status build_dtype(kd_pickle_machine *machine, kd_pickle_value *dtype, const kd_pickle_value *state) {
    const kd_pickle_value *order = kd_pickle_item(machine, state, 1);
    if (order == NULL || (!kd_pickle_equals(order, "<") && !kd_pickle_equals(order, ">") &&
                          !kd_pickle_equals(order, "|") && !kd_pickle_equals(order, "=")))
        return KD_PICKLE_FAIL(machine, "a dtype without its byte order");
    dtype->element.big_endian = kd_pickle_equals(order, ">") && dtype->element.size > 1;
    return KD_OK;
}

kd_status kd_pickle_build(kd_pickle_machine *machine) {
    int32_t state_index = 0, object_index = 0;

    KD_OR_RETURN(kd_pickle_pop(machine, &state_index));
    KD_OR_RETURN(kd_pickle_pop(machine, &object_index));
    const kd_pickle_value *state = &machine->values[state_index];
    kd_pickle_value *object = &machine->values[object_index];
    if (object->kind == KD_PICKLE_DTYPE) {
        KD_OR_RETURN(build_dtype(machine, object, state));
    } else if (object->kind == KD_PICKLE_ARRAY) { /* (version, shape, dtype, Fortran order, bytes) */
        kd_pickle_value built = {0};
        KD_OR_RETURN(make_array(machine, kd_pickle_item(machine, state, 1), kd_pickle_item(machine, state, 2),
                                kd_pickle_item(machine, state, 4), &built));
        *object = built;
    } else if (object->kind == KD_PICKLE_MATRIX && state->kind == KD_PICKLE_DICT) {
        object->state = state_index;
    } else {
        return KD_PICKLE_FAIL(machine, "BUILD of something that is no array, dtype or matrix");
    }
    machine->height++; /* the object stays on the stack, in its old place */
    return KD_OK;
}

kd_status kd_pickle_new_object(kd_pickle_machine *machine) {
    int32_t arguments = 0, class_index = 0;

    KD_OR_RETURN(kd_pickle_pop(machine, &arguments));
    KD_OR_RETURN(kd_pickle_pop(machine, &class_index));
    const kd_pickle_value *class = &machine->values[class_index];
    if (class->kind != KD_PICKLE_GLOBAL ||
        (class->global != KD_PICKLE_COO_MATRIX && class->global != KD_PICKLE_CSR_MATRIX))
        return KD_PICKLE_FAIL(machine, "a new object of something that is no scipy coo or csr matrix");
    return kd_pickle_push(machine, (kd_pickle_value){.kind = KD_PICKLE_MATRIX, .global = class->global, .state = -1});
}
