/* Lines of white-space separated numbers in a mapped text file, with line numbers in every message. */
#ifndef KD_DATA_LINES_H
#define KD_DATA_LINES_H

#include "host/base/file.h"

typedef struct kd_line_reader {
    const char *path;
    kd_mapped_file file;
    int64_t number;           /* of the current line, from 1 */
    const char *cursor, *end; /* what is left of the current line, without its line break */
    const char *next;         /* where the next line starts */
} kd_line_reader;

/* Maps `path`; *reader is overwritten and stands before the first line. KD_ERR_FORMAT. On failure *reader is empty. */
kd_status kd_lines_open(const char *path, kd_line_reader *reader);

/* Unmaps and leaves *reader empty; an empty one is allowed. */
void kd_lines_close(kd_line_reader *reader);

/* Moves to the next line that has anything but white space before a '#'; false at the end of the file. */
bool kd_lines_next(kd_line_reader *reader);

/* Takes the next field of the line as a whole number in low..high (`what` names it in the message). KD_ERR_FORMAT. */
kd_status kd_lines_integer(kd_line_reader *reader, const char *what, int64_t low, int64_t high, int64_t *out);

/* Takes the next field of the line as a finite float32. KD_ERR_FORMAT. */
kd_status kd_lines_float(kd_line_reader *reader, const char *what, float *out);

/* KD_ERR_FORMAT if the line has another field; a comment may follow. `fields` tells what was expected. */
kd_status kd_lines_finish(kd_line_reader *reader, const char *fields);

#endif
