#include "host/data/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Splits the line at `at` by tabs; returns the number of fields, -1 if there are too many. */
static int split(const char *at, const char *end, kd_field *field) {
    int count = 0;
    for (;;) {
        const char *tab = memchr(at, '\t', (size_t)(end - at)), *stop = tab ? tab : end;
        if (count == KD_TABLE_MAX_COLUMNS) return -1;
        field[count++] = (kd_field){at, stop - at};
        if (!tab) return count;
        at = tab + 1;
    }
}

/* The next line without its line break; false at the end of the file. */
static bool next_line(kd_table *t, const char **begin, const char **end) {
    const char *file_end = (const char *)t->file.data + t->file.bytes, *stop;
    if (t->next >= file_end) return false;
    stop = memchr(t->next, '\n', (size_t)(file_end - t->next));
    *begin = t->next;
    *end = stop ? stop : file_end;
    t->next = stop ? stop + 1 : file_end;
    t->line++;
    if (*end > *begin && (*end)[-1] == '\r') (*end)--;
    return true;
}

/* Takes ":type" off a header name. A header without types is MMRec's; what is not a type at all is a mistake. */
static kd_status take_type(const char *path, kd_field *name) {
    static const char *const types[] = {"token", "float", "token_seq", "float_seq"};
    const char *colon = memchr(name->text, ':', (size_t)name->length);
    if (!colon) return KD_OK;
    int64_t length = name->length - (colon + 1 - name->text);
    name->length = colon - name->text;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strlen(types[i]) == (size_t)length && memcmp(types[i], colon + 1, (size_t)length) == 0) return KD_OK;
    return KD_FAIL(KD_ERR_FORMAT, "%s:1: column type '%.*s': expected token, float, token_seq or float_seq", path,
                   (int)(length < 60 ? length : 60), colon + 1);
}

kd_status kd_table_open(const char *path, kd_table *t) {
    const char *begin, *end;
    *t = (kd_table){.path = path};
    kd_status status = kd_file_map(path, &t->file);
    if (status != KD_OK) return status;
    t->next = (const char *)t->file.data;
    if (!next_line(t, &begin, &end) || begin == end)
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s:1: expected a header such as user_id:token<TAB>item_id:token", path);
    t->columns = split(begin, end, t->name);
    if (t->columns < 0)
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s:1: more than %d columns", path, (int)KD_TABLE_MAX_COLUMNS);
    for (int i = 0; i < t->columns; i++) KD_TRY(take_type(path, &t->name[i]));
cleanup:
    if (status != KD_OK) kd_table_close(t);
    return status;
}

void kd_table_close(kd_table *t) {
    if (t->file.data) kd_file_unmap(&t->file);
    *t = (kd_table){0};
}

int kd_table_find(const kd_table *t, const char *name) {
    for (int i = 0; i < t->columns; i++)
        if ((size_t)t->name[i].length == strlen(name) && memcmp(t->name[i].text, name, strlen(name)) == 0) return i;
    return -1;
}

kd_status kd_table_require(const kd_table *t, const char *name, int *column) {
    *column = kd_table_find(t, name);
    if (*column >= 0) return KD_OK;
    return KD_FAIL(KD_ERR_FORMAT, "%s:1: expected a column %s in the header", t->path, name);
}

kd_status kd_table_next(kd_table *t, bool *more) {
    const char *begin, *end;
    do {
        *more = next_line(t, &begin, &end);
    } while (*more && begin == end);
    if (!*more) return KD_OK;
    int count = split(begin, end, t->field);
    if (count == t->columns) return KD_OK;
    return KD_FAIL(KD_ERR_FORMAT, "%s:%lld: expected %d tab-separated fields, got %d", t->path, (long long)t->line,
                   t->columns, count < 0 ? KD_TABLE_MAX_COLUMNS + 1 : count);
}

kd_status kd_table_real(const kd_table *t, int column, double *out) {
    char text[64] = "", *end = text;
    const kd_field *f = &t->field[column];
    if (f->length > 0 && f->length < (int64_t)sizeof text) {
        memcpy(text, f->text, (size_t)f->length);
        text[f->length] = '\0';
        *out = strtod(text, &end);
    }
    if (end != text && *end == '\0' && isfinite(*out)) return KD_OK;
    return KD_FAIL(KD_ERR_FORMAT, "%s:%lld: expected a number, got '%.*s'", t->path, (long long)t->line,
                   (int)(f->length < 60 ? f->length : 60), f->text);
}

int64_t kd_table_lines(const kd_table *t) {
    const char *at = t->next, *end = (const char *)t->file.data + t->file.bytes;
    int64_t lines = 1;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        lines++;
        at++;
    }
    return lines;
}
