#include <nimblenet.h>

NN_EXPORT("run")
uint32_t run(const float *samples, uint32_t count, float b0, float b1, float b2, float a1,
             float a2, float *filtered, uint32_t capacity) {
    float z1 = 0, z2 = 0;
    uint32_t i = 0;
    for (; i < count && i < capacity; i++) {
        float in = samples[i], out = b0 * in + z1;
        z1 = b1 * in - a1 * out + z2;
        z2 = b2 * in - a2 * out;
        filtered[i] = out;
    }
    return i;
}
