/* Drains the rings of bpf/watchdog.bpf.c into columns. SPDX-License-Identifier: MIT

   rings.py calls this by ctypes, which releases the interpreter for the time of a call; no Python object is made for a
   record. Rules of this file: no global state but the log of libbpf; each buffer has a fixed size, and a full one ends
   the call, so that its rows are taken first; every length and place that a record holds is checked before use.

   Records of all rings come out in the order of their times. A record that is being written holds back younger ones
   of other rings for HOLD_NS at most. A record older than the watermark that was given gets its time, and is counted.
*/
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bpf/record.h"

#define BUSY (1U << 31) /* bits of a record's length in a BPF ring buffer (include/uapi/linux/bpf.h) */
#define DISCARDED (1U << 30)
#define LENGTH_BYTES 8

#define MOST_ROWS 32768
#define MOST_STRINGS (1 << 17)
#define MOST_HASHES (2 * MOST_ROWS)
#define ARENA (8 << 20)
#define PAYLOADS (24 << 20)
#define LARGEST_PAYLOAD (4 << 20)
#define HOLD_NS 1000000000LL
#define LATENESS_NS 250000000LL /* a record is in its ring this long after its time, or gets the watermark's time */
#define STEP_NS 1000000000LL    /* the wall clock was set back by more than this: times start from there */
#define LOG 8192
#define LOG_LINE 600

struct ring {
    uint64_t *consumer;
    uint64_t *producer;
    uint8_t *data;
    size_t mapped;
    uint64_t size;
    uint64_t taken, filled;
    uint64_t last_time, busy_since;
    const struct head *next;
    uint32_t length;
};

/* What one call gives, as rings.py declares it. Codes are indexes of the dictionary, -1: not readable. */
struct columns {
    int64_t messages, events, strings, hashes;
    int64_t until; /* wall clock, ns: no older record will come */
    int64_t stepped; /* ns by which the wall clock was set back in this call, 0 mostly */
    int64_t clamped; /* records that got the watermark's time, in this call */
    int64_t *time, *peer, *size, *payload_end;
    int32_t *payload_size, *type, *address, *connection;
    uint32_t *process;
    uint16_t *slot, *unreadable;
    uint8_t *payload;
    int64_t *event_time, *values; /* values: rows x MOST_ARGUMENTS; a text's code, a hash's index in `hash` */
    uint32_t *event_process;
    uint16_t *event_slot, *event_unreadable;
    uint8_t *hash;
    int64_t *string_end;
    uint8_t *cut; /* of each string */
    uint8_t *string;
};

struct reader {
    struct ring rings[RINGS];
    struct plan plans[MOST_SLOTS];
    struct columns out;
    int32_t *table; /* hash table of the dictionary: code + 1 */
    uint64_t *words;
    uint64_t seed;
    int64_t offset; /* wall clock minus monotonic clock */
    int64_t floor;
    uint64_t received[RINGS];
    volatile int stop;
};

static char libbpf_log[LOG];
static size_t logged;

/* Given to libbpf_set_print: keeps the warnings, of a long one (the verifier's log) its end, which names the cause. */
int
reader_print(int level, const char *format, va_list arguments)
{
    char *line = NULL;
    if (level > 0 || logged + 1 >= LOG) { /* LIBBPF_WARN is 0 */
        return 0;
    }
    int size = vasprintf(&line, format, arguments);
    if (size < 0) {
        return 0;
    }
    const char *from = size > LOG_LINE ? line + size - LOG_LINE : line;
    int kept = snprintf(libbpf_log + logged, LOG - logged, "%s", from);
    logged += (size_t)kept < LOG - logged ? (size_t)kept : LOG - logged - 1;
    free(line);
    return size;
}

/* The lines since the last call, which empties them. `to` has `room` bytes. */
void
reader_log(char *to, size_t room)
{
    size_t size = logged < room ? logged : room - 1;
    memcpy(to, libbpf_log, size);
    to[size] = '\0';
    logged = 0;
    libbpf_log[0] = '\0';
}

