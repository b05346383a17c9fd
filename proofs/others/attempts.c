/* Makes attempts to listen where only port 8121 is allowed, and prints what came of each.
 *
 *     attempts [landlock | cgroup DIRECTORY | port NUMBER]
 *
 * `landlock` and `cgroup DIRECTORY` restrict the process first. DIRECTORY is a mounted cgroup2 file
 * system, in which it makes a cgroup with a BPF program. `port` tries only that port. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
enum { ALLOWED = 8121, FORBIDDEN = 8122 };
/* Not in the headers of older distributions. */
struct ports_attribute { uint64_t fs, net; };
struct port_rule { uint64_t access, port; };

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void restrict_by_landlock(void) {
    struct ports_attribute attribute = {0, 1};
    struct port_rule rule = {1, ALLOWED};
    int ruleset = syscall(SYS_landlock_create_ruleset, &attribute, sizeof attribute, 0);
    if (ruleset < 0) fail("landlock_create_ruleset");
    if (syscall(SYS_landlock_add_rule, ruleset, 2, &rule, 0)) fail("landlock_add_rule");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("prctl");
    if (syscall(SYS_landlock_restrict_self, ruleset, 0)) fail("landlock_restrict_self");
}

/* What SocketBindAllow= of systemd does. */
static void restrict_by_cgroup(const char *mounted) {
    char path[256];
    snprintf(path, sizeof path, "%s/attempts", mounted);
    if (mkdir(path, 0755) && errno != EEXIST) fail("mkdir");
    int cgroup = open(path, O_RDONLY | O_DIRECTORY);
    if (cgroup < 0) fail("open");
    struct bpf_insn program[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
        {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1,
         .off = offsetof(struct bpf_sock_addr, user_port)},
        {.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 2, .off = 1, .imm = htons(ALLOWED)},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1},
        {.code = BPF_JMP | BPF_EXIT},
    };
    int types[] = {BPF_CGROUP_INET4_BIND, BPF_CGROUP_INET6_BIND};
    for (int index = 0; index < 2; index++) {
        union bpf_attr load = {0};
        load.prog_type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
        load.expected_attach_type = types[index];
        load.insns = (uintptr_t)program;
        load.insn_cnt = sizeof program / sizeof *program;
        load.license = (uintptr_t) "GPL";
        int loaded = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
        if (loaded < 0) fail("BPF_PROG_LOAD");
        union bpf_attr attach = {0};
        attach.target_fd = cgroup;
        attach.attach_bpf_fd = loaded;
        attach.attach_type = types[index];
        if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach)) fail("BPF_PROG_ATTACH");
    }
    snprintf(path, sizeof path, "%s/attempts/cgroup.procs", mounted);
    int procs = open(path, O_WRONLY);
    if (procs < 0 || write(procs, "0", 1) != 1) fail("cgroup.procs");
}

static void attempt(const char *name, int protocol, sa_family_t family, int port) {
    struct sockaddr_in address = {.sin_family = family, .sin_port = htons(port)};
    int listener = socket(AF_INET, SOCK_STREAM, protocol);
    const char *call = "socket";
    int error = listener < 0;
    if (!error && port) {
        call = "bind";
        error = bind(listener, (struct sockaddr *)&address, sizeof address);
    }
    if (!error) {
        call = "listen";
        error = listen(listener, 1);
    }
    if (error) {
        printf("%s: %s: %s\n", name, call, strerrorname_np(errno));
    } else {
        printf("%s: listens\n", name);
    }
    if (listener >= 0) close(listener);
}

int main(int count, char **arguments) {
    if (count == 2 && !strcmp(arguments[1], "landlock")) restrict_by_landlock();
    if (count == 3 && !strcmp(arguments[1], "cgroup")) restrict_by_cgroup(arguments[2]);
    if (count == 3 && !strcmp(arguments[1], "port")) {
        attempt("the port", IPPROTO_TCP, AF_INET, atoi(arguments[2]));
        return 0;
    }
    attempt("the allowed port", IPPROTO_TCP, AF_INET, ALLOWED);
    attempt("another port", IPPROTO_TCP, AF_INET, FORBIDDEN);
    attempt("another port, AF_UNSPEC", IPPROTO_TCP, AF_UNSPEC, FORBIDDEN);
    attempt("another port, MPTCP", IPPROTO_MPTCP, AF_INET, FORBIDDEN);
    attempt("listen without bind", IPPROTO_TCP, AF_INET, 0);
}
