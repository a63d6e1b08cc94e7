#include <nimblenet.h>

enum { TOO_LOW = 1, TOO_HIGH = 2, SLIPPED = 4 };

NN_EXPORT("run")
uint32_t run(const float *curve, uint32_t count, float low, float high) {
    float peak = 0, last = 0;
    uint32_t verdict = 0;
    for (uint32_t i = 0; i < count; i++) {
        last = curve[i];
        if (last > peak)
            peak = last;
        if (last < 0.9f * peak)
            verdict |= SLIPPED;
    }
    if (peak > high)
        verdict |= TOO_HIGH;
    return last < low ? verdict | TOO_LOW : verdict;
}
