/* Plays the traced parts of Bitcoin Core: the same probes, argument types and semaphores, fired on request.
 *
 * One command on each line of standard input, one line of answer. Built with FIBRE defined, it has two probes of FIBRE's
 * as well, with the arguments of fibrerace.cpp. What each command takes: tests/support/traced_node.py.
 */
#define _GNU_SOURCE
#define _SDT_HAS_SEMAPHORES 1
#define SDT_USE_VARIADIC 1
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sdt.h>
#include <time.h>
#include <unistd.h>

#define MOST_BYTES (4u << 20) /* MAX_PROTOCOL_MESSAGE_LENGTH is 4,000,000 */
#define MOST_WORDS 16
#define LINE_BYTES (1 << 16)

/* As util/trace.h of Core does it. */
#define SEMAPHORE(context, event) unsigned short context##_##event##_semaphore __attribute__((section(".probes")))
#define ACTIVE(context, event) (*(volatile unsigned short *)&context##_##event##_semaphore > 0)
#define TRACE(context, event, ...)                       \
    do {                                                 \
        if (ACTIVE(context, event)) {                    \
            STAP_PROBEV(context, event, __VA_ARGS__);    \
            fired++;                                     \
        }                                                \
    } while (0)

#define CORE(X)                                                                                                    \
    X(net, inbound_message) X(net, outbound_message) X(net, inbound_connection) X(net, outbound_connection)        \
    X(net, evicted_inbound_connection) X(net, closed_connection) X(net, misbehaving_connection)                    \
    X(validation, block_connected) X(utxocache, flush) X(utxocache, add) X(utxocache, spent) X(utxocache, uncache) \
    X(coin_selection, selected_coins) X(coin_selection, normal_create_tx_internal)                                 \
    X(coin_selection, attempting_aps_create_tx) X(coin_selection, aps_create_tx_internal) X(mempool, added)        \
    X(mempool, removed) X(mempool, replaced) X(mempool, rejected) X(addrman, attempt_add) X(addrman, move_to_good)
#ifdef FIBRE
#define ALL(X) CORE(X) X(udp, block_race_winner) X(udp, block_race_time) X(udp, block_tail)
#else
#define ALL(X) CORE(X)
#endif

#define DEFINE(context, event) SEMAPHORE(context, event);
ALL(DEFINE)

/* The text by which a release names itself, as Core's binaries have it. */
#ifndef VERSION
#define VERSION "v30.0.0"
#endif
const char *volatile build_version = VERSION;

static unsigned long fired;
static char *words[MOST_WORDS];
static int count;
static char *held[MOST_WORDS]; /* pages of this command, unmapped after it */
static size_t held_bytes[MOST_WORDS];

static const char *word(int at)
{
    return at < count ? words[at] : "";
}

static int64_t number(int at)
{
    return strtoll(word(at), NULL, 10);
}

static uint64_t natural(int at)
{
    return strtoull(word(at), NULL, 10);
}

static bool flag(int at)
{
    return number(at) != 0;
}

/* Returns bytes on pages that no process has touched since: of a file whose pages were dropped from the page table, or,
 * when readable is false, on pages that nothing may read. */
static void *apart(int at, const void *bytes, size_t size, bool readable)
{
    size_t whole = (size + 8192) & ~(size_t)4095;
    int file = memfd_create("traced-node", 0);
    if (file < 0 || ftruncate(file, (off_t)whole) || pwrite(file, bytes, size, 0) != (ssize_t)size) {
        perror("memfd");
        exit(3);
    }
    held[at] = mmap(NULL, whole, readable ? PROT_READ : PROT_NONE, MAP_PRIVATE, file, 0);
    held_bytes[at] = whole;
    close(file);
    if (held[at] == MAP_FAILED || (readable && madvise(held[at], whole, MADV_DONTNEED))) {
        perror("mmap");
        exit(3);
    }
    return held[at];
}

static void drop_pages(void)
{
    for (int at = 0; at < MOST_WORDS; at++)
        if (held[at]) {
            munmap(held[at], held_bytes[at]);
            held[at] = NULL;
        }
}

/* A text: the word itself; `dropped:TEXT` on a page that is not in the page table; `none:` on one that cannot be read. */
static const char *text(int at)
{
    const char *given = word(at);
    if (!strncmp(given, "dropped:", 8))
        return apart(at, given + 8, strlen(given + 8) + 1, true);
    if (!strncmp(given, "none:", 5))
        return apart(at, given + 5, strlen(given + 5) + 1, false);
    return given;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0;
}

