// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Copies the arguments of a node's tracepoints into rings. It decides nothing, and parses nothing but numbers.

   Two programs serve all tracepoints: `on_message` those with a payload, `on_event` all others, which it copies by a
   plan that the loader writes. Hits of other processes are dropped here. Where a ring is full, the record is counted.
   A message whose payload finds no room is still given without it, and the payload is counted.

   `settings.may_sleep`: the loader asks for sleepable programs and sets it; then pages that are not resident are read in.
   Without it a string or payload on such a page is counted as unreadable.
*/
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "record.h"

#define PAGE 4096ULL /* the smallest page of any machine */

char LICENSE[] SEC("license") = "Dual MIT/GPL";

const volatile struct settings settings = {.interface = INTERFACE};

struct shared shared;

/* The parts of the kernel's structs that `on_exit` reads; BTF gives their places. */
typedef struct {
    int counter;
} atomic_t;
struct signal_struct {
    atomic_t live;
} __attribute__((preserve_access_index));
struct task_struct {
    int exit_code;
    struct signal_struct *signal;
} __attribute__((preserve_access_index));

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, MOST_SLOTS);
    __type(key, __u32);
    __type(value, struct plan);
} plans SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, MOST_SITES);
    __type(key, __u32);
    __type(value, struct site);
} sites SEC(".maps");

struct type_key {
    __u64 words[TYPE_KEY / 8];
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, MOST_TYPES);
    __type(key, struct type_key);
    __type(value, __u32);
} payloads SEC(".maps");

#define RING(name, bytes)                   \
    struct {                                \
        __uint(type, BPF_MAP_TYPE_RINGBUF); \
        __uint(max_entries, bytes);         \
    } name SEC(".maps")

#define MIB (1024 * 1024)
/* 64 MiB in all. At the rates that must pass without loss each holds a pause of the reader of 100 ms and more. */
RING(ring_message, 8 * MIB);
RING(ring_event, 4 * MIB);
RING(ring_text, 4 * MIB);
RING(ring_256, 8 * MIB);
RING(ring_4k, 16 * MIB);
RING(ring_32k, 4 * MIB);
RING(ring_128k, 8 * MIB);
RING(ring_1m, 4 * MIB);
RING(ring_4m, 8 * MIB);

#define COUNT(counter) __sync_fetch_and_add(&(counter), 1)

/* The thread group id as the extractor's namespace numbers it, 0 for a process outside of that. */
static __always_inline __u32
current_process(void)
{
    struct bpf_pidns_info numbers = {};
    if (!settings.namespace_inode) {
        return bpf_get_current_pid_tgid() >> 32;
    }
    if (bpf_get_ns_current_pid_tgid(settings.namespace_device, settings.namespace_inode, &numbers, sizeof(numbers))) {
        return 0;
    }
    return numbers.tgid;
}

/* The thread group id if this process is the one to watch, 0 otherwise. */
static __always_inline __u32
watched(void)
{
    __u32 process = current_process();
    __u32 chosen = shared.process;
    if (!chosen && shared.claim) {
        chosen = __sync_val_compare_and_swap(&shared.process, 0, process);
        chosen = chosen ? chosen : process;
    }
    if (chosen && chosen == process) {
        return process;
    }
    COUNT(shared.foreign);
    return 0;
}

static __always_inline void
note_unreadable(struct head *head, __u32 slot, __u32 argument)
{
    head->unreadable |= 1 << argument;
    COUNT(shared.unreadable[(slot % MOST_SLOTS) * UNREADABLE_STRIDE + argument % UNREADABLE_STRIDE]);
}

/* Read a string with its NUL; negative where it is not readable. A string may reach into a second page. */
static __always_inline long
read_text(void *to, __u32 room, __u64 from)
{
    long size = bpf_probe_read_user_str(to, room, (void *)from);
    if (size < 0 && settings.may_sleep) {
        char byte;
        bpf_copy_from_user(&byte, 1, (void *)from);
        bpf_copy_from_user(&byte, 1, (void *)((from | (PAGE - 1)) + 1));
        size = bpf_probe_read_user_str(to, room, (void *)from);
    }
    return size;
}

static __always_inline long
read_bytes(void *to, __u32 size, __u64 from)
{
    if (settings.may_sleep) {
        return bpf_copy_from_user(to, size, (void *)from);
    }
    return bpf_probe_read_user(to, size, (void *)from);
}

struct hit {
    struct head head;
    __u64 peer, address, connection, size, payload;
    char type[TYPE_ROOM];
    __u32 type_size;
    __u32 wanted;
};

static __always_inline void
fill(struct message *out, const struct hit *hit)
{
    __builtin_memcpy(&out->head, &hit->head, sizeof(out->head));
    __builtin_memcpy(out->type, hit->type, sizeof(out->type));
    out->peer = hit->peer;
    out->size = hit->size;
    out->type_size = hit->type_size;
    out->payload_size = 0;
    long size = read_text(out->address, TEXT + 2, hit->address);
    out->address_size = size < 0 ? 0 : size;
    if (size < 0) {
        note_unreadable(&out->head, hit->head.slot, 1);
    }
    size = read_text(out->connection, CONNECTION_ROOM, hit->connection);
    out->connection_size = size < 0 ? 0 : size;
    if (size < 0) {
        note_unreadable(&out->head, hit->head.slot, 2);
    }
}

