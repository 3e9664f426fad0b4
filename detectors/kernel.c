/* The inner loops of keyed state, as C: hash look-ups, sorting and folding, running values, runs of distinct values.

   Each function does exactly what the NumPy code beside its call does (the reference; tests hold both equal).
   Rules of this file: the limited API only, no global state, nothing is kept between calls, no Python object is made
   for a row. Every array is a buffer whose item type, length and writability are checked, and every index that comes
   out of an array is checked before the first write that depends on it: a wrong one raises ValueError.
*/
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INTERFACE 3 /* detectors/kernel.py takes no other */
#define MOST_ARRAYS 20
#define DIGIT 11 /* bits of one pass of the radix sort */
#define MOST_ROWS ((Py_ssize_t)1 << 31)
#define MOST_SPAN ((int64_t)1 << 31) /* panes closed at once */

enum { EMPTY = -1, REMOVED = -2 }; /* as in detectors/slots.py */

/* Buffers of one call, all given back at its end. */
typedef struct {
    Py_buffer views[MOST_ARRAYS];
    int count;
} Arrays;

static void
give_back(Arrays *arrays)
{
    while (arrays->count > 0) {
        PyBuffer_Release(&arrays->views[--arrays->count]);
    }
}

/* The items of a C-contiguous array; `types` are the format characters that are right, 'size' their width in bytes.
   Returns NULL with an exception for anything else. An array without items gives a pointer that must not be read. */
static void *
items(Arrays *arrays, PyObject *object, const char *types, Py_ssize_t size, int writable, Py_ssize_t *length)
{
    if (arrays->count == MOST_ARRAYS) {
        PyErr_SetString(PyExc_ValueError, "too many arrays");
        return NULL;
    }
    Py_buffer *view = &arrays->views[arrays->count];
    int flags = PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, view, flags) < 0) {
        return NULL;
    }
    arrays->count++;
    const char *format = view->format ? view->format : "B";
    if (view->itemsize != size || format[0] == '\0' || format[1] != '\0' || !strchr(types, format[0])) {
        PyErr_Format(PyExc_ValueError, "an array of type %s where one of %s is expected", format, types);
        return NULL;
    }
    *length = view->len / size;
    if (*length >= MOST_ROWS) {
        PyErr_SetString(PyExc_ValueError, "an array is too long");
        return NULL;
    }
    return view->buf ? view->buf : (void *)arrays;
}

#define INT64(object, writable, length) items(arrays, object, "lq", 8, writable, length)
#define WORDS(object, writable, length) items(arrays, object, "LQ", 8, writable, length)
#define INT32(object, writable, length) items(arrays, object, "i", 4, writable, length)
#define BYTES(object, writable, length) items(arrays, object, "B", 1, writable, length)
#define INT16(object, writable, length) items(arrays, object, "h", 2, writable, length)
#define FLAGS(object, writable, length) items(arrays, object, "?", 1, writable, length)
#define REALS(object, writable, length) items(arrays, object, "d", 8, writable, length)

static PyObject *
wrong(const char *what)
{
    PyErr_SetString(PyExc_ValueError, what);
    return NULL;
}

/* 1, or 0 with ValueError set: a condition of argument checks. */
static int
equal(Py_ssize_t rows, Py_ssize_t others)
{
    return rows == others || wrong("lengths differ") != NULL;
}

static int
expect(Py_ssize_t given, Py_ssize_t wanted)
{
    if (given != wanted) {
        PyErr_Format(PyExc_ValueError, "%zd arguments instead of %zd", given, wanted);
        return 0;
    }
    return 1;
}

/* Sums and differences wrap as NumPy's do. */
static int64_t
plus(int64_t left, int64_t right)
{
    return (int64_t)((uint64_t)left + (uint64_t)right);
}

static int64_t
minus(int64_t left, int64_t right)
{
    return (int64_t)((uint64_t)left - (uint64_t)right);
}

/* SplitMix64's finaliser, as detectors/mixing.py has it. */
static uint64_t
mix(uint64_t word)
{
    word += UINT64_C(0x9E3779B97F4A7C15);
    word ^= word >> 30;
    word *= UINT64_C(0xBF58476D1CE4E5B9);
    word ^= word >> 27;
    word *= UINT64_C(0x94D049BB133111EB);
    return word ^ (word >> 31);
}