static size_t unhex(const char *given, unsigned char *into, size_t most)
{
    size_t size = 0;
    for (; size < most && given[2 * size] && given[2 * size + 1]; size++)
        into[size] = (unsigned char)(digit(given[2 * size]) << 4 | digit(given[2 * size + 1]));
    return size;
}

/* 32 bytes from hexadecimal digits, in the order in which they are in memory. */
static const unsigned char *hash(int at)
{
    static unsigned char found[MOST_WORDS][32];
    memset(found[at], 0, 32);
    unhex(word(at), found[at], 32);
    return found[at];
}

static unsigned char payload[MOST_BYTES];

/* Byte number n of a pattern is n * 31 + seed, so that a reader can prove every byte. */
static void pattern(size_t size, unsigned seed)
{
    for (size_t at = 0; at < size; at++)
        payload[at] = (unsigned char)(at * 31 + seed);
}

/* A payload: hexadecimal digits; `pattern:SIZE:SEED`; either after `dropped:` or `none:`. */
static const unsigned char *bytes(int at, uint64_t *size)
{
    const char *given = word(at);
    bool dropped = !strncmp(given, "dropped:", 8), none = !strncmp(given, "none:", 5);
    given += dropped ? 8 : none ? 5 : 0;
    if (!strncmp(given, "pattern:", 8)) {
        char *rest;
        *size = strtoull(given + 8, &rest, 10);
        *size = *size > MOST_BYTES ? MOST_BYTES : *size;
        pattern(*size, *rest == ':' ? (unsigned)strtoul(rest + 1, NULL, 10) : 0);
    } else {
        *size = unhex(given, payload, MOST_BYTES);
    }
    return dropped || none ? apart(at, payload, *size, dropped) : payload;
}

static void message(bool inbound)
{
    uint64_t size;
    const unsigned char *data = bytes(6, &size);
    if (inbound)
        TRACE(net, inbound_message, number(2), text(3), text(4), text(5), size, data);
    else
        TRACE(net, outbound_message, number(2), text(3), text(4), text(5), size, data);
}

static bool is(const char *name)
{
    return !strcmp(word(1), name);
}

static bool probe_net(void)
{
    if (is("net:inbound_message") || is("net:outbound_message"))
        message(is("net:inbound_message"));
    else if (is("net:inbound_connection"))
        TRACE(net, inbound_connection, number(2), text(3), text(4), (uint32_t)natural(5), natural(6));
    else if (is("net:outbound_connection"))
        TRACE(net, outbound_connection, number(2), text(3), text(4), (uint32_t)natural(5), natural(6));
    else if (is("net:evicted_inbound_connection"))
        TRACE(net, evicted_inbound_connection, number(2), text(3), text(4), (uint32_t)natural(5), number(6));
    else if (is("net:closed_connection"))
        TRACE(net, closed_connection, number(2), text(3), text(4), (uint32_t)natural(5), number(6));
    else if (is("net:misbehaving_connection"))
        TRACE(net, misbehaving_connection, number(2), text(3));
    else
        return false;
    return true;
}

static bool probe_coins(void)
{
    if (is("validation:block_connected"))
        TRACE(validation, block_connected, hash(2), (int)number(3), natural(4), (int)number(5), natural(6), natural(7));
    else if (is("utxocache:flush"))
        TRACE(utxocache, flush, number(2), (uint32_t)natural(3), natural(4), natural(5), flag(6));
    else if (is("utxocache:add"))
        TRACE(utxocache, add, hash(2), (uint32_t)natural(3), (uint32_t)natural(4), number(5), flag(6));
    else if (is("utxocache:spent"))
        TRACE(utxocache, spent, hash(2), (uint32_t)natural(3), (uint32_t)natural(4), number(5), flag(6));
    else if (is("utxocache:uncache"))
        TRACE(utxocache, uncache, hash(2), (uint32_t)natural(3), (uint32_t)natural(4), number(5), flag(6));
    else
        return false;
    return true;
}

static bool probe_wallet(void)
{
    if (is("coin_selection:selected_coins"))
        TRACE(coin_selection, selected_coins, text(2), text(3), number(4), number(5), number(6));
    else if (is("coin_selection:normal_create_tx_internal"))
        TRACE(coin_selection, normal_create_tx_internal, text(2), flag(3), number(4), (int32_t)number(5));
    else if (is("coin_selection:attempting_aps_create_tx"))
        TRACE(coin_selection, attempting_aps_create_tx, text(2));
    else if (is("coin_selection:aps_create_tx_internal"))
        TRACE(coin_selection, aps_create_tx_internal, text(2), flag(3), flag(4), number(5), (int32_t)number(6));
    else
        return false;
    return true;
}

