# The programs same_bits_probe and, on the emulated CUDA device, emulated_same_bits_probe: these sources against the
# library of whatever commit is being built. scripts/build_commit has CMake include this file behind project(norma), and
# the targets are made when all others are. It depends on the names of two targets and one function, and on no path of
# the library's files. They are no part of a usual build.
set(NORMA_SAME_BITS_DIR ${CMAKE_CURRENT_LIST_DIR})

function(norma_add_same_bits_probes)
  file(GLOB sources CONFIGURE_DEPENDS ${NORMA_SAME_BITS_DIR}/*.cc)
  foreach(library norma norma_cuda_emulated)
    set(probe same_bits_probe)
    if(library STREQUAL "norma_cuda_emulated")
      set(probe emulated_same_bits_probe)
    endif()
    if(TARGET ${library} AND sources)
      add_executable(${probe} EXCLUDE_FROM_ALL ${sources})
      norma_cxx_settings(${probe})
      target_compile_options(${probe} PRIVATE -O1)  # as the tests: what is probed is the library
      target_link_libraries(${probe} PRIVATE ${library})
    endif()
  endforeach()
endfunction()
cmake_language(DEFER CALL norma_add_same_bits_probes)
