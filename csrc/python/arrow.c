/* Columns as Arrow: the structs of the C data interface around buffers that Python objects own. No copy, no
 * pyarrow. */
#include "python/binding.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the ABI (Apache Arrow, "The Arrow C data interface" and "The Arrow C stream interface") */

#define ARROW_FLAG_NULLABLE 2

struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

/* The capsules' names are part of the ABI ("The Arrow PyCapsule interface"). */
static const char schema_name[] = "arrow_schema", array_name[] = "arrow_array",
                  stream_name[] = "arrow_array_stream";

/* ---- nodes: what Python says of one array, and of those inside it. Borrowed from the tuple. */

#define MOST_BUFFERS 3

typedef struct node {
    const char *name, *format;
    Py_ssize_t length, null_count;
    int nullable;
    PyObject *buffers, *children, *dictionary; /* tuple of buffers or None; tuple of nodes; node or None */
} node;

static int read_node(PyObject *tuple, node *out)
{
    *out = (node){0};
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "a node is a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(tuple, "sspnnO!O!O:node", &out->name, &out->format, &out->nullable, &out->length,
                          &out->null_count, &PyTuple_Type, &out->buffers, &PyTuple_Type, &out->children,
                          &out->dictionary))
        return -1;
    if (out->length < 0 || PyTuple_Size(out->buffers) > MOST_BUFFERS) {
        PyErr_SetString(PyExc_ValueError, "an array has a length and at most three buffers");
        return -1;
    }
    return 0;
}

/* ---- schemas. Their memory is from malloc: whoever releases them need not hold the GIL. */

static void release_schema(struct ArrowSchema *schema)
{
    for (int64_t i = 0; i < schema->n_children; i++) {
        if (schema->children[i] && schema->children[i]->release)
            schema->children[i]->release(schema->children[i]);
        free(schema->children[i]);
    }
    free(schema->children);
    if (schema->dictionary && schema->dictionary->release)
        schema->dictionary->release(schema->dictionary);
    free(schema->dictionary);
    free(schema->private_data); /* the strings */
    schema->release = NULL;
}

static int fill_schema(PyObject *tuple, struct ArrowSchema *out);

static struct ArrowSchema *new_schema(PyObject *tuple)
{
    struct ArrowSchema *schema = calloc(1, sizeof *schema);

    if (!schema) {
        PyErr_NoMemory();
        return NULL;
    }
    if (fill_schema(tuple, schema) < 0) {
        free(schema);
        return NULL;
    }
    return schema;
}

static int fill_schema(PyObject *tuple, struct ArrowSchema *out)
{
    node from = {0};
    size_t name_size = 0, format_size = 0;
    char *strings = NULL;

    if (read_node(tuple, &from) < 0)
        return -1;
    name_size = strlen(from.name) + 1;
    format_size = strlen(from.format) + 1;
    strings = malloc(name_size + format_size);
    *out = (struct ArrowSchema){
        .flags = from.nullable ? ARROW_FLAG_NULLABLE : 0,
        .release = release_schema,
        .private_data = strings,
        .children = calloc((size_t)PyTuple_Size(from.children) + 1, sizeof(void *)),
    };
    if (!strings || !out->children) {
        PyErr_NoMemory();
        goto fail;
    }
    memcpy(strings, from.name, name_size);
    memcpy(strings + name_size, from.format, format_size);
    out->name = strings;
    out->format = strings + name_size;
    for (Py_ssize_t i = 0; i < PyTuple_Size(from.children); i++) {
        out->children[i] = new_schema(PyTuple_GetItem(from.children, i));
        if (!out->children[i])
            goto fail;
        out->n_children++;
    }
    if (!Py_IsNone(from.dictionary)) {
        out->dictionary = new_schema(from.dictionary);
        if (!out->dictionary)
            goto fail;
    }
    return 0;
fail:
    release_schema(out);
    return -1;
}

/* ---- arrays. They keep their buffers' owners alive by views. */

typedef struct array_memory {
    Py_buffer views[MOST_BUFFERS];
    const void *buffers[MOST_BUFFERS];
} array_memory;