static int64_t
now(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static int
map_ring(struct ring *ring, int fd, uint64_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (consumer == MAP_FAILED) {
        return -1;
    }
    ring->consumer = consumer;
    ring->mapped = page + 2 * size;
    uint8_t *producer = mmap(NULL, ring->mapped, PROT_READ, MAP_SHARED, fd, (off_t)page);
    if (producer == MAP_FAILED) {
        munmap(consumer, page);
        ring->consumer = NULL;
        return -1;
    }
    ring->producer = (uint64_t *)producer;
    ring->data = producer + page;
    ring->size = size;
    ring->taken = *ring->consumer;
    return 0;
}

void
reader_free(struct reader *reader)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < RINGS; i++) {
        if (reader->rings[i].consumer) {
            munmap(reader->rings[i].consumer, page);
            munmap(reader->rings[i].producer, reader->rings[i].mapped);
        }
    }
    struct columns *out = &reader->out;
    void *parts[] = {out->time, out->peer, out->size, out->payload_end, out->payload_size, out->type, out->address,
        out->connection, out->process, out->slot, out->unreadable, out->payload, out->event_time, out->values, out->event_process,
        out->event_slot, out->event_unreadable, out->hash, out->string_end, out->cut, out->string, reader->table,
        reader->words};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        free(parts[i]);
    }
    free(reader);
}

/* Pages of these buffers are only taken by the system once they are written to. */
static int
make_room(struct reader *reader)
{
    struct columns *out = &reader->out;
    int complete = 1;
#define ROOM(place, count) complete &= ((place) = malloc((size_t)(count) * sizeof(*(place)))) != NULL
    ROOM(out->time, MOST_ROWS);
    ROOM(out->peer, MOST_ROWS);
    ROOM(out->size, MOST_ROWS);
    ROOM(out->payload_end, MOST_ROWS);
    ROOM(out->payload_size, MOST_ROWS);
    ROOM(out->type, MOST_ROWS);
    ROOM(out->address, MOST_ROWS);
    ROOM(out->connection, MOST_ROWS);
    ROOM(out->process, MOST_ROWS);
    ROOM(out->slot, MOST_ROWS);
    ROOM(out->unreadable, MOST_ROWS);
    ROOM(out->payload, PAYLOADS);
    ROOM(out->event_time, MOST_ROWS);
    ROOM(out->values, MOST_ROWS * MOST_ARGUMENTS);
    ROOM(out->event_process, MOST_ROWS);
    ROOM(out->event_slot, MOST_ROWS);
    ROOM(out->event_unreadable, MOST_ROWS);
    ROOM(out->hash, MOST_HASHES * HASH);
    ROOM(out->string_end, MOST_STRINGS);
    ROOM(out->cut, MOST_STRINGS);
    ROOM(out->string, ARENA);
    ROOM(reader->words, MOST_STRINGS);
    return complete && (reader->table = calloc(2 * MOST_STRINGS, sizeof(*reader->table))) != NULL;
}

/* NULL without memory, or where a ring cannot be mapped. The rings stay the caller's. */
struct reader *
reader_new(const int *fds, const uint64_t *sizes, uint64_t seed)
{
    struct reader *reader = calloc(1, sizeof(*reader));
    if (!reader) {
        return NULL;
    }
    reader->seed = seed;
    reader->offset = now(CLOCK_REALTIME) - now(CLOCK_MONOTONIC);
    int complete = make_room(reader);
    for (int i = 0; complete && i < RINGS; i++) {
        complete = map_ring(&reader->rings[i], fds[i], sizes[i]) == 0;
    }
    if (!complete) {
        reader_free(reader);
        return NULL;
    }
    return reader;
}

struct columns *
reader_columns(struct reader *reader)
{
    return &reader->out;
}

const uint64_t *
reader_received(struct reader *reader)
{
    return reader->received;
}

/* The plan that the program copies by; -1 for a slot or a plan that cannot be. */
int
reader_plan(struct reader *reader, uint32_t slot, const struct plan *plan)
{
    if (slot >= MOST_SLOTS || plan->count > MOST_ARGUMENTS) {
        return -1;
    }
    reader->plans[slot] = *plan;
    return 0;
}

void
reader_stop(struct reader *reader)
{
    reader->stop = 1;
}

