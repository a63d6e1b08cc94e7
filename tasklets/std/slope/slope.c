#include <nimblenet.h>

NN_EXPORT("run")
float run(const float *samples, uint32_t count) {
    /* Around the middle of the frame the sums of the line's equation fall apart. */
    float middle = (count - 1) * 0.5f, above = 0, below = 0;
    for (uint32_t i = 0; i < count; i++) {
        float x = i - middle;
        above += x * samples[i];
        below += x * x;
    }
    return below > 0 ? above / below : 0;
}
