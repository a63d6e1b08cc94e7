#include <nimblenet.h>

NN_EXPORT("run")
float run(const float *samples, uint32_t count) {
    float peak = 0;
    for (uint32_t i = 0; i < count; i++) {
        float magnitude = nn_abs(samples[i]);
        if (magnitude > peak)
            peak = magnitude;
    }
    return peak;
}