/* Peers choose strings, so the mix is seeded. Reads whole words: behind a text there are at least 7 bytes more of the
   ring, whose data is mapped twice. */
static uint64_t
mixed(uint64_t seed, const uint8_t *text, size_t size)
{
    uint64_t state = seed ^ (size * 0x9E3779B97F4A7C15ULL);
    while (size > 0) {
        uint64_t word;
        size_t part = size < 8 ? size : 8;
        memcpy(&word, text, 8);
        word &= UINT64_MAX >> (64 - 8 * part); /* the machines that this is built for are little-endian */
        __uint128_t product = (__uint128_t)(state ^ word) * (seed | 1);
        state = (uint64_t)product ^ (uint64_t)(product >> 64) ^ (state << 23 | state >> 41);
        text += part;
        size -= part;
    }
    return state ^ state >> 29;
}

static void
forget_strings(struct reader *reader)
{
    for (int64_t i = 0; i < reader->out.strings; i++) {
        uint64_t at = reader->words[i] & (2 * MOST_STRINGS - 1);
        while (reader->table[at]) { /* a whole run of entries: what follows in it is of this dictionary, too */
            reader->table[at] = 0;
            at = (at + 1) & (2 * MOST_STRINGS - 1);
        }
    }
    reader->out.strings = 0;
}

/* The code of a string; -1 for none. Room for the strings of one record was checked before. */
static int32_t
code_of(struct reader *reader, const uint8_t *text, size_t size, int cut)
{
    struct columns *out = &reader->out;
    uint64_t word = mixed(reader->seed + (uint64_t)cut, text, size);
    uint64_t at = word & (2 * MOST_STRINGS - 1);
    for (; reader->table[at]; at = (at + 1) & (2 * MOST_STRINGS - 1)) {
        int32_t code = reader->table[at] - 1;
        int64_t start = code ? out->string_end[code - 1] : 0;
        if (reader->words[code] == word && out->cut[code] == cut && (size_t)(out->string_end[code] - start) == size
            && memcmp(out->string + start, text, size) == 0) {
            return code;
        }
    }
    int32_t code = (int32_t)out->strings++;
    int64_t start = code ? out->string_end[code - 1] : 0;
    memcpy(out->string + start, text, size);
    out->string_end[code] = start + (int64_t)size;
    out->cut[code] = (uint8_t)cut;
    reader->words[code] = word;
    reader->table[at] = code + 1;
    return code;
}

/* size: with NUL, as the kernel gives it; room: what the program asked for, most: the bytes that are kept. */
static int32_t
text_code(struct reader *reader, const void *text, uint64_t size, uint64_t room, uint64_t most)
{
    if (size == 0 || size > room) {
        return -1;
    }
    int cut = size == room;
    uint64_t kept = size - 1 < most ? size - 1 : most;
    return code_of(reader, text, kept, cut);
}

static int64_t
wall_time(struct reader *reader, uint64_t monotonic)
{
    int64_t time = (int64_t)monotonic + reader->offset;
    if (time < reader->floor) {
        reader->out.clamped++;
        return reader->floor;
    }
    return time;
}

static void
take_message(struct reader *reader, const struct message *in, uint32_t length)
{
    struct columns *out = &reader->out;
    int64_t row = out->messages++;
    out->time[row] = wall_time(reader, in->head.time);
    out->process[row] = in->head.process;
    out->slot[row] = in->head.slot;
    out->unreadable[row] = in->head.unreadable;
    out->peer[row] = in->peer;
    out->size[row] = (int64_t)in->size;
    out->type[row] = text_code(reader, in->type, in->type_size, TYPE_ROOM, TYPE_ROOM);
    out->address[row] = text_code(reader, in->address, in->address_size, TEXT + 2, TEXT);
    out->connection[row] = text_code(reader, in->connection, in->connection_size, CONNECTION_ROOM, CONNECTION_ROOM);
    int64_t start = row ? out->payload_end[row - 1] : 0;
    int32_t size = in->payload_size;
    if (size > 0 && (uint32_t)size <= length - sizeof(*in) && size <= LARGEST_PAYLOAD) {
        memcpy(out->payload + start, in + 1, (size_t)size);
    } else {
        size = size == 0 ? 0 : -1;
    }
    out->payload_size[row] = size;
    out->payload_end[row] = start + (size > 0 ? size : 0);
}

