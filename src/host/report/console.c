#include "host/report/console.h"

#include <inttypes.h>
#include <unistd.h>

void kd_console_open(int64_t epochs, kd_console *out) {
    *out = (kd_console){.table = stdout, .progress = stderr, .bar = isatty(STDERR_FILENO), .epochs = epochs};
}

void kd_console_progress(kd_console *c, int64_t epoch, kd_stage stage, int64_t done, int64_t total) {
    enum { WIDTH = 24 };
    char bar[WIDTH + 1];
    int filled = total > 0 ? (int)(done * WIDTH / total) : 0;
    if (!c->bar) return;
    for (int i = 0; i < WIDTH; i++) bar[i] = i < filled ? '#' : '.';
    bar[WIDTH] = '\0';
    fprintf(c->progress, "\r\033[Kepoch %" PRId64 "/%" PRId64 " %-18s [%s] %" PRId64 "/%" PRId64, epoch + 1, c->epochs,
            kd_stage_name(stage), bar, done, total);
    fflush(c->progress);
}

static void print_split(FILE *out, const kd_metrics *m) {
    int64_t last = m->topk_count - 1;
    if (m->users > 0)
        fprintf(out, "  %8.4f %8.4f %8.4f", m->recall[last], m->ndcg[last], m->precision[last]);
    else
        fprintf(out, "  %8s %8s %8s", "-", "-", "-");
}

static void print_heading(kd_console *c, const kd_epoch_record *r) {
    const kd_metrics *m = r->test.users > 0 ? &r->test : &r->valid;
    int64_t k = m->topk_count > 0 ? m->topk[m->topk_count - 1] : 0;
    fprintf(c->table, "%5s %10s  %-26s  %-26s %8s\n", "", "", "valid", "test", "");
    fprintf(c->table, "%5s %10s", "epoch", "loss");
    for (int i = 0; i < 2; i++) fprintf(c->table, "  Rec@%-4" PRId64 " NDCG@%-4" PRId64 "Prec@%-3" PRId64, k, k, k);
    fprintf(c->table, " %8s\n", "seconds");
    c->headed = true;
}

void kd_console_epoch(kd_console *c, const kd_epoch_record *r) {
    for (int i = 0; i < KD_STAGE_COUNT; i++) c->seconds[i] += r->seconds[i];
    c->total += r->total_seconds;
    if (c->bar) fputs("\r\033[K", c->progress);
    if (!c->headed && r->evaluated) print_heading(c, r);
    fprintf(c->table, "%5" PRId64 " %10.5f", r->epoch, r->loss);
    print_split(c->table, &r->valid);
    print_split(c->table, &r->test);
    fprintf(c->table, " %8.2f%s\n", r->total_seconds, r->best ? " *" : "");
    fflush(c->table);
}

void kd_console_stages(const kd_console *c) {
    fprintf(c->table, "%-20s %10s %6s\n", "stage", "seconds", "share");
    for (int i = 0; i < KD_STAGE_COUNT; i++)
        fprintf(c->table, "%-20s %10.2f %5.1f%%\n", kd_stage_name((kd_stage)i), c->seconds[i],
                c->total > 0 ? 100.0 * c->seconds[i] / c->total : 0.0);
    fprintf(c->table, "%-20s %10.2f\n", "total", c->total);
}

void kd_console_metrics(FILE *out, const char *split, const kd_metrics *m) {
    for (int64_t j = 0; j < m->topk_count; j++)
        fprintf(out,
                "%-6s recall@%" PRId64 " %.4f  ndcg@%" PRId64 " %.4f  precision@%" PRId64 " %.4f  (%" PRId64
                " users)\n",
                split, m->topk[j], m->recall[j], m->topk[j], m->ndcg[j], m->topk[j], m->precision[j], m->users);
}

const char *kd_console_bytes(int64_t bytes, char text[32]) {
    const char *const unit[] = {"B", "KB", "MB", "GB", "TB"};
    double value = (double)bytes;
    int i = 0;
    for (; value >= 1000.0 && i < 4; i++) value /= 1000.0;
    snprintf(text, 32, i ? "%.1f %s" : "%.0f %s", value, unit[i]);
    return text;
}
