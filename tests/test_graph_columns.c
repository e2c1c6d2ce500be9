/* The CUDA column against the CPU column as in test_columns.c: ops over graphs. */
#include "graph_subjects.h"

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(message_passing_agree),
                                       cmocka_unit_test(rows_of_a_batch_agree),
                                       cmocka_unit_test(message_passing_of_a_batch_agree),
                                       cmocka_unit_test(hubs_agree),
                                       cmocka_unit_test(attention_agree),
                                       cmocka_unit_test(rebuilt_graphs_agree),
                                       cmocka_unit_test(walks_agree)};
    int code;
    return has_device(&code) ? cmocka_run_group_tests_name("columns", tests, open_both, close_both) : code;
}