static int64_t
value_of(struct reader *reader, const struct event *in, const struct plan *plan, uint32_t argument, uint64_t area)
{
    struct columns *out = &reader->out;
    uint64_t value = in->values[argument], place = plan->place[argument] * 8ULL;
    switch (plan->what[argument]) {
    case ARGUMENT_TEXT:
        return place + TEXT_ROOM <= area ? text_code(reader, in->area + place, value, TEXT + 2, TEXT) : -1;
    case ARGUMENT_BYTES:
        return place + value <= area && value <= TEXT ? code_of(reader, in->area + place, value, 0) : -1;
    case ARGUMENT_HASH:
        if (value != HASH || place + HASH > area) {
            return -1;
        }
        memcpy(out->hash + out->hashes * HASH, in->area + place, HASH);
        return out->hashes++;
    default:
        return (int64_t)value;
    }
}

static void
take_event(struct reader *reader, const struct event *in, uint32_t length)
{
    struct columns *out = &reader->out;
    const struct plan *plan = &reader->plans[in->head.slot];
    int64_t row = out->events++;
    out->event_time[row] = wall_time(reader, in->head.time);
    out->event_process[row] = in->head.process;
    out->event_slot[row] = in->head.slot;
    out->event_unreadable[row] = in->head.unreadable;
    for (uint32_t i = 0; i < MOST_ARGUMENTS; i++) {
        out->values[row * MOST_ARGUMENTS + i] =
            i < plan->count ? value_of(reader, in, plan, i, length - sizeof(*in)) : 0;
    }
}

/* Find the next record of a ring. 1: there is one, 0: none, 2: it is being written, -1: no record of the program. */
static int
look(struct ring *ring)
{
    ring->next = NULL;
    while (ring->taken < ring->filled) {
        uint8_t *at = ring->data + (ring->taken & (ring->size - 1));
        uint32_t length = __atomic_load_n((uint32_t *)at, __ATOMIC_ACQUIRE);
        if (length & BUSY) {
            return 2;
        }
        uint32_t size = length & ~DISCARDED;
        if (size > ring->size - LENGTH_BYTES) {
            return -1;
        }
        ring->length = size;
        if (!(length & DISCARDED)) {
            ring->next = (const struct head *)(at + LENGTH_BYTES);
            return 1;
        }
        ring->taken += (size + LENGTH_BYTES + 7) & ~7ULL;
        __atomic_store_n(ring->consumer, ring->taken, __ATOMIC_RELEASE);
    }
    return 0;
}

static int
has_room(const struct reader *reader)
{
    const struct columns *out = &reader->out;
    int64_t payload = out->messages ? out->payload_end[out->messages - 1] : 0;
    int64_t strings = out->strings ? out->string_end[out->strings - 1] : 0;
    return out->messages < MOST_ROWS && out->events < MOST_ROWS && payload <= PAYLOADS - LARGEST_PAYLOAD
        && out->strings <= MOST_STRINGS - MOST_ARGUMENTS && strings <= ARENA - MOST_ARGUMENTS * TEXT
        && out->hashes <= MOST_HASHES - MOST_ARGUMENTS;
}

static int
take(struct reader *reader, int number)
{
    struct ring *ring = &reader->rings[number];
    int is_event = number == RING_EVENT || number == RING_TEXT;
    uint32_t least = is_event ? sizeof(struct event) : sizeof(struct message);
    if (ring->length < least || ring->next->slot >= MOST_SLOTS) {
        return -1;
    }
    if (is_event) {
        take_event(reader, (const struct event *)ring->next, ring->length);
    } else {
        take_message(reader, (const struct message *)ring->next, ring->length);
    }
    reader->received[number]++;
    ring->last_time = ring->next->time;
    ring->taken += (ring->length + LENGTH_BYTES + 7) & ~7ULL;
    __atomic_store_n(ring->consumer, ring->taken, __ATOMIC_RELEASE);
    return 0;
}

