#include <nimblenet.h>

/* Means are rounded towards zero; there are none if the window is 0 or too long. */
NN_EXPORT("run")
uint32_t run(const int32_t *samples, uint32_t count, uint32_t window, int32_t *means,
             uint32_t capacity) {
    /* Unsigned, for overflow is defined there. */
    uint32_t sum = 0, written = 0;
    for (uint32_t i = 0; i < count && written < capacity && window; i++) {
        sum += samples[i];
        if (i + 1 >= window) {
            means[written++] = (int32_t)sum / (int32_t)window;
            sum -= samples[i + 1 - window];
        }
    }
    return written;
}
