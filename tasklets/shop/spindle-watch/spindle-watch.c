#include <nimblenet.h>

enum { SAMPLES = 128 };

NN_IMPORT("shop/vibration", "run")
uint32_t vibration(uint32_t count, int16_t *samples, uint32_t capacity);
NN_IMPORT("std/window", "run")
uint32_t window(const int16_t *samples, uint32_t count, float *windowed, uint32_t capacity);
NN_IMPORT("std/rms", "run") float rms(const float *samples, uint32_t count);
NN_IMPORT("std/goertzel", "run")
float goertzel(const float *samples, uint32_t count, float coefficient);

static int16_t raw[SAMPLES];
static float frame[SAMPLES];

/* The level, then the power at each frequency. */
NN_EXPORT("run")
uint32_t run(const float *coefficients, uint32_t count, float *levels, uint32_t capacity) {
    uint32_t read = window(raw, vibration(SAMPLES, raw, SAMPLES), frame, SAMPLES);
    uint32_t written = 0;
    if (capacity > 0)
        levels[written++] = rms(frame, read);
    for (uint32_t i = 0; i < count && written < capacity; i++)
        levels[written++] = goertzel(frame, read, coefficients[i]);
    return written;
}
