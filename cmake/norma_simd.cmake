# A portable build carries the vectorised kernels for AVX2 and for AVX-512 as well, and core/simd/dispatch.h chooses at run
# time: every file of ops with code between NORMA_SIMD_BEGIN and NORMA_SIMD_END (core/simd/vectors.h) is compiled once more for
# each level, into an object library of that name which norma takes in.
#
# A level has no compiler flags. Only the code between the two is compiled for it, by a pragma. With -mavx512f for the
# whole file, the inline functions and templates of this and the standard library that it happens to instantiate would be
# AVX-512 code too, under names that other files share, and the linker keeps any one of them for the whole program.
# Rewriting the objects behind the compiler's back to hide such names goes wrong in its own ways with COMDAT groups,
# sanitizers and link-time optimisation; this is the same in static and shared libraries, debug builds included. GCC and
# clang have such a pragma; other compilers build the base level. The test simd.levels_share_no_code looks at the instructions.

set(NORMA_SIMD_LEVELS)
if(NOT NORMA_NATIVE AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" AND CMAKE_CXX_COMPILER_ID MATCHES "^(GNU|Clang)$")
  set(NORMA_SIMD_LEVELS norma_avx2 norma_avx512)
endif()

# What a level's code may use, as the compilers' target attributes name it.
set(NORMA_SIMD_FEATURES_avx2 "avx2,fma")
set(NORMA_SIMD_FEATURES_avx512 "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")

# Compiles `target` for a level, avx2 or avx512.
function(norma_simd_level target level)
  string(TOUPPER ${level} upper)
  target_compile_definitions(${target} PRIVATE NORMA_SIMD=${level} NORMA_SIMD_${upper}
                             NORMA_SIMD_FEATURES="${NORMA_SIMD_FEATURES_${level}}")
endfunction()

# Builds the levels of `target`, whose sources and usage it reads.
function(norma_add_simd_levels target)
  get_target_property(kernels ${target} SOURCES)
  norma_keep_files_with("^NORMA_SIMD_BEGIN" kernels)
  foreach(level ${NORMA_SIMD_LEVELS})
    add_library(${level} OBJECT ${kernels})
    norma_cxx_settings(${level})
    set_target_properties(${level} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    string(REPLACE norma_ "" name ${level})
    norma_simd_level(${level} ${name})
    target_compile_definitions(${level} PRIVATE NORMA_SIMD_DISPATCH)
    target_include_directories(${level} PRIVATE $<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>)
    target_link_libraries(${level} PRIVATE fmt::fmt)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${level}>)
  endforeach()
  if(NORMA_SIMD_LEVELS)
    target_compile_definitions(${target} PUBLIC NORMA_SIMD_DISPATCH)  # ops/kernel.h reads it
  endif()
endfunction()