/* By any thread, at any time: also after the interpreter has ended, when there is nobody to give a view back
 * to. */
static void release_views(array_memory *memory)
{
    PyGILState_STATE gil;

    if (!memory || !Py_IsInitialized())
        return;
    gil = PyGILState_Ensure();
    for (size_t i = 0; i < MOST_BUFFERS; i++)
        if (memory->views[i].obj)
            PyBuffer_Release(&memory->views[i]);
    PyGILState_Release(gil);
    free(memory);
}

static void release_array(struct ArrowArray *array)
{
    for (int64_t i = 0; i < array->n_children; i++) {
        if (array->children[i] && array->children[i]->release)
            array->children[i]->release(array->children[i]);
        free(array->children[i]);
    }
    free(array->children);
    if (array->dictionary && array->dictionary->release)
        array->dictionary->release(array->dictionary);
    free(array->dictionary);
    release_views(array->private_data);
    array->release = NULL;
}

/* Bytes that buffer `index` must have at least; what stands behind the offsets of a text is up to them. */
static Py_ssize_t least_size(const node *from, Py_ssize_t index)
{
    if (index == 0)
        return from->length / 8 + (from->length % 8 != 0);
    if (index == 2)
        return 0;
    switch (from->format[0]) {
    case 'L':
        return from->length <= PY_SSIZE_T_MAX / 8 ? from->length * 8 : PY_SSIZE_T_MAX;
    case 'I':
        return from->length <= PY_SSIZE_T_MAX / 4 ? from->length * 4 : PY_SSIZE_T_MAX;
    case 'u':
        return from->length < PY_SSIZE_T_MAX / 4 ? (from->length + 1) * 4 : PY_SSIZE_T_MAX;
    case 'C':
        return from->length;
    default:
        return 0; /* w:SIZE, whose size the caller multiplied */
    }
}

static int fill_buffers(const node *from, struct ArrowArray *out, array_memory *memory)
{
    for (Py_ssize_t i = 0; i < PyTuple_Size(from->buffers); i++) {
        PyObject *object = PyTuple_GetItem(from->buffers, i);

        out->n_buffers++;
        if (Py_IsNone(object))
            continue;
        if (PyObject_GetBuffer(object, &memory->views[i], PyBUF_SIMPLE) < 0)
            return -1;
        if (memory->views[i].len < least_size(from, i)) {
            PyErr_SetString(PyExc_ValueError, "a buffer is shorter than its array");
            return -1;
        }
        memory->buffers[i] = memory->views[i].buf;
    }
    return 0;
}

static int fill_array(PyObject *tuple, struct ArrowArray *out);

static struct ArrowArray *new_array(PyObject *tuple)
{
    struct ArrowArray *array = calloc(1, sizeof *array);

    if (!array) {
        PyErr_NoMemory();
        return NULL;
    }
    if (fill_array(tuple, array) < 0) {
        free(array);
        return NULL;
    }
    return array;
}

static int fill_array(PyObject *tuple, struct ArrowArray *out)
{
    node from = {0};
    array_memory *memory = NULL;

    if (read_node(tuple, &from) < 0)
        return -1;
    memory = calloc(1, sizeof *memory);
    *out = (struct ArrowArray){
        .length = from.length,
        .null_count = from.null_count,
        .release = release_array,
        .private_data = memory,
        .buffers = memory ? memory->buffers : NULL,
        .children = calloc((size_t)PyTuple_Size(from.children) + 1, sizeof(void *)),
    };
    if (!memory || !out->children) {
        PyErr_NoMemory();
        goto fail;
    }
    if (fill_buffers(&from, out, memory) < 0)
        goto fail;
    for (Py_ssize_t i = 0; i < PyTuple_Size(from.children); i++) {
        out->children[i] = new_array(PyTuple_GetItem(from.children, i));
        if (!out->children[i])
            goto fail;
        out->n_children++;
    }
    if (!Py_IsNone(from.dictionary)) {
        out->dictionary = new_array(from.dictionary);
        if (!out->dictionary)
            goto fail;
    }
    return 0;
fail:
    release_array(out);
    return -1;
}

