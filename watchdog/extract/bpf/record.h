/* The records that the BPF program writes and the reader reads. SPDX-License-Identifier: MIT OR GPL-2.0-only

   Both are built together, so the layout has no version of its own; the object carries INTERFACE, and reader.c too.
   Numbers are in the machine's order. Times are CLOCK_MONOTONIC in nanoseconds, taken when the tracepoint was hit.
*/
#ifndef WATCHDOG_RECORD_H
#define WATCHDOG_RECORD_H

#define INTERFACE 1

#define MOST_ARGUMENTS 12 /* of a tracepoint, as in libbpf's usdt.bpf.h */
#define MOST_SLOTS 64     /* tracepoints that one extractor serves: those of Core, and user-defined ones */
#define UNREADABLE_STRIDE 16 /* a power of two, so that the verifier sees the bound */
#define MOST_TYPES 64     /* message types with a payload size of their own */
#define TEXT 256          /* bytes kept of a string; a longer one is marked as cut */
#define TEXT_ROOM 264     /* TEXT, a byte that shows a cut, NUL, and padding */
#define TYPE_ROOM 24      /* a message type has 12 bytes on the wire */
#define TYPE_KEY 16       /* of them in the map of payload sizes */
#define CONNECTION_ROOM 40 /* the longest connection type of Core has 19 characters */
#define HASH 32

/* Where an argument of a tracepoint is: a constant, a register, or memory at register + index << scale + offset. Registers
   are places in the kernel's struct pt_regs. shift: bits of 64 that are not part of the argument. */
enum { PLACE_CONSTANT, PLACE_REGISTER, PLACE_MEMORY };

struct place {
    long long offset;
    unsigned short base, index;
    unsigned char what, shift, scale; /* scale: 0 for no index, else the shift of it plus one */
    unsigned char is_signed;
};

/* One place in the code where a tracepoint is; the attach cookie is its number. */
struct site {
    struct place arguments[MOST_ARGUMENTS];
    unsigned int slot;
    unsigned int count;
};

#define MOST_SITES 1024

/* What an argument is; the second byte of a plan's entry is its place in the area, in units of 8 bytes. */
enum { ARGUMENT_NONE, ARGUMENT_NUMBER, ARGUMENT_TEXT, ARGUMENT_HASH, ARGUMENT_BYTES };

/* The rings. A message without payload is in RING_MESSAGE, one with a payload in the first ring that it fits into. */
enum {
    RING_MESSAGE,
    RING_EVENT, /* events without texts: coins, blocks */
    RING_TEXT,  /* events with texts: connections, mempool */
    RING_256,
    RING_4K,
    RING_32K,
    RING_128K,
    RING_1M,
    RING_4M,
    RINGS
};

/* How a tracepoint's arguments are copied. length: the argument that gives the size of an ARGUMENT_BYTES. */
struct plan {
    unsigned char count;
    unsigned char length;
    unsigned char large; /* has texts: goes to RING_TEXT */
    unsigned char unused;
    unsigned char what[MOST_ARGUMENTS];
    unsigned char place[MOST_ARGUMENTS];
};

struct head {
    unsigned long long time;
    unsigned int process; /* thread group id, as the extractor's PID namespace numbers it */
    unsigned short slot;
    unsigned short unreadable; /* bit i: argument i could not be read */
};

struct message {
    struct head head;
    long long peer;
    unsigned long long size;
    int payload_size; /* bytes behind this struct; -1: not readable, 0: not asked for */
    unsigned short address_size, connection_size; /* with NUL; 0: not readable */
    unsigned short type_size;
    unsigned short unused[3];
    char type[TYPE_ROOM];
    char connection[CONNECTION_ROOM];
    char address[TEXT_ROOM];
};

#define EVENT_AREA 64                              /* two hashes */
#define TEXT_AREA (4 * TEXT_ROOM + 2 * HASH)       /* four texts and two hashes */

/* values: a number, or for texts and bytes the size read, with NUL. area: texts and hashes at their places. */
struct event {
    struct head head;
    unsigned long long values[MOST_ARGUMENTS];
    unsigned char area[];
};

/* Set before loading: the .rodata of the object. may_sleep: the programs are sleepable, and pages are read in.
   namespace_*: the PID namespace of the extractor, 0 for the first one. */
struct settings {
    unsigned long long namespace_device, namespace_inode;
    unsigned int may_sleep;
    unsigned int interface;
};

/* Counters and settings that both sides see: the .bss of the object, mapped by the reader.
   process: the one whose hits count, 0 for none yet. claim: the first process to hit becomes it. */
struct shared {
    unsigned long long lost[RINGS];           /* records for which a ring had no room */
    unsigned long long lost_by[MOST_SLOTS];   /* events that are nowhere, by tracepoint */
    unsigned long long unreadable[MOST_SLOTS * UNREADABLE_STRIDE]; /* by tracepoint and argument */
    unsigned long long foreign;               /* hits of other processes */
    unsigned int process;
    unsigned int claim;
    unsigned int exited; /* the process that ended last, and how */
    int exit_code;       /* as in wait(2): signal in the low 7 bits, status in the second byte */
    unsigned long long exited_at; /* CLOCK_BOOTTIME, ns */
    unsigned int most_payload; /* bytes of a payload of a type without an entry of its own */
    unsigned int unused;
};

#endif
