#include <nimblenet.h>

NN_EXPORT("run")
uint32_t run(uint32_t a, uint32_t b) { return a + b; }
