// NVTX's ranges, by which the emulation knows the op that a kernel belongs to.
#pragma once

int nvtxRangePushA(const char* name);
int nvtxRangePop();
