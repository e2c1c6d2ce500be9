/* The kdiffe program: finds the command, hands it its words, turns its status into the exit code. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/signals.h"
#include "host/cli/command.h"
#include "host/config/keys.h"
#include "kdiffe/version.h"

static const kd_command *const COMMANDS[] = {
    &kd_command_convert,   &kd_command_validate, &kd_command_info,   &kd_command_synth,
    &kd_command_attention, &kd_command_train,    &kd_command_eval,   &kd_command_recommend,
    &kd_command_export,    &kd_command_bench,    &kd_command_launch,
};
enum { COMMAND_COUNT = sizeof COMMANDS / sizeof COMMANDS[0] };

static void print_help(FILE *out) {
    fputs("usage: kdiffe COMMAND [WORDS] [--option=value ...]\n\n"
          "Trains KDiffE, knowledge-aware diffusion-enhanced multimedia recommendation.\n\ncommands:\n",
          out);
    for (int i = 0; i < COMMAND_COUNT; i++) fprintf(out, "  %-10s %s\n", COMMANDS[i]->name, COMMANDS[i]->summary);
    fputs(
        "\n`kdiffe COMMAND --help` tells its options and gives an example; `kdiffe --version` the version.\n"
        "exit codes: 0 success, 1 runtime, 2 usage or configuration, 3 bad data, 4 out of memory, 5 non-finite loss,\n"
        "6 communication, 128 + signal when interrupted.\n",
        out);
}

static const kd_command *find(const char *name) {
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(COMMANDS[i]->name, name) == 0) return COMMANDS[i];
    return NULL;
}

static int unknown(const char *name) {
    const kd_command *best = COMMANDS[0];
    for (int i = 1; i < COMMAND_COUNT; i++)
        if (kd_edit_distance(name, COMMANDS[i]->name) < kd_edit_distance(name, best->name)) best = COMMANDS[i];
    fprintf(stderr, "kdiffe: unknown command '%s'; the nearest is '%s', `kdiffe --help` lists all\n", name, best->name);
    return 2;
}

static int help(const char *name) {
    const kd_command *command = find(name);
    if (!command) return unknown(name);
    fputs(command->help, stdout);
    if (command == &kd_command_train || command == &kd_command_attention)
        printf("\nconfiguration keys [default]:\n%s", kd_keys_help());
    return 0;
}

/* Splits the words after the command; false when --help is among them. */
static bool split(int argc, char **argv, kd_args *args) {
    bool options = true;
    for (int i = 0; i < argc; i++) {
        if (options && strcmp(argv[i], "--help") == 0) return false;
        if (options && strcmp(argv[i], "--") == 0)
            options = false;
        else if (options && strncmp(argv[i], "--", 2) == 0)
            args->option[args->option_count++] = argv[i] + 2;
        else
            args->positional[args->positional_count++] = argv[i];
    }
    return true;
}

static int run(const kd_command *command, int argc, char **argv) {
    kd_args args = {0};
    kd_status status = KD_OK;
    args.positional = calloc((size_t)argc + 1, sizeof *args.positional);
    args.option = calloc((size_t)argc + 1, sizeof *args.option);
    if (!args.positional || !args.option)
        status = KD_FAIL(KD_ERR_MEMORY, "out of memory");
    else if (!split(argc, argv, &args))
        help(command->name);
    else
        status = command->run(&args);
    if (status == KD_OK && (fflush(stdout) != 0 || ferror(stdout)))
        status = KD_FAIL(KD_ERR_IO, "standard output cannot be written");
    if (status != KD_OK && kd_last_error()[0]) /* of several ranks one speaks */
        fprintf(stderr, "kdiffe: %s\n", kd_last_error());
    free(args.positional);
    free(args.option);
    return kd_exit_code(status);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("kdiffe " KDIFFE_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "help") == 0) return help(argv[2]);
    const kd_command *command = find(argv[1]);
    if (!command) return unknown(argv[1]);
    kd_signals_install();
    return run(command, argc - 2, argv + 2);
}
