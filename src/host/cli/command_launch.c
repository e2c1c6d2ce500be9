/* kdiffe launch: a command once for each GPU of this machine, as the ranks of one job. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host/base/memory.h"
#include "host/base/signals.h"
#include "host/cli/command.h"
#include "kernels/device.h"

static const char HELP[] =
    "usage: kdiffe launch [--gpus=N] -- train DATA --out=RUN [--key=value ...]\n"
    "       kdiffe launch [--gpus=N] --nodes=M --node=K --rendezvous=HOST:PORT -- train ...\n\n"
    "Starts the command once a GPU, as the ranks of one job: each takes a GPU, and NCCL sums between them. When one "
    "of\n"
    "them ends or dies, so do the others. Jobs on CPUs are started by mpirun (docs/multi-gpu.md).\n\n"
    "  --gpus=N          ranks on this machine [all GPUs]\n"
    "  --nodes=M         machines of the job, on each of which this command is given [1]\n"
    "  --node=K          which of them this one is, from 0\n"
    "  --rendezvous=HOST:PORT or file:PATH   where ranks of several machines meet: an address of machine 0 with a "
    "free\n"
    "                    port, or a file that all of them see\n\n"
    "example: kdiffe launch --gpus=8 -- train data/tiktok --out=runs/tiktok --trans=1 --cl_method=1\n";

enum { GRACE = 10 /* seconds that ranks have to end by themselves when one has failed */ };

/* The job, and this machine's part of it. */
typedef struct launch {
    int64_t gpus, nodes, node;
    const char *rendezvous; /* NULL: a port of this machine */
    int listener;           /* its socket, which rank 0 takes over; -1: none */
    int port;
    char job[64], host[64];
    int64_t started;
    pid_t *child; /* 0: has ended */
} launch;

static kd_status take_options(kd_args *args, launch *l) {
    l->nodes = 1;
    l->gpus = kd_gpu_count();
    KD_OR_RETURN(kd_args_take_int(args, "gpus", 1, 1024, &l->gpus));
    KD_OR_RETURN(kd_args_take_int(args, "nodes", 1, 1 << 20, &l->nodes));
    KD_OR_RETURN(kd_args_take_int(args, "node", 0, l->nodes - 1, &l->node));
    l->rendezvous = kd_args_take(args, "rendezvous");
    if (args->positional_count == 0)
        return KD_FAIL(KD_ERR_ARGUMENT, "expected a command after --, as in launch --gpus=2 -- train ...; see --help");
    if (l->nodes > 1 && !l->rendezvous)
        return KD_FAIL(KD_ERR_ARGUMENT, "--nodes: expected --rendezvous=HOST:PORT or file:PATH as well; see --help");
    if (strcmp(args->positional[0], "train") != 0 && strcmp(args->positional[0], "bench") != 0)
        return KD_FAIL(KD_ERR_ARGUMENT, "launch: %s is not for several ranks: train and bench --ops=allreduce are",
                       args->positional[0]);
    KD_OR_RETURN(kd_args_finish(args, args->positional_count));
    if (l->gpus < 1)
        return KD_FAIL(KD_ERR_ARGUMENT, "there is no GPU here to launch ranks on; on CPUs: mpirun -n N kdiffe ...");
    return KD_OK;
}

/* A free port of this machine, held until rank 0 has it, and a name that other jobs do not have. */
static kd_status prepare_meeting(launch *l) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    uint64_t number = 0;
    gethostname(l->host, sizeof l->host - 1);
    if (l->rendezvous) {
        const char *job = getenv("KDIFFE_JOB"); /* what several machines have in common: one may be given */
        snprintf(l->job, sizeof l->job, "%s", job ? job : l->rendezvous);
        return KD_OK;
    }
    if (getrandom(&number, sizeof number, 0) != sizeof number) number = (uint64_t)getpid();
    snprintf(l->job, sizeof l->job, "%016" PRIx64, number);
    l->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (l->listener < 0 || bind(l->listener, (struct sockaddr *)&at, sizeof at) != 0 ||
        listen(l->listener, 1024) != 0 || getsockname(l->listener, (struct sockaddr *)&at, &length) != 0)
        return KD_FAIL(KD_ERR_IO, "no port to meet at: %s", strerror(errno));
    l->port = ntohs(at.sin_port);
    return KD_OK;
}

static void set_number(const char *name, int64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    setenv(name, text, 1);
}

