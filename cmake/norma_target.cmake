# What the targets of this project share: C++20, warnings, the CPU's instruction set, sanitizers; and which files they have.

include(CheckCXXCompilerFlag)

# Keeps those files of a list that have a line which matches.
function(norma_keep_files_with regex list)
  foreach(file ${${list}})
    file(STRINGS ${file} lines REGEX "${regex}")
    if(NOT lines)
      list(REMOVE_ITEM ${list} ${file})
    endif()
  endforeach()
  set(${list} ${${list}} PARENT_SCOPE)
endfunction()

function(norma_cxx_settings target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  # Nobody reads errno or the floating point flags after a sqrt: without them it vectorises, with the same values.
  # GCC 12 sees overlaps and overflows in std::string operations where there are none (its bug 105651): the three -Wno-...
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
                         $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict -Wno-stringop-overflow -Wno-array-bounds -Wno-psabi>
                         -fno-math-errno -fno-trapping-math
                         $<$<CXX_COMPILER_ID:Clang>:-Wno-potentially-evaluated-expression -Wno-unknown-pragmas>
                         $<$<BOOL:${NORMA_WERROR}>:-Werror>)
  if(NORMA_NATIVE)
    target_compile_options(${target} PRIVATE -march=native)
    # GCC prefers 32-byte vectors on CPUs whose 64-byte ones are faster here (10 to 15 % of a norm, measured on Zen 4).
    check_cxx_compiler_flag(-mprefer-vector-width=512 NORMA_HAS_PREFER_VECTOR_WIDTH)
    if(NORMA_HAS_PREFER_VECTOR_WIDTH)
      target_compile_options(${target} PRIVATE -mprefer-vector-width=512)
    endif()
  endif()
  # With AVX-512, GCC 12.2's basic-block vectorizer makes {a, a, b, b} into {a, a, a, a}. Loops are vectorized elsewhere.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12.3)
    target_compile_options(${target} PRIVATE -fno-tree-slp-vectorize)
  endif()
  if(NORMA_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${NORMA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${NORMA_SANITIZE})
  endif()
  if(NORMA_COVERAGE)
    target_compile_options(${target} PUBLIC --coverage)
    target_link_options(${target} PUBLIC --coverage)
  endif()
endfunction()