/* ---- mixing ---- */

PyDoc_STRVAR(combine_doc, "combine(left, right, out): one word for each ordered pair of words.");

static PyObject *
combine(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    Arrays held = {.count = 0}, *arrays = &held;
    Py_ssize_t rows, same, outs;
    uint64_t *left, *right, *out;
    if (!expect(given, 3) || !(left = WORDS(args[0], 0, &rows)) || !(right = WORDS(args[1], 0, &same)) ||
        !(out = WORDS(args[2], 1, &outs)) || !equal(rows, same) || !equal(rows, outs)) {
        give_back(arrays);
        return NULL;
    }
    for (Py_ssize_t row = 0; row < rows; row++) {
        out[row] = mix(mix(left[row]) * UINT64_C(0xD6E8FEB86659FD93) + right[row]);
    }
    give_back(arrays);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(spread_doc, "spread(words, out, zeros): each word mixed, and the number of low zero bits of that, 64 for 0.");

static PyObject *
spread(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    Arrays held = {.count = 0}, *arrays = &held;
    Py_ssize_t rows, same, outs;
    uint64_t *words, *out;
    uint8_t *zeros;
    if (!expect(given, 3) || !(words = WORDS(args[0], 0, &rows)) || !(out = WORDS(args[1], 1, &same)) ||
        !(zeros = BYTES(args[2], 1, &outs)) || !equal(rows, same) || !equal(rows, outs)) {
        give_back(arrays);
        return NULL;
    }
    for (Py_ssize_t row = 0; row < rows; row++) {
        uint64_t mixed = mix(words[row]), left = mixed;
        uint8_t low = 0;
        for (; low < 64 && !(left & 1); low++) {
            left >>= 1;
        }
        out[row] = mixed, zeros[row] = low;
    }
    give_back(arrays);
    Py_RETURN_NONE;
}

/* ---- slot tables ---- */

typedef struct {
    uint64_t *keys;
    int32_t *slots;
    uint64_t secret;
    uint64_t mask;
    int shift;
} Table;

static int
table_of(Table *table, Arrays *arrays, PyObject *keys, PyObject *slots, PyObject *secret, int writable)
{
    Py_ssize_t size, same;
    if (!(table->keys = WORDS(keys, writable, &size)) || !(table->slots = INT32(slots, writable, &same))) {
        return 0;
    }
    table->secret = PyLong_AsUnsignedLongLong(secret);
    if (PyErr_Occurred()) {
        return 0;
    }
    if (size != same || size < 2 || (size & (size - 1))) {
        wrong("a table has 2**n places");
        return 0;
    }
    table->mask = (uint64_t)size - 1;
    table->shift = 64;
    for (Py_ssize_t left = size; left > 1; left >>= 1) {
        table->shift--;
    }
    return 1;
}

/* Look-ups in large tables wait for memory, so a row's place is asked for this many rows ahead. */
#define AHEAD 12

static uint64_t
home_of(const Table *table, uint64_t key)
{
    return mix(key ^ table->secret) >> table->shift;
}

static void
look_ahead(const Table *table, uint64_t key)
{
#if defined(__GNUC__)
    uint64_t at = home_of(table, key);
    __builtin_prefetch(&table->slots[at]);
    __builtin_prefetch(&table->keys[at]);
#else
    (void)table, (void)key;
#endif
}

/* The place of a key, -1 when the table does not have it; then `gap` is the first place that a new key can take,
   -1 when the table is full. */
static int64_t
place_of(const Table *table, uint64_t key, int64_t *gap)
{
    uint64_t at = home_of(table, key);
    *gap = -1;
    for (uint64_t steps = 0; steps <= table->mask; steps++, at = (at + 1) & table->mask) {
        int32_t slot = table->slots[at];
        if (slot >= 0 && table->keys[at] == key) {
            return (int64_t)at;
        }
        if (slot < 0 && *gap < 0) {
            *gap = (int64_t)at;
        }
        if (slot == EMPTY) {
            break;
        }
    }
    return -1;
}

PyDoc_STRVAR(find_doc, "find(keys, table_keys, table_slots, secret, out) -> rows without a slot (out: -1).");

static PyObject *
find(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    Arrays held = {.count = 0}, *arrays = &held;
    Py_ssize_t rows, outs, missing = 0;
    Table table;
    uint64_t *keys;
    int32_t *out;
    if (!expect(given, 5) || !(keys = WORDS(args[0], 0, &rows)) || !(out = INT32(args[4], 1, &outs)) ||
        !table_of(&table, arrays, args[1], args[2], args[3], 0) || !equal(rows, outs)) {
        give_back(arrays);
        return NULL;
    }
    for (Py_ssize_t row = 0; row < rows; row++) {
        if (row + AHEAD < rows) {
            look_ahead(&table, keys[row + AHEAD]);
        }
        int64_t gap, at = place_of(&table, keys[row], &gap);
        int32_t slot = at < 0 ? EMPTY : table.slots[at];
        out[row] = slot;
        missing += slot < 0;
    }
    give_back(arrays);
    return PyLong_FromSsize_t(missing);
}

PyDoc_STRVAR(claim_doc,
             "claim(keys, table_keys, table_slots, secret, slot_keys, used, place, free, freed, capacity, room, done, made,\n"
             "      slots, makers) -> (done, made, freed, capacity, places that were REMOVED)\n"
             "The slot of each key from row `done` on, new ones made in order of rows, until all rows are done or a key would be\n"
             "one new key more than there is room for. Freed slots are used first, the latest first. makers: the first row of each new slot.");

static PyObject *
claim(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    Arrays held = {.count = 0}, *arrays = &held;
    Py_ssize_t rows, known, flags, places, height, outs, makers_room;
    Table table;
    uint64_t *keys, *slot_keys;
    char *used;
    int32_t *place, *stack, *out;
    int64_t *makers, counts[5]; /* freed, capacity, room, done, made */
    if (!expect(given, 15) || !(keys = WORDS(args[0], 0, &rows)) ||
        !table_of(&table, arrays, args[1], args[2], args[3], 1) || !(slot_keys = WORDS(args[4], 1, &known)) ||
        !(used = FLAGS(args[5], 1, &flags)) || !(place = INT32(args[6], 1, &places)) ||
        !(stack = INT32(args[7], 0, &height)) || !(out = INT32(args[13], 1, &outs)) ||
        !(makers = INT64(args[14], 1, &makers_room))) {
        give_back(arrays);
        return NULL;
    }
    for (int at = 0; at < 5 && !PyErr_Occurred(); at++) {
        counts[at] = PyLong_AsLongLong(args[8 + at]);
    }
    if (PyErr_Occurred()) {
        give_back(arrays);
        return NULL;
    }
    int64_t freed = counts[0], capacity = counts[1], room = counts[2], row = counts[3], made = counts[4], reused = 0;
    const char *error = NULL;
    if (outs != rows || makers_room != rows || flags != known || places != known || freed < 0 || freed > height ||
        capacity < 0 || capacity > known || row < 0 || row > rows || made < 0 || made > row) {
        error = "lengths differ";
    }
    for (; row < rows && !error; row++) {
        if (row + AHEAD < rows) {
            look_ahead(&table, keys[row + AHEAD]);
        }
        int64_t gap, at = place_of(&table, keys[row], &gap);
        if (at >= 0) {
            out[row] = table.slots[at];
            continue;
        }
        if (room <= 0) {
            break;
        }
        int64_t slot = freed ? stack[freed - 1] : capacity;
        if (gap < 0 || slot < 0 || slot >= known) {
            error = "no room for a new key";
            break;
        }
        freed ? freed-- : capacity++;
        room--;
        reused += table.slots[gap] == REMOVED;
        table.keys[gap] = keys[row], table.slots[gap] = (int32_t)slot;
        slot_keys[slot] = keys[row], used[slot] = 1, place[slot] = (int32_t)gap;
        out[row] = (int32_t)slot, makers[made++] = row;
    }
    give_back(arrays);
    return error ? wrong(error)
                 : Py_BuildValue("LLLLL", (long long)row, (long long)made, (long long)freed, (long long)capacity,
                                 (long long)reused);
}

PyDoc_STRVAR(settle_doc, "settle(keys, slots, table_keys, table_slots, secret, place): puts distinct keys with their slots into\n"
                         "a table that has none of them; place: by slot, where it stands.");

static PyObject *
settle(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    Arrays held = {.count = 0}, *arrays = &held;
    Py_ssize_t rows, same, known;
    Table table;
    uint64_t *keys;
    int32_t *slots, *place;
    if (!expect(given, 6) || !(keys = WORDS(args[0], 0, &rows)) || !(slots = INT32(args[1], 0, &same)) ||
        !table_of(&table, arrays, args[2], args[3], args[4], 1) || !(place = INT32(args[5], 1, &known)) ||
        !equal(rows, same)) {
        give_back(arrays);
        return NULL;
    }
    const char *error = NULL;
    for (Py_ssize_t row = 0; row < rows && !error; row++) {
        if (row + AHEAD < rows) {
            look_ahead(&table, keys[row + AHEAD]);
        }
        uint64_t at = home_of(&table, keys[row]), steps = 0;
        while (steps <= table.mask && table.slots[at] >= 0) {
            at = (at + 1) & table.mask, steps++;
        }
        if (steps > table.mask || slots[row] < 0 || slots[row] >= known) {
            error = steps > table.mask ? "no room for a key" : "a slot lies outside";
            break;
        }
        table.keys[at] = keys[row], table.slots[at] = slots[row], place[slots[row]] = (int32_t)at;
    }
    give_back(arrays);
    if (error) {
        return wrong(error);
    }
    Py_RETURN_NONE;
}

/* ---- sorting ---- */

typedef struct {
    uint64_t code;
    uint32_t row;
} Coded;

/* Sort by code, equal codes in the order of rows; `spare` is as long as `rows`. Returns where the result lies. */
static Coded *
sorted(Coded *rows, Coded *spare, Py_ssize_t count)
{
    uint64_t seen = 0;
    for (Py_ssize_t at = 0; at < count; at++) {
        seen |= rows[at].code;
    }
    for (int shift = 0; shift < 64 && seen >> shift; shift += DIGIT) {
        uint32_t starts[1 << DIGIT] = {0};
        for (Py_ssize_t at = 0; at < count; at++) {
            starts[(rows[at].code >> shift) & ((1 << DIGIT) - 1)]++;
        }
        uint32_t start = 0;
        for (int digit = 0; digit < 1 << DIGIT; digit++) {
            uint32_t size = starts[digit];
            starts[digit] = start;
            start += size;
        }
        for (Py_ssize_t at = 0; at < count; at++) {
            spare[starts[(rows[at].code >> shift) & ((1 << DIGIT) - 1)]++] = rows[at];
        }
        Coded *swap = rows;
        rows = spare, spare = swap;
    }
    return rows;
}

static Coded *
room_for(Py_ssize_t rows)
{
    Coded *room = PyMem_Malloc((rows ? 2 * (size_t)rows : 1) * sizeof(Coded));
    if (!room) {
        PyErr_NoMemory();
    }
    return room;
}

static int
span_of(PyObject *start_object, PyObject *span_object, int64_t *start, int64_t *span)
{
    *start = PyLong_AsLongLong(start_object);
    *span = PyErr_Occurred() ? 0 : PyLong_AsLongLong(span_object);
    if (PyErr_Occurred()) {
        return 0;
    }
    if (*span < 1 || *span > MOST_SPAN) {
        wrong("too many panes to close at once");
        return 0;
    }
    return 1;
}

/* Codes of (owner, pane) rows; 0 with an exception when an owner or a pane is outside. */
static int
coded(Coded *rows, const int64_t *owners, const int64_t *panes, Py_ssize_t count, int64_t owners_end, int64_t start,
      int64_t span)
{
    for (Py_ssize_t at = 0; at < count; at++) {
        int64_t pane = minus(panes[at], start);
        if (owners[at] < 0 || owners[at] >= owners_end || pane < 0 || pane >= span) {
            wrong("a row lies outside");
            return 0;
        }
        rows[at].code = (uint64_t)owners[at] * (uint64_t)span + (uint64_t)pane;
        rows[at].row = (uint32_t)at;
    }
    return 1;
}

PyDoc_STRVAR(part_doc, "part(codes, order, bounds): rows by code, in order of rows; those of code c are\n"
                       "order[bounds[c]:bounds[c + 1]]. Codes are below len(bounds) - 1.");

static PyObject *
part(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    Arrays held = {.count = 0}, *arrays = &held;
    Py_ssize_t rows, same, marks;
    int64_t *codes, *order, *bounds;
    if (!expect(given, 3) || !(codes = INT64(args[0], 0, &rows)) || !(order = INT64(args[1], 1, &same)) ||
        !(bounds = INT64(args[2], 1, &marks))) {
        give_back(arrays);
        return NULL;
    }
    const char *error = rows != same || marks < 1 ? "lengths differ" : NULL;
    for (Py_ssize_t row = 0; row < rows && !error; row++) {
        error = codes[row] < 0 || codes[row] >= marks - 1 ? "a code lies outside" : NULL;
    }
    if (error) {
        give_back(arrays);
        return wrong(error);
    }
    memset(bounds, 0, (size_t)marks * sizeof(int64_t));
    for (Py_ssize_t row = 0; row < rows; row++) { /* counts, one place on */
        bounds[codes[row] + 1]++;
    }
    for (Py_ssize_t code = 1; code < marks; code++) { /* ends; the start of a code is the end of the one before */
        bounds[code] += bounds[code - 1];
    }
    for (Py_ssize_t row = rows - 1; row >= 0; row--) { /* from the last row down, so that equal codes keep their order */
        order[--bounds[codes[row] + 1]] = row;
    }
    /* bounds[c + 1] is the start of code c now: one place back, and the end of all behind it */
    memmove(bounds, bounds + 1, (size_t)(marks - 1) * sizeof(int64_t));
    bounds[marks - 1] = rows;
    give_back(arrays);
    Py_RETURN_NONE;
}

/* ---- banks ---- */

PyDoc_STRVAR(fold_doc, "fold(cells, panes, added, end, start, span, out_cells, out_panes, out_added) -> rows\n"
                       "Sums of the columns (columns x rows) of equal (cell, pane), in their order; cells are below end.\n"
                       "Column j of the result begins at row j * (rows given) of out_added.");

static PyObject *
fold(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    Arrays held = {.count = 0}, *arrays = &held;
    Py_ssize_t rows, same, cells_in, panes_out, total, outs;
    int64_t *cells, *panes, *added, *out_cells, *out_panes, *out_added, start, span;
    Coded *room = NULL;
    PyObject *result = NULL;
    if (!expect(given, 9) || !(cells = INT64(args[0], 0, &rows)) || !(panes = INT64(args[1], 0, &same)) ||
        !(added = INT64(args[2], 0, &total)) || !span_of(args[4], args[5], &start, &span) ||
        !(out_cells = INT64(args[6], 1, &cells_in)) || !(out_panes = INT64(args[7], 1, &panes_out)) ||
        !(out_added = INT64(args[8], 1, &outs))) {
        goto done;
    }
    int64_t end = PyLong_AsLongLong(args[3]);
    if (PyErr_Occurred()) {
        goto done;
    }
    if (rows != same || cells_in != rows || panes_out != rows || outs != total || (rows && total % rows) ||
        end > (int64_t)MOST_ROWS) {
        wrong("lengths differ");
        goto done;
    }
    if (!(room = room_for(rows)) || !coded(room, cells, panes, rows, end, start, span)) {
        goto done;
    }
    Py_ssize_t columns = rows ? total / rows : 0, found = -1;
    Coded *order = sorted(room, room + rows, rows);
    for (Py_ssize_t at = 0; at < rows; at++) {
        uint32_t row = order[at].row;
        if (at == 0 || order[at].code != order[at - 1].code) {
            found++;
            out_cells[found] = cells[row], out_panes[found] = panes[row];
            for (Py_ssize_t column = 0; column < columns; column++) {
                out_added[column * rows + found] = added[column * rows + row];
            }
        }
        else {
            for (Py_ssize_t column = 0; column < columns; column++) {
                int64_t *sum = &out_added[column * rows + found];
                *sum = plus(*sum, added[column * rows + row]);
            }
        }
    }
    result = PyLong_FromSsize_t(found + 1);
done:
    PyMem_Free(room);
    give_back(arrays);
    return result;
}

/* What the rows of one closing do to the cells of a bank. */
typedef struct {
    Py_ssize_t columns, rows, size, members;
    const int64_t *deltas; /* (columns + 1) x rows, the last is what happens to `live` */
    const int16_t *member;
    int64_t *values; /* columns x size */
    int32_t *live;
    const int64_t *floor_column;
    const double *floor;
    const char *watched, *watched_cells;
    int64_t start, span;
} Closing;

/* Running sums of one cell's rows order[from..to), written over `sums` (rows of columns + 1); whether they matter. */
static int
run_of(const Closing *closing, const Coded *order, Py_ssize_t from, Py_ssize_t to, int64_t *sums, Py_ssize_t *steps)
{
    Py_ssize_t columns = closing->columns, width = columns + 1, step = -1;
    int64_t cell = (int64_t)(order[from].code / (uint64_t)closing->span);
    int16_t member = closing->member[cell];
    int matters = closing->watched[member] || closing->watched_cells[cell];
    double floor = closing->floor[member];
    int64_t judged = closing->floor_column[member];
    for (Py_ssize_t at = from; at < to; at++) {
        if (at == from || order[at].code != order[at - 1].code) {
            step++;
            int64_t *now = sums + step * width;
            for (Py_ssize_t column = 0; column < columns; column++) {
                now[column] = step ? now[column - width] : closing->values[column * closing->size + cell];
            }
            now[columns] = step ? now[columns - width] : closing->live[cell];
        }
        for (Py_ssize_t column = 0; column < width; column++) {
            int64_t *sum = &sums[step * width + column];
            *sum = plus(*sum, closing->deltas[column * closing->rows + order[at].row]);
        }
    }
    *steps = step + 1;
    for (Py_ssize_t at = 0; at <= step && !matters; at++) {
        matters = (double)sums[at * width + judged] >= floor;
    }
    const int64_t *last = sums + step * width;
    for (Py_ssize_t column = 0; column < columns; column++) {
        closing->values[column * closing->size + cell] = last[column];
    }
    closing->live[cell] = (int32_t)last[columns];
    return matters;
}

PyDoc_STRVAR(run_doc,
             "run(cells, panes, deltas, start, span, member, values, live, floor_column, floor, watched, watched_cells,\n"
             "    out_cells, out_panes, out_sums, out_first, emptied) -> (rows out, cells emptied)\n"
             "Adds rows of changes to the cells of a bank, in the order of (cell, pane); the value of a cell wherever it\n"
             "changed comes out, if the cell or its member is watched or a value reaches the floor of its member.\n"
             "deltas: (columns + 1) x rows, the last one for `live`; out_sums: rows x (columns + 1).");

static PyObject *
run(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    Arrays held = {.count = 0}, *arrays = &held;
    Closing closing;
    Py_ssize_t same, total, values_total, size, members, lengths[8];
    int64_t *cells, *panes, *out_cells, *out_panes, *out_sums, *emptied;
    char *out_first;
    Coded *room = NULL;
    PyObject *result = NULL;
    if (!expect(given, 17) || !(cells = INT64(args[0], 0, &closing.rows)) || !(panes = INT64(args[1], 0, &same)) ||
        !(closing.deltas = INT64(args[2], 0, &total)) || !span_of(args[3], args[4], &closing.start, &closing.span) ||
        !(closing.member = INT16(args[5], 0, &size)) || !(closing.values = INT64(args[6], 1, &values_total)) ||
        !(closing.live = INT32(args[7], 1, &lengths[0])) || !(closing.floor_column = INT64(args[8], 0, &members)) ||
        !(closing.floor = REALS(args[9], 0, &lengths[1])) || !(closing.watched = FLAGS(args[10], 0, &lengths[2])) ||
        !(closing.watched_cells = FLAGS(args[11], 0, &lengths[3])) || !(out_cells = INT64(args[12], 1, &lengths[4])) ||
        !(out_panes = INT64(args[13], 1, &lengths[5])) || !(out_sums = INT64(args[14], 1, &lengths[6])) ||
        !(out_first = FLAGS(args[15], 1, &lengths[7])) || !(emptied = INT64(args[16], 1, &closing.members))) {
        goto done;
    }
    Py_ssize_t rows = closing.rows, emptied_room = closing.members;
    closing.members = members, closing.size = size, closing.columns = size ? values_total / size : 0;
    Py_ssize_t width = closing.columns + 1;
    if (!size || values_total % size || same != rows || total != rows * width || lengths[0] != size ||
        lengths[1] != members || lengths[2] != members || lengths[3] != size || lengths[4] != rows ||
        lengths[5] != rows || lengths[6] != rows * width || lengths[7] != rows || emptied_room != rows) {
        wrong("lengths differ");
        goto done;
    }
    for (Py_ssize_t at = 0; at < members; at++) {
        if (closing.floor_column[at] < 0 || closing.floor_column[at] >= closing.columns) {
            wrong("a floor names no column");
            goto done;
        }
    }
    if (!(room = room_for(rows)) || !coded(room, cells, panes, rows, size, closing.start, closing.span)) {
        goto done;
    }
    for (Py_ssize_t at = 0; at < rows; at++) {
        if (closing.member[cells[at]] < 0 || closing.member[cells[at]] >= members) {
            wrong("a cell of no member");
            goto done;
        }
    }
    Coded *order = sorted(room, room + rows, rows);
    Py_ssize_t found = 0, empty = 0, from = 0;
    while (from < rows) {
        uint64_t cell = order[from].code / (uint64_t)closing.span, end = (cell + 1) * (uint64_t)closing.span;
        Py_ssize_t to = from + 1, steps;
        while (to < rows && order[to].code < end) {
            to++;
        }
        int matters = run_of(&closing, order, from, to, out_sums + found * width, &steps);
        if (closing.live[cell] == 0) {
            emptied[empty++] = (int64_t)cell;
        }
        for (Py_ssize_t at = from; matters && at < to; at++) {
            if (at == from || order[at].code != order[at - 1].code) {
                out_cells[found] = (int64_t)cell;
                out_panes[found] = (int64_t)(order[at].code - cell * (uint64_t)closing.span) + closing.start;
                out_first[found++] = at == from;
            }
        }
        from = to;
    }
    result = Py_BuildValue("nn", found, empty);
done:
    PyMem_Free(room);
    give_back(arrays);
    return result;
}

/* ---- distinct values ---- */

PyDoc_STRVAR(touch_doc, "touch(pairs, panes, start, span, last, began, width, out_pairs, out_panes, out_begins) -> rows\n"
                        "Pairs touched in panes, each (pair, pane) once and in order; whether the touch begins a run.");

static PyObject *
touch(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    Arrays held = {.count = 0}, *arrays = &held;
    Py_ssize_t rows, size, lengths[6];
    int64_t *pairs, *panes, *last, *began, *out_pairs, *out_panes, start, span;
    int32_t *width;
    char *begins;
    Coded *room = NULL;
    PyObject *result = NULL;
    if (!expect(given, 10) || !(pairs = INT64(args[0], 0, &rows)) || !(panes = INT64(args[1], 0, &lengths[0])) ||
        !span_of(args[2], args[3], &start, &span) || !(last = INT64(args[4], 1, &size)) ||
        !(began = INT64(args[5], 1, &lengths[1])) || !(width = INT32(args[6], 0, &lengths[2])) ||
        !(out_pairs = INT64(args[7], 1, &lengths[3])) || !(out_panes = INT64(args[8], 1, &lengths[4])) ||
        !(begins = FLAGS(args[9], 1, &lengths[5]))) {
        goto done;
    }
    if (lengths[0] != rows || lengths[1] != size || lengths[2] != size || lengths[3] != rows || lengths[4] != rows ||
        lengths[5] != rows) {
        wrong("lengths differ");
        goto done;
    }
    if (!(room = room_for(rows)) || !coded(room, pairs, panes, rows, size, start, span)) {
        goto done;
    }
    Coded *order = sorted(room, room + rows, rows);
    Py_ssize_t found = 0;
    for (Py_ssize_t at = 0; at < rows; at++) {
        if (at && order[at].code == order[at - 1].code) {
            continue;
        }
        int64_t pair = pairs[order[at].row], pane = panes[order[at].row];
        int begun = minus(pane, last[pair]) >= width[pair];
        last[pair] = pane;
        if (begun) {
            began[pair] = pane;
        }
        out_pairs[found] = pair, out_panes[found] = pane, begins[found++] = (char)begun;
    }
    result = PyLong_FromSsize_t(found);
done:
    PyMem_Free(room);
    give_back(arrays);
    return result;
}

PyDoc_STRVAR(leave_doc, "leave(pairs, panes, begun, start, span, width, last, began, ended, ended_panes, gone)\n"
                        "-> (runs that ended, pairs that are gone), in the order of (pair, pane).\n"
                        "Touches that leave the window of their pair at `panes`, each (pair, pane) once.");

static PyObject *
leave(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    Arrays held = {.count = 0}, *arrays = &held;
    Py_ssize_t rows, size, lengths[7];
    int64_t *pairs, *panes, *begun, *last, *began, *ended, *ended_panes, *gone, start, span;
    int32_t *width;
    Coded *room = NULL;
    PyObject *result = NULL;
    if (!expect(given, 11) || !(pairs = INT64(args[0], 0, &rows)) || !(panes = INT64(args[1], 0, &lengths[0])) ||
        !(begun = INT64(args[2], 0, &lengths[1])) || !span_of(args[3], args[4], &start, &span) ||
        !(width = INT32(args[5], 0, &lengths[6])) || !(last = INT64(args[6], 0, &size)) ||
        !(began = INT64(args[7], 0, &lengths[2])) || !(ended = INT64(args[8], 1, &lengths[3])) || !(ended_panes = INT64(args[9], 1, &lengths[4])) ||
        !(gone = INT64(args[10], 1, &lengths[5]))) {
        goto done;
    }
    if (lengths[0] != rows || lengths[1] != rows || lengths[2] != size || lengths[6] != size || lengths[3] != rows || lengths[4] != rows ||
        lengths[5] != rows) {
        wrong("lengths differ");
        goto done;
    }
    if (!(room = room_for(rows)) || !coded(room, pairs, panes, rows, size, start, span)) {
        goto done;
    }
    Coded *order = sorted(room, room + rows, rows);
    Py_ssize_t ends = 0, left = 0;
    for (Py_ssize_t at = 0; at < rows; at++) {
        int64_t pair = pairs[order[at].row], pane = panes[order[at].row], touched = minus(pane, width[pair]);
        int following = at + 1 < rows && pairs[order[at + 1].row] == pair;
        int later = following ? begun[order[at + 1].row] != 1 : last[pair] > touched && began[pair] <= touched;
        if (!later) {
            ended[ends] = pair, ended_panes[ends++] = pane;
        }
        if (!following && last[pair] == touched) {
            gone[left++] = pair;
        }
    }
    result = Py_BuildValue("nn", ends, left);
done:
    PyMem_Free(room);
    give_back(arrays);
    return result;
}

#define METHOD(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, name##_doc}

static PyMethodDef methods[] = {
    METHOD(combine), METHOD(spread), METHOD(find), METHOD(claim), METHOD(settle), METHOD(part), METHOD(fold), METHOD(run), METHOD(touch),
    METHOD(leave), {NULL},
};

static int
fill(PyObject *module)
{
    return PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)fill}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_kernel", .m_doc = "Inner loops of keyed state; see detectors/kernel.py.",
    .m_size = 0, .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__kernel(void)
{
    return PyModuleDef_Init(&definition);
}
