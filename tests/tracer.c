/* Runs a program under ptrace and writes one line for each file that it, or a process that it starts, opens (`open PATH`), maps
 * (`map PATH`), maps with the right to execute or gives that right later (`execute PATH`), or becomes (`exec PATH`):
 *
 *     tracer LOG PROGRAM ARGUMENTS...
 *
 * Ends as the program does, or with 124 where tracing is not allowed. Linux on x86-64 and arm64.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 4096

struct call {
    long number;
    unsigned long argument[6];
    long result;
};

#if defined(__x86_64__)
static int registers(pid_t pid, struct call *call) {
    struct user_regs_struct r;
    if (ptrace(PTRACE_GETREGS, pid, 0, &r)) return -1;
    *call = (struct call){(long)r.orig_rax, {r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9}, (long)r.rax};
    return 0;
}
#elif defined(__aarch64__)
static int registers(pid_t pid, struct call *call) {
    struct user_regs_struct r;
    struct iovec all = {&r, sizeof r};
    if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &all)) return -1;
    *call = (struct call){(long)r.regs[8], {r.regs[0], r.regs[1], r.regs[2], r.regs[3], r.regs[4], r.regs[5]}, (long)r.regs[0]};
    return 0;
}
#else
#error "the tracer knows x86-64 and arm64 only"
#endif

static void path_of(pid_t pid, long descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/%d/fd/%ld", pid, descriptor);
    ssize_t length = readlink(link, path, MOST - 1);
    path[length < 0 ? 0 : length] = 0;
}

/* At the end of a call, when descriptors are there and first arguments may be gone. */
static void tell(FILE *log, pid_t pid, const struct call *entered, long result) {
    char path[MOST];
    unsigned long failed = (unsigned long)-4096;
    if ((unsigned long)result > failed) return;
    switch (entered->number) {
    case SYS_mmap:
        if (entered->argument[3] & MAP_ANONYMOUS) return;
        path_of(pid, (long)entered->argument[4], path);
        fprintf(log, entered->argument[2] & PROT_EXEC ? "execute %s\n" : "map %s\n", path);
        return;
    case SYS_openat:
#ifdef SYS_open
    case SYS_open:
#endif
        path_of(pid, result, path);
        fprintf(log, "open %s\n", path);
        return;
    case SYS_execve:
    case SYS_execveat: {
        char link[64];
        snprintf(link, sizeof link, "/proc/%d/exe", pid);
        ssize_t length = readlink(link, path, sizeof path - 1);
        path[length < 0 ? 0 : length] = 0;
        fprintf(log, "exec %s\n", path);
        return;
    }
    /* A mapping that becomes executable later tells by its address only. */
    case SYS_mprotect:
        if (entered->argument[2] & PROT_EXEC) {
            char maps[64], line[MOST];
            snprintf(maps, sizeof maps, "/proc/%d/maps", pid);
            FILE *file = fopen(maps, "r");
            while (file && fgets(line, sizeof line, file)) {
                unsigned long from, to;
                char *name = strchr(line, '/');
                if (sscanf(line, "%lx-%lx", &from, &to) == 2 && entered->argument[0] < to && from < entered->argument[0] + entered->argument[1] && name) {
                    fprintf(log, "execute %s", name);
                }
            }
            if (file) fclose(file);
        }
        return;
    }
}

struct thread {
    pid_t pid;
    int inside;
    struct call entered;
};

static struct thread threads[4096];

static struct thread *find(pid_t pid) {
    struct thread *free = NULL;
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        if (threads[i].pid == pid) return &threads[i];
        if (!threads[i].pid && !free) free = &threads[i];
    }
    if (!free) exit(126);
    *free = (struct thread){pid, 0, {0}};
    return free;
}

int main(int count, char **words) {
    if (count < 3) return 125;
    FILE *log = fopen(words[1], "we");
    if (!log) return 125;
    pid_t program = fork();
    if (program == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0)) _exit(124);
        raise(SIGSTOP);
        execvp(words[2], words + 2);
        _exit(125);
    }
    int status;
    if (waitpid(program, &status, 0) != program || !WIFSTOPPED(status)) return 124;
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SETOPTIONS, program, 0, options)) return 124;
    ptrace(PTRACE_SYSCALL, program, 0, 0);
    int answer = 123;
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0) {
            if (errno == EINTR) continue;
            break;
        }
        struct thread *thread = find(pid);
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            thread->pid = 0;
            if (pid == program) answer = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            continue;
        }
        if (!WIFSTOPPED(status)) continue;
        int signal = WSTOPSIG(status), deliver = 0;
        if (signal == (SIGTRAP | 0x80)) {
            struct call call;
            if (registers(pid, &call) == 0) {
                if (!thread->inside) {
                    thread->entered = call;
                } else {
                    tell(log, pid, &thread->entered, call.result);
                }
                thread->inside = !thread->inside;
            }
        } else if (signal != SIGTRAP && signal != SIGSTOP) {
            deliver = signal;
        }
        ptrace(PTRACE_SYSCALL, pid, 0, deliver);
    }
    fclose(log);
    return answer;
}