static bool probe_mempool(void)
{
    if (is("mempool:added"))
        TRACE(mempool, added, hash(2), (int32_t)number(3), number(4));
    else if (is("mempool:removed"))
        TRACE(mempool, removed, hash(2), text(3), (int32_t)number(4), number(5), natural(6));
    else if (is("mempool:replaced"))
        TRACE(mempool, replaced, hash(2), (int32_t)number(3), number(4), natural(5), hash(6), (int32_t)number(7),
              number(8), flag(9));
    else if (is("mempool:rejected"))
        TRACE(mempool, rejected, hash(2), text(3));
    else
        return false;
    return true;
}

static bool probe_others(void)
{
    if (is("addrman:attempt_add"))
        TRACE(addrman, attempt_add, flag(2), (int)number(3), (int)number(4), text(5), (uint32_t)natural(6), text(7),
              (uint32_t)natural(8));
    else if (is("addrman:move_to_good"))
        TRACE(addrman, move_to_good, (int)number(2), (int)number(3), text(4), (uint32_t)natural(5), text(6),
              (uint32_t)natural(7));
#ifdef FIBRE
    else if (is("udp:block_race_winner"))
        TRACE(udp, block_race_winner, hash(2), (int)number(3), text(4), text(5));
    else if (is("udp:block_race_time"))
        TRACE(udp, block_race_time, hash(2), (int)number(3), number(4), text(5), number(6), text(7));
    else if (is("udp:block_tail")) { /* not of FIBRE: the narrow types, and bytes with their number */
        uint64_t size;
        const unsigned char *data = bytes(5, &size);
        TRACE(udp, block_tail, (int8_t)number(2), (uint16_t)natural(3), (uint8_t)natural(4), (uint32_t)size, data);
    }
#endif
    else
        return false;
    return true;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

/* flood in|out COUNT SIZE RATE TYPE PEERS: the first eight bytes of each payload are its number, little-endian. */
static void flood(void)
{
    bool inbound = is("in");
    uint64_t many = natural(2), size = natural(3), rate = natural(4), peers = natural(6) ? natural(6) : 1;
    const char *type = *word(5) ? word(5) : "ping";
    char address[64];
    unsigned long before = fired;
    size = size > MOST_BYTES ? MOST_BYTES : size;
    pattern(size, 0);
    int64_t start = now_ns();
    for (uint64_t at = 0; at < many; at++) {
        if (rate) {
            int64_t due = start + (int64_t)(at * 1000000000 / rate), wait = due - now_ns();
            if (wait > 0)
                nanosleep(&(struct timespec){wait / 1000000000, wait % 1000000000}, NULL);
        }
        if (size >= 8)
            memcpy(payload, &at, 8);
        int64_t peer = (int64_t)(at % peers);
        if (!at || peers > 1)
            snprintf(address, sizeof address, "203.0.113.%d:8333", (int)(peer % 250) + 1);
        if (inbound)
            TRACE(net, inbound_message, peer, address, "inbound", type, size, payload);
        else
            TRACE(net, outbound_message, peer, address, "inbound", type, size, payload);
    }
    printf("sent=%lu fired=%lu ns=%lld\n", (unsigned long)many, fired - before, (long long)(now_ns() - start));
}

static void semaphores(void)
{
#define PRINT(context, event) printf(#context ":" #event "=%u ", (unsigned)context##_##event##_semaphore);
    ALL(PRINT)
    printf("\n");
}

static bool obey(void)
{
    if (!strcmp(word(0), "probe")) {
        unsigned long before = fired;
        if (!probe_net() && !probe_coins() && !probe_wallet() && !probe_mempool() && !probe_others())
            return false;
        drop_pages();
        printf("fired=%lu\n", fired - before);
    } else if (!strcmp(word(0), "flood")) {
        flood();
    } else if (!strcmp(word(0), "semaphores")) {
        semaphores();
    } else if (!strcmp(word(0), "exit")) {
        exit((int)number(1));
    } else if (!strcmp(word(0), "crash")) {
        abort();
    } else {
        return false;
    }
    return true;
}

int main(void)
{
    static char line[LINE_BYTES];
    printf("ready %d %s\n", (int)getpid(), build_version);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        count = 0;
        /* strsep keeps empty words: a text may be empty */
        line[strcspn(line, "\n")] = 0;
        for (char *rest = line, *one; count < MOST_WORDS && (one = strsep(&rest, "\t"));)
            words[count++] = one;
        if (!obey())
            printf("unknown\n");
        fflush(stdout);
    }
    return 0;
}
