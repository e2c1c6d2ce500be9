/* RecBole's atomic files: a header of name:type fields, then rows, all separated by tabs. */
#ifndef KD_DATA_TABLE_H
#define KD_DATA_TABLE_H

#include "host/base/file.h"

enum { KD_TABLE_MAX_COLUMNS = 64 };

typedef struct kd_field {
    const char *text; /* in the mapped file, not ended */
    int64_t length;
} kd_field;

typedef struct kd_table {
    const char *path;
    kd_mapped_file file;
    const char *next;
    int64_t line; /* of the row that was read last, from 1 */
    int columns;
    kd_field name[KD_TABLE_MAX_COLUMNS];  /* header names without their types */
    kd_field field[KD_TABLE_MAX_COLUMNS]; /* the row that was read last */
} kd_table;

/* Maps the file and reads its header; a column may lack its type, as in MMRec. KD_ERR_FORMAT; on failure *out is empty.
 * Lines may end in CRLF. */
kd_status kd_table_open(const char *path, kd_table *out);
void kd_table_close(kd_table *table);

/* Column of that name; -1 if there is none. */
int kd_table_find(const kd_table *table, const char *name);

/* As kd_table_find; KD_ERR_FORMAT names the header that lacks it. */
kd_status kd_table_require(const kd_table *table, const char *name, int *column);

/* Reads the next row into table->field; *more = false at the end. Empty lines are skipped. KD_ERR_FORMAT for another
 * number of fields than the header's. */
kd_status kd_table_next(kd_table *table, bool *more);

/* A field as a finite number. */
kd_status kd_table_real(const kd_table *table, int column, double *out);

/* Number of lines that are left, at most: room for what is read. */
int64_t kd_table_lines(const kd_table *table);

#endif
