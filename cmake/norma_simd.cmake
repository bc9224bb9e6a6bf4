# A portable build carries the vectorised kernels for AVX2 and for AVX-512 as well, and ops/simd_level.h chooses at run
# time: each level is the same file, included by a small one with flags and a namespace of its own. They are optimised in
# debug builds, too: what is not inlined there would be shared with the rest of the program, whatever its flags.

set(NORMA_SIMD_SOURCES)
set(NORMA_SIMD_DEFINITIONS)
if(NOT NORMA_NATIVE AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(NORMA_SIMD_DEFINITIONS NORMA_SIMD_DISPATCH)
  set(avx2 -mavx2 -mfma)
  set(avx512 ${avx2} -mavx512f -mavx512vl)
  foreach(level avx2 avx512)
    foreach(kernel conv2d_direct conv2d_winograd)
      set(source ${CMAKE_CURRENT_BINARY_DIR}/simd/${kernel}_${level}.cc)
      file(CONFIGURE OUTPUT ${source} CONTENT "#define NORMA_SIMD ${level}\n#include \"norma/ops/${kernel}.cc\"\n")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${${level}};$<$<CONFIG:Debug>:-O2>")
      list(APPEND NORMA_SIMD_SOURCES ${source})
    endforeach()
  endforeach()
endif()