/* Whether a ring's next record is being written; then nothing younger than its last one may pass, for a while. */
static void
note_busy(struct ring *ring, int found, uint64_t at, uint64_t *limit)
{
    if (found != 2) {
        ring->busy_since = 0;
        return;
    }
    if (!ring->busy_since) {
        ring->busy_since = at;
    }
    if (at - ring->busy_since < (uint64_t)HOLD_NS && ring->last_time < *limit) {
        *limit = ring->last_time;
    }
}

/* The ring with the oldest next record, -1 for none, and the time of the oldest one of all others. */
static int
oldest_of(const struct reader *reader, uint64_t *second)
{
    int oldest = -1;
    *second = UINT64_MAX;
    for (int i = 0; i < RINGS; i++) {
        const struct head *next = reader->rings[i].next;
        if (!next) {
            continue;
        }
        if (oldest < 0 || next->time < reader->rings[oldest].next->time) {
            *second = oldest < 0 ? UINT64_MAX : reader->rings[oldest].next->time;
            oldest = i;
        } else if (next->time < *second) {
            *second = next->time;
        }
    }
    return oldest;
}

/* Take the records that are there now, the oldest first. Returns up to which time all were taken; 0: damaged ring. */
static uint64_t
take_round(struct reader *reader)
{
    uint64_t at = (uint64_t)now(CLOCK_MONOTONIC), limit = at;
    for (int i = 0; i < RINGS; i++) {
        struct ring *ring = &reader->rings[i];
        ring->filled = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
        int found = look(ring);
        if (found < 0) {
            return 0;
        }
        note_busy(ring, found, at, &limit);
    }
    while (has_room(reader)) {
        uint64_t second;
        int oldest = oldest_of(reader, &second);
        struct ring *ring = &reader->rings[oldest < 0 ? 0 : oldest];
        if (oldest < 0 || ring->next->time > limit) {
            return limit;
        }
        do { /* as long as this ring has the oldest one */
            if (take(reader, oldest) < 0) {
                return 0;
            }
            int found = look(ring);
            if (found < 0) {
                return 0;
            }
            note_busy(ring, found, at, &limit);
        } while (ring->next && ring->next->time <= second && ring->next->time <= limit && has_room(reader));
    }
    uint64_t last = limit;
    for (int i = 0; i < RINGS; i++) {
        const struct head *next = reader->rings[i].next;
        last = next && next->time < last ? next->time : last;
    }
    return last;
}

static void
read_clock(struct reader *reader)
{
    int64_t offset = now(CLOCK_REALTIME) - now(CLOCK_MONOTONIC);
    if (reader->offset - offset > STEP_NS) {
        reader->out.stepped += reader->offset - offset;
        reader->floor = 0;
    }
    reader->offset = offset;
}

/* Drain until `budget_ns` have passed, `rows` records are there, or a buffer is full; look each `pause_ns`. The rows of
   the call before are gone. Returns the records, -1 for a ring whose content makes no sense. */
int64_t
reader_drain(struct reader *reader, int64_t budget_ns, int64_t pause_ns, int64_t rows)
{
    struct columns *out = &reader->out;
    forget_strings(reader);
    out->messages = out->events = out->hashes = out->stepped = out->clamped = 0;
    int64_t end = now(CLOCK_MONOTONIC) + budget_ns;
    uint64_t until;
    for (;;) {
        read_clock(reader);
        until = take_round(reader);
        if (!until) {
            return -1;
        }
        if (reader->stop || !has_room(reader) || out->messages + out->events >= rows) {
            break;
        }
        int64_t left = end - now(CLOCK_MONOTONIC);
        if (left <= 0) {
            break;
        }
        int64_t pause = left < pause_ns ? left : pause_ns;
        struct timespec rest = {pause / 1000000000, pause % 1000000000};
        nanosleep(&rest, NULL);
    }
    out->until = (int64_t)until + reader->offset - LATENESS_NS;
    if (out->until < reader->floor) {
        out->until = reader->floor;
    }
    reader->floor = out->until;
    return out->messages + out->events;
}
