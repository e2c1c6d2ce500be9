#include "host/data/lines.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

kd_status kd_lines_open(const char *path, kd_line_reader *reader) {
    *reader = (kd_line_reader){.path = path};
    kd_status status = kd_file_map(path, &reader->file);
    reader->next = (const char *)reader->file.data;
    return status;
}

void kd_lines_close(kd_line_reader *reader) {
    kd_file_unmap(&reader->file);
    *reader = (kd_line_reader){0};
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v'; }

/* Moves over spaces; false if the line, or what comes before its comment, ends there. */
static bool reach_field(kd_line_reader *reader) {
    while (reader->cursor < reader->end && is_space(*reader->cursor)) reader->cursor++;
    return reader->cursor < reader->end && *reader->cursor != '#';
}

bool kd_lines_next(kd_line_reader *reader) {
    const char *file_end = (const char *)reader->file.data + reader->file.bytes;
    while (reader->next < file_end) {
        const char *line_break = memchr(reader->next, '\n', (size_t)(file_end - reader->next));
        reader->cursor = reader->next;
        reader->end = line_break == NULL ? file_end : line_break;
        reader->next = line_break == NULL ? file_end : line_break + 1;
        reader->number++;
        if (reach_field(reader)) return true;
    }
    return false;
}

/* The next field, or an empty one at the end of the line. */
static const char *take_field(kd_line_reader *reader, int64_t *length) {
    bool present = reach_field(reader);
    const char *begin = reader->cursor;
    while (present && reader->cursor < reader->end && !is_space(*reader->cursor)) reader->cursor++;
    *length = reader->cursor - begin;
    return begin;
}

kd_status kd_lines_integer(kd_line_reader *reader, const char *what, int64_t low, int64_t high, int64_t *out) {
    int64_t length = 0, magnitude = 0, i = 0;
    const char *field = take_field(reader, &length);
    bool negative = length > 0 && field[0] == '-', whole = length > negative;

    for (i = negative; i < length && whole; i++)
        whole = field[i] >= '0' && field[i] <= '9' && !__builtin_mul_overflow(magnitude, 10, &magnitude) &&
                !__builtin_add_overflow(magnitude, field[i] - '0', &magnitude);
    *out = negative ? -magnitude : magnitude;
    if (!whole || *out < low || *out > high)
        return KD_FAIL(KD_ERR_FORMAT,
                       "%s:%" PRId64 ": expected %s, a whole number in %" PRId64 "..%" PRId64 ", found '%.*s'",
                       reader->path, reader->number, what, low, high, (int)(length < 40 ? length : 40), field);
    return KD_OK;
}

kd_status kd_lines_float(kd_line_reader *reader, const char *what, float *out) {
    char text[64];
    int64_t length = 0;
    const char *field = take_field(reader, &length);
    bool fits = length > 0 && length < (int64_t)sizeof text;
    char *end = text;

    if (fits) { /* strtof needs a '\0', which a mapped file has not */
        memcpy(text, field, (size_t)length);
        text[length] = '\0';
        *out = strtof(text, &end);
    }
    if (!fits || end != text + length || !isfinite(*out))
        return KD_FAIL(KD_ERR_FORMAT, "%s:%" PRId64 ": expected %s, a finite number, found '%.*s'", reader->path,
                       reader->number, what, (int)(length < 40 ? length : 40), field);
    return KD_OK;
}

kd_status kd_lines_finish(kd_line_reader *reader, const char *fields) {
    if (!reach_field(reader)) return KD_OK;
    return KD_FAIL(KD_ERR_FORMAT, "%s:%" PRId64 ": expected only %s", reader->path, reader->number, fields);
}
