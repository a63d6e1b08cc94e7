#include <nimblenet.h>

enum { SAMPLES = 96, GREEN = 0, RED = 2 };

NN_IMPORT("shop/torque-sensor", "run")
uint32_t torque_sensor(uint32_t count, float *curve, uint32_t capacity);
NN_IMPORT("std/biquad", "run")
uint32_t biquad(const float *samples, uint32_t count, float b0, float b1, float b2, float a1,
                float a2, float *filtered, uint32_t capacity);
NN_IMPORT("shop/torque-check", "run")
uint32_t torque_check(const float *curve, uint32_t count, float low, float high);
NN_IMPORT("shop/signal-lamp", "run") void signal_lamp(uint32_t level);

static float raw[SAMPLES], smooth[SAMPLES];

NN_EXPORT("run")
uint32_t run(float low, float high) {
    uint32_t count = torque_sensor(SAMPLES, raw, SAMPLES);
    /* Butterworth, a fifth of the sampling rate. */
    count = biquad(raw, count, 0.2066f, 0.4131f, 0.2066f, -0.3695f, 0.1958f, smooth, SAMPLES);
    uint32_t verdict = torque_check(smooth, count, low, high);
    signal_lamp(verdict ? RED : GREEN);
    return verdict;
}
