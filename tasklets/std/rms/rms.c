#include <nimblenet.h>

NN_EXPORT("run")
float run(const float *samples, uint32_t count) {
    float energy = 0;
    for (uint32_t i = 0; i < count; i++)
        energy += samples[i] * samples[i];
    return count ? nn_sqrt(energy / count) : 0;
}
