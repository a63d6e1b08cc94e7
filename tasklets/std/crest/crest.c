#include <nimblenet.h>

NN_IMPORT("std/peak", "run") float peak(const float *samples, uint32_t count);
NN_IMPORT("std/rms", "run") float rms(const float *samples, uint32_t count);

NN_EXPORT("run")
float run(const float *samples, uint32_t count) {
    float level = rms(samples, count);
    return level > 0 ? peak(samples, count) / level : 0;
}