/* ---- a stream of one array */

typedef struct stream_state {
    PyObject *node;
    bool given;
} stream_state;

/* With the GIL. An exception becomes the errno of a C caller. */
static int as_errno(int result)
{
    int number = 0;

    if (result < 0) {
        number = PyErr_ExceptionMatches(PyExc_MemoryError) ? ENOMEM : EINVAL;
        PyErr_Clear();
    }
    return number;
}

static int stream_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    const stream_state *state = stream->private_data;
    PyGILState_STATE gil = PyGILState_Ensure();
    int result = as_errno(fill_schema(state->node, out));

    PyGILState_Release(gil);
    return result;
}

static int stream_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    stream_state *state = stream->private_data;
    PyGILState_STATE gil;
    int result = 0;

    *out = (struct ArrowArray){0}; /* released: the end of the stream */
    if (state->given)
        return 0;
    gil = PyGILState_Ensure();
    result = as_errno(fill_array(state->node, out));
    PyGILState_Release(gil);
    state->given = result == 0;
    return result;
}

static const char *stream_error(struct ArrowArrayStream *stream)
{
    (void)stream;
    return NULL; /* the errno says all */
}

static void release_stream(struct ArrowArrayStream *stream)
{
    stream_state *state = stream->private_data;

    if (state && Py_IsInitialized()) {
        PyGILState_STATE gil = PyGILState_Ensure();

        Py_XDECREF(state->node);
        PyGILState_Release(gil);
        free(state);
    }
    stream->release = NULL;
}

/* ---- capsules: they release what nobody took out of them */

static void schema_capsule_end(PyObject *capsule)
{
    struct ArrowSchema *schema = PyCapsule_GetPointer(capsule, schema_name);

    if (schema->release)
        schema->release(schema);
    free(schema);
}

static void array_capsule_end(PyObject *capsule)
{
    struct ArrowArray *array = PyCapsule_GetPointer(capsule, array_name);

    if (array->release)
        array->release(array);
    free(array);
}

static void stream_capsule_end(PyObject *capsule)
{
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, stream_name);

    if (stream->release)
        stream->release(stream);
    free(stream);
}

PyObject *lhi_py_arrow_schema(PyObject *module, PyObject *tuple)
{
    struct ArrowSchema *schema = new_schema(tuple);
    PyObject *capsule = schema ? PyCapsule_New(schema, schema_name, schema_capsule_end) : NULL;

    (void)module;
    if (schema && !capsule) {
        schema->release(schema);
        free(schema);
    }
    return capsule;
}

PyObject *lhi_py_arrow_array(PyObject *module, PyObject *tuple)
{
    struct ArrowArray *array = NULL;
    PyObject *schema = lhi_py_arrow_schema(module, tuple), *capsule = NULL, *pair = NULL;

    if (!schema)
        return NULL;
    array = new_array(tuple);
    capsule = array ? PyCapsule_New(array, array_name, array_capsule_end) : NULL;
    if (capsule) {
        pair = PyTuple_Pack(2, schema, capsule);
    } else if (array) {
        array->release(array);
        free(array);
    }
    Py_DECREF(schema);
    Py_XDECREF(capsule);
    return pair;
}

PyObject *lhi_py_arrow_stream(PyObject *module, PyObject *tuple)
{
    struct ArrowArrayStream *stream = calloc(1, sizeof *stream);
    stream_state *state = calloc(1, sizeof *state);
    PyObject *capsule = NULL;

    (void)module;
    if (!stream || !state) {
        PyErr_NoMemory();
        goto fail;
    }
    *stream = (struct ArrowArrayStream){
        .get_schema = stream_schema,
        .get_next = stream_next,
        .get_last_error = stream_error,
        .release = release_stream,
        .private_data = state,
    };
    capsule = PyCapsule_New(stream, stream_name, stream_capsule_end);
    if (!capsule)
        goto fail;
    state->node = Py_NewRef(tuple);
    return capsule;
fail:
    free(stream);
    free(state);
    return NULL;
}