/* 0 when the message is in the ring, 1 when it had no room. The size is bounded behind a barrier, because the compiler
   would otherwise prove it to itself and leave nothing for the verifier to see. */
#define GIVE(ring, number, most)                                          \
    ({                                                                    \
        int full = 1;                                                     \
        struct message *out = bpf_ringbuf_reserve(&ring, sizeof(*out) + (most), 0); \
        if (out) {                                                        \
            fill(out, hit);                                               \
            __u64 bytes = hit->wanted;                                    \
            asm volatile("" : "+r"(bytes));                               \
            if (bytes > (most)) {                                         \
                bytes = (most);                                           \
            }                                                             \
            if (bytes) {                                                  \
                out->payload_size = bytes;                                \
                if (read_bytes(out + 1, bytes, hit->payload)) {           \
                    out->payload_size = -1;                               \
                    note_unreadable(&out->head, hit->head.slot, 5);       \
                }                                                         \
            }                                                             \
            bpf_ringbuf_submit(out, BPF_RB_NO_WAKEUP);                    \
            full = 0;                                                     \
        } else {                                                          \
            COUNT(shared.lost[number]);                                   \
        }                                                                 \
        full;                                                             \
    })

static __always_inline int
give_with_payload(const struct hit *hit)
{
    if (hit->wanted <= 256) {
        return GIVE(ring_256, RING_256, 256);
    }
    if (hit->wanted <= 4096) {
        return GIVE(ring_4k, RING_4K, 4096);
    }
    if (hit->wanted <= 32768) {
        return GIVE(ring_32k, RING_32K, 32768);
    }
    if (hit->wanted <= 131072) {
        return GIVE(ring_128k, RING_128K, 131072);
    }
    if (hit->wanted <= MIB) {
        return GIVE(ring_1m, RING_1M, MIB);
    }
    return GIVE(ring_4m, RING_4M, 4 * MIB);
}

static __always_inline int
give_bare(struct message *out, const struct hit *hit, int lost)
{
    fill(out, hit);
    out->payload_size = lost ? -1 : 0;
    bpf_ringbuf_submit(out, BPF_RB_NO_WAKEUP);
    return 0;
}

/* How many bytes of the payload some reader asked for. */
static __always_inline __u32
wanted(const struct hit *hit)
{
    struct type_key key;
    __builtin_memcpy(&key, hit->type, sizeof(key));
    __u32 *own = bpf_map_lookup_elem(&payloads, &key);
    __u32 most = own ? *own : shared.most_payload;
    most = most > 4 * MIB ? 4 * MIB : most;
    return hit->size < most ? hit->size : most;
}

/* The site that was hit. */
static __always_inline struct site *
site_of(struct pt_regs *ctx)
{
    __u32 number = bpf_get_attach_cookie(ctx);
    return bpf_map_lookup_elem(&sites, &number);
}

static __always_inline __u64
register_of(struct pt_regs *ctx, __u16 place)
{
    __u64 value = 0;
    bpf_probe_read_kernel(&value, sizeof(value), (void *)ctx + place);
    return value;
}

/* The value of an argument as 64 bits; 0, and noted, where it cannot be read. A function, so that it is checked once. */
static __noinline int
read_argument(struct pt_regs *ctx, struct site *site, __u32 number, __u64 *out)
{
    __u64 value = 0, at;
    *out = 0;
    if (!site || number >= MOST_ARGUMENTS || number >= site->count) {
        return -1;
    }
    struct place *place = &site->arguments[number];
    switch (place->what) {
    case PLACE_CONSTANT:
        value = place->offset;
        break;
    case PLACE_REGISTER:
        value = register_of(ctx, place->base);
        break;
    default:
        at = register_of(ctx, place->base) + place->offset;
        if (place->scale) {
            at += register_of(ctx, place->index) << ((place->scale - 1) & 3);
        }
        if (bpf_probe_read_user(&value, sizeof(value), (void *)at)
            && (!settings.may_sleep || bpf_copy_from_user(&value, sizeof(value), (void *)at))) {
            return -1;
        }
    }
    value <<= place->shift & 63;
    *out = place->is_signed ? (__u64)((long long)value >> (place->shift & 63)) : value >> (place->shift & 63);
    return 0;
}

static __always_inline __u64
argument(struct pt_regs *ctx, struct site *site, struct head *head, __u32 number)
{
    __u64 value = 0;
    if (read_argument(ctx, site, number, &value)) {
        note_unreadable(head, head->slot, number);
    }
    return value;
}

