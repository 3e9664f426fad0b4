// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The rival of probe-node-cost and probe-cpu: what a tracing script compiles to. The six arguments of a message go into one
   ring, by libbpf's own reading of arguments, for every process that hits, without a choice of payloads or sizes. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define PAYLOAD 128

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 16 * 1024 * 1024);
} ring SEC(".maps");

struct message {
    __u64 peer, size;
    char address[256];
    char connection[20];
    char type[20];
    unsigned char payload[PAYLOAD];
};

SEC("usdt")
int
on_message(struct pt_regs *ctx)
{
    struct message *out = bpf_ringbuf_reserve(&ring, sizeof(*out), 0);
    if (!out) {
        return 0;
    }
    long value;
    bpf_usdt_arg(ctx, 0, &value);
    out->peer = value;
    bpf_usdt_arg(ctx, 1, &value);
    bpf_probe_read_user_str(out->address, sizeof(out->address), (void *)value);
    bpf_usdt_arg(ctx, 2, &value);
    bpf_probe_read_user_str(out->connection, sizeof(out->connection), (void *)value);
    bpf_usdt_arg(ctx, 3, &value);
    bpf_probe_read_user_str(out->type, sizeof(out->type), (void *)value);
    bpf_usdt_arg(ctx, 4, &value);
    out->size = value;
    __u64 size = value < PAYLOAD ? value : PAYLOAD;
    asm volatile("" : "+r"(size));
    if (size > PAYLOAD) {
        size = PAYLOAD;
    }
    bpf_usdt_arg(ctx, 5, &value);
    bpf_probe_read_user(out->payload, size, (void *)value);
    bpf_ringbuf_submit(out, BPF_RB_NO_WAKEUP);
    return 0;
}