/* In the child: becomes local rank `local`. */
static void become_rank(const launch *l, int64_t local, const kd_args *args, pid_t parent) {
    const char **word = calloc((size_t)args->positional_count + 3, sizeof *word);
    char self[4096], option[4096];
    int64_t words = 0;
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    setpgid(0, 0);                    /* signals of the terminal come through the launcher, once */
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no rank outlives it */
    if (!word || length < 0 || getppid() != parent) _exit(1);
    self[length] = '\0';
    set_number("RANK", l->node * l->gpus + local);
    set_number("WORLD_SIZE", l->nodes * l->gpus);
    set_number("LOCAL_RANK", local);
    setenv("KDIFFE_JOB", l->job, 1);
    if (l->nodes == 1) setenv("KDIFFE_LAUNCHED", "1", 1); /* the launcher says who has died, and of what */
    if (!l->rendezvous) {
        setenv("MASTER_ADDR", "127.0.0.1", 1);
        set_number("MASTER_PORT", l->port);
    }
    if (l->listener >= 0 && local == 0) set_number("KDIFFE_LISTEN_FD", l->listener);
    if (l->listener >= 0 && local > 0) close(l->listener);
    word[words++] = "kdiffe";
    for (int64_t i = 0; i < args->positional_count; i++) word[words++] = args->positional[i];
    if (l->rendezvous) {
        snprintf(option, sizeof option, "--rendezvous=%s", l->rendezvous);
        word[words++] = option;
    }
    execv(self, (char *const *)(uintptr_t)word);
    dprintf(STDERR_FILENO, "kdiffe: %s: %s\n", self, strerror(errno));
    _exit(1);
}

static kd_status start_ranks(launch *l, const kd_args *args) {
    pid_t parent = getpid();
    for (int64_t i = 0; i < l->gpus; i++) {
        l->child[i] = fork();
        if (l->child[i] == 0) become_rank(l, i, args, parent);
        if (l->child[i] < 0) return KD_FAIL(KD_ERR_IO, "fork: %s", strerror(errno));
        l->started++;
    }
    if (l->listener >= 0) close(l->listener);
    l->listener = -1;
    return KD_OK;
}

static void signal_all(const launch *l, int number) {
    for (int64_t i = 0; i < l->started; i++)
        if (l->child[i] > 0) kill(l->child[i], number);
}

/* A rank that died says nothing itself. */
static void say_what_ended(const launch *l, int64_t local, int number) {
    fprintf(stderr, "kdiffe: rank %" PRId64 " of %" PRId64 " on %s was ended by signal %d (%s)\n",
            l->node * l->gpus + local, l->nodes * l->gpus, l->host, number, strsignal(number));
}

/* Until all have ended: the code of the first that failed, 0 if none did. said: why they end has been. */
static int await_ranks(launch *l, bool said) {
    int code = 0, forwarded = 0, how;
    time_t failed_at = 0;
    for (int64_t left = l->started; left > 0;) {
        pid_t pid = waitpid(-1, &how, WNOHANG);
        if (pid < 0 && errno == ECHILD) break;
        int64_t i = 0;
        while (pid > 0 && i < l->gpus && l->child[i] != pid) i++;
        if (pid > 0 && i < l->gpus) {
            l->child[i] = 0;
            left--;
            if (WIFSIGNALED(how) && !said) say_what_ended(l, i, WTERMSIG(how));
            said = said || WIFSIGNALED(how);
            int its = WIFSIGNALED(how) ? kd_exit_code(KD_ERR_NCCL) : WEXITSTATUS(how);
            if (its && !failed_at) failed_at = time(NULL);
            if (!code) code = its;
        }
        if (pid > 0) continue;
        if (kd_signal_caught() != forwarded) signal_all(l, forwarded = kd_signal_caught());
        if (failed_at && time(NULL) - failed_at > GRACE) {
            said = true; /* it was this process */
            signal_all(l, SIGKILL);
        }
        usleep(10000);
    }
    return code;
}

static kd_status command(kd_args *args) {
    kd_status status = KD_OK;
    launch l = {.listener = -1};
    int code = 0;
    KD_TRY(take_options(args, &l));
    KD_TRY(prepare_meeting(&l));
    KD_TRY(kd_host_alloc(&l.child, l.gpus, sizeof *l.child, "ranks"));
    status = start_ranks(&l, args);
    if (status != KD_OK) signal_all(&l, SIGKILL);
    code = await_ranks(&l, status != KD_OK);
cleanup:
    free(l.child);
    if (l.listener >= 0) close(l.listener);
    if (status == KD_OK && code != 0) exit(code); /* as the job has, not as a command of this process would */
    return status;
}

const kd_command kd_command_launch = {"launch", "run a command on every GPU of a machine", HELP, command};
