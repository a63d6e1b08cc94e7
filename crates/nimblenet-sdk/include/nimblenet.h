/* The header for tasklets written in C.
 *
 *   #include <nimblenet.h>
 *
 *   NN_IMPORT("shop/vibration", "run")
 *   uint32_t vibration(uint32_t count, int16_t *samples, uint32_t capacity);
 *
 *   NN_EXPORT("run")
 *   float run(const float *samples, uint32_t count) { ... }
 *
 * A list is passed as address and number of elements. The function writes a list result to the
 * space that the caller gives, (address, capacity) after all other parameters, and returns how
 * many elements it has written. The host copies between the memories of caller and callee.
 *
 * Compile for wasm32 without a standard library (docs/tasklets.md has the command line).
 */
#ifndef NIMBLENET_H
#define NIMBLENET_H

#include <stdbool.h>
#include <stdint.h>

/* Exports the next function under this name; callers that name no function call "run". */
#define NN_EXPORT(name) __attribute__((export_name(name)))

/* Declares a function of another tasklet: its full name and its export. */
#define NN_IMPORT(tasklet, field) __attribute__((import_module(tasklet), import_name(field)))

/* The number of elements of an array. */
#define NN_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* One instruction each. */
static inline float nn_sqrt(float x) { return __builtin_sqrtf(x); }
static inline float nn_abs(float x) { return __builtin_fabsf(x); }

/* Functions of the node, by capability. */
NN_IMPORT("nimblenet:sensor", "read") float nn_sensor_read(uint32_t channel);
NN_IMPORT("nimblenet:actuator", "set") void nn_actuator_set(uint32_t channel, float value);
NN_IMPORT("nimblenet:clock", "now-us") uint64_t nn_now_us(void);
NN_IMPORT("nimblenet:clock", "sleep-us") void nn_sleep_us(uint32_t microseconds);
NN_IMPORT("nimblenet:log", "write") void nn_log(const char *line, uint32_t bytes);
NN_IMPORT("nimblenet:kv", "get") int64_t nn_kv_get(uint32_t key);
NN_IMPORT("nimblenet:kv", "set") void nn_kv_set(uint32_t key, int64_t value);
NN_IMPORT("nimblenet:random", "u32") uint32_t nn_random_u32(void);

#endif
