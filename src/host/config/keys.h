/* The one table of configuration keys: defaults, ranges, parsing, saving and help all come from it. */
#ifndef KD_CONFIG_KEYS_H
#define KD_CONFIG_KEYS_H

#include <stddef.h>

#include "host/config/config.h"

typedef enum kd_key_type {
    KD_KEY_INT,    /* int64_t */
    KD_KEY_SEED,   /* uint64_t */
    KD_KEY_REAL,   /* double */
    KD_KEY_BOOL,   /* bool: true or false */
    KD_KEY_CHOICE, /* an enum: one of `choices`, in the order of its values */
    KD_KEY_PATH,   /* char[1024] */
    KD_KEY_FLAGS,  /* uint32_t: a bit for each of `choices` that is listed, comma separated */
    KD_KEY_CUTS,   /* topk: ascending whole numbers, comma separated */
} kd_key_type;

typedef struct kd_key {
    const char *name;
    kd_key_type type;
    size_t offset;
    double low, high;           /* of INT and REAL, inclusive */
    const char *const *choices; /* of CHOICE and FLAGS; NULL-terminated */
    const char *fallback;       /* default as text; for keys that semantics sets, the published value */
    const char *paper;          /* value under `semantics: paper`; NULL: semantics does not set it */
    const char *help;
} kd_key;

enum { KD_KEY_MOST = 64 }; /* at least kd_key_count */
extern const kd_key kd_keys[];
extern const int64_t kd_key_count;

/* The key of that name, NULL if there is none. */
const kd_key *kd_key_find(const char *name);

/* The known name with the smallest edit distance to `name`. */
const char *kd_key_nearest(const char *name);

/* What the key takes, as "a whole number from 1 to 65536": the same words in messages, --help and the documentation. */
void kd_key_expects(const kd_key *key, char *text, size_t size);

/* Parses `text` whole into the key's field; `where` (a file and line, or "") starts the message of a failure. */
kd_status kd_key_set(const kd_key *key, const char *text, const char *where, kd_config *config);

/* The key's value as text that kd_key_set takes back. */
void kd_key_format(const kd_key *key, const kd_config *config, char *text, size_t size);

/* A table of all keys with defaults and help, for --help. */
const char *kd_keys_help(void);

/* Levenshtein distance of two words. */
int64_t kd_edit_distance(const char *a, const char *b);

#endif
