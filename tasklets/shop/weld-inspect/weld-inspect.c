#include <nimblenet.h>

enum { SAMPLES = 64, WINDOW = 8, CURRENT = 0, VOLTAGE = 1, GREEN = 0, RED = 2 };

NN_IMPORT("shop/weld-sensor", "run")
uint32_t weld_sensor(uint32_t channel, uint32_t count, int32_t *samples, uint32_t capacity);
NN_IMPORT("std/moving-average", "run")
uint32_t moving_average(const int32_t *samples, uint32_t count, uint32_t window, int32_t *means,
                        uint32_t capacity);
NN_IMPORT("shop/weld-quality", "run")
float weld_quality(const int32_t *current, uint32_t currents, const int32_t *voltage,
                   uint32_t voltages, float speed);
NN_IMPORT("shop/signal-lamp", "run") void signal_lamp(uint32_t level);

static int32_t raw[SAMPLES], smooth[2][SAMPLES];

static uint32_t channel(uint32_t number) {
    uint32_t read = weld_sensor(number, SAMPLES, raw, SAMPLES);
    return moving_average(raw, read, WINDOW, smooth[number], SAMPLES);
}

NN_EXPORT("run")
float run(float limit, float speed) {
    uint32_t currents = channel(CURRENT), voltages = channel(VOLTAGE);
    float heat = weld_quality(smooth[CURRENT], currents, smooth[VOLTAGE], voltages, speed);
    signal_lamp(heat > limit ? RED : GREEN);
    return heat;
}