SEC("uprobe")
int
on_message(struct pt_regs *ctx)
{
    struct hit found = {}, *hit = &found;
    hit->head.process = watched();
    if (!hit->head.process) {
        return 0;
    }
    struct site *site = site_of(ctx);
    if (!site) {
        return 0;
    }
    hit->head.time = bpf_ktime_get_ns();
    hit->head.slot = site->slot;
    hit->peer = argument(ctx, site, &hit->head, 0);
    hit->address = argument(ctx, site, &hit->head, 1);
    hit->connection = argument(ctx, site, &hit->head, 2);
    hit->size = argument(ctx, site, &hit->head, 4);
    hit->payload = argument(ctx, site, &hit->head, 5);
    long size = read_text(hit->type, TYPE_ROOM, argument(ctx, site, &hit->head, 3));
    hit->type_size = size < 0 ? 0 : size;
    if (size < 0) {
        note_unreadable(&hit->head, hit->head.slot, 3);
    }
    hit->wanted = wanted(hit);
    if (hit->wanted && !give_with_payload(hit)) {
        return 0;
    }
    struct message *out = bpf_ringbuf_reserve(&ring_message, sizeof(*out), 0);
    if (out) {
        return give_bare(out, hit, hit->wanted != 0);
    }
    COUNT(shared.lost[RING_MESSAGE]);
    COUNT(shared.lost_by[hit->head.slot % MOST_SLOTS]);
    return 0;
}

/* Copy one argument to its place. `room` is the size of the area, a constant of the caller. */
static __always_inline void
copy(struct event *out, const struct plan *plan, __u32 number, __u64 value, __u64 length, __u32 room)
{
    __u64 place = plan->place[number] * 8ULL;
    long size;
    asm volatile("" : "+r"(place));
    out->values[number] = value;
    switch (plan->what[number]) {
    case ARGUMENT_TEXT:
        if (room < TEXT_ROOM || place > room - TEXT_ROOM) {
            return;
        }
        size = read_text(out->area + place, TEXT + 2, value);
        break;
    case ARGUMENT_HASH:
        if (place > room - HASH) {
            return;
        }
        size = read_bytes(out->area + place, HASH, value);
        size = size ? size : HASH;
        break;
    case ARGUMENT_BYTES:
        if (room < TEXT_ROOM || place > room - TEXT_ROOM) {
            return;
        }
        asm volatile("" : "+r"(length));
        if (length > TEXT) {
            length = TEXT;
        }
        size = read_bytes(out->area + place, length, value);
        size = size ? size : (long)length;
        break;
    default:
        return;
    }
    out->values[number] = size < 0 ? 0 : size;
    if (size < 0) {
        note_unreadable(&out->head, out->head.slot, number);
    }
}

#define COPY_ALL(room)                                                              \
    do {                                                                            \
        __u64 length = argument(ctx, site, &out->head, plan->length);                     \
        for (__u32 i = 0; i < MOST_ARGUMENTS; i++) {                                \
            if (i < plan->count) {                                                  \
                copy(out, plan, i, argument(ctx, site, &out->head, i), length, room);     \
            }                                                                       \
        }                                                                           \
        bpf_ringbuf_submit(out, BPF_RB_NO_WAKEUP);                                  \
    } while (0)

static __always_inline void
begin(struct event *out, __u32 process, __u32 slot)
{
    out->head.time = bpf_ktime_get_ns();
    out->head.process = process;
    out->head.slot = slot;
    out->head.unreadable = 0;
}

SEC("uprobe")
int
on_event(struct pt_regs *ctx)
{
    __u32 process = watched();
    if (!process) {
        return 0;
    }
    struct site *site = site_of(ctx);
    if (!site) {
        return 0;
    }
    __u32 slot = site->slot;
    struct plan *plan = bpf_map_lookup_elem(&plans, &slot);
    if (!plan) {
        return 0;
    }
    struct event *out;
    if (plan->large) {
        out = bpf_ringbuf_reserve(&ring_text, sizeof(*out) + TEXT_AREA, 0);
        if (out) {
            begin(out, process, slot);
            COPY_ALL(TEXT_AREA);
            return 0;
        }
        COUNT(shared.lost[RING_TEXT]);
    } else {
        out = bpf_ringbuf_reserve(&ring_event, sizeof(*out) + EVENT_AREA, 0);
        if (out) {
            begin(out, process, slot);
            COPY_ALL(EVENT_AREA);
            return 0;
        }
        COUNT(shared.lost[RING_EVENT]);
    }
    COUNT(shared.lost_by[slot % MOST_SLOTS]);
    return 0;
}

/* How the watched process ended: only its parent could ask the system. */
SEC("tp_btf/sched_process_exit")
int
on_exit(__u64 *arguments)
{
    struct task_struct *task = (struct task_struct *)arguments[0];
    __u32 process = shared.process;
    if (!process) {
        return 0;
    }
    if (current_process() == process && task->signal->live.counter == 0) {
        shared.exit_code = task->exit_code;
        shared.exited_at = bpf_ktime_get_boot_ns();
        shared.exited = process;
    }
    return 0;
}
