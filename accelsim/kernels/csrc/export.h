// How a C function is made visible to Python. It returns 0 or a cudaError_t.
#pragma once

#define ACCELSIM_EXPORT extern "C" __attribute__((visibility("default")))
