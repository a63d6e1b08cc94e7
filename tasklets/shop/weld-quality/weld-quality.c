#include <nimblenet.h>

/* Metal active gas welding, EN 1011-1. */
static const float EFFICIENCY = 0.8f;

NN_EXPORT("run")
float run(const int32_t *current, uint32_t currents, const int32_t *voltage, uint32_t voltages,
          float speed) {
    float energy = 0;
    uint32_t i = 0;
    for (; i < currents && i < voltages; i++)
        energy += (float)current[i] * voltage[i];
    /* Milliampere times millivolt is a microwatt, and a kilojoule is 1e9 microjoules. */
    return i && speed > 0 ? EFFICIENCY * 1e-9f * energy / i / speed : 0;
}
