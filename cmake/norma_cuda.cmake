# Finds the CUDA toolkit where NORMA_CUDA asks for it, and says in NORMA_CUDA_STATUS what came of it.
# The backend itself is not part of this version: where the toolkit is found, nothing is built with it yet.

set(NORMA_CUDA_STATUS "off")
if(NOT NORMA_CUDA STREQUAL "OFF")
  find_package(CUDAToolkit 12 QUIET)
  if(CUDAToolkit_FOUND)
    set(NORMA_CUDA_STATUS "toolkit ${CUDAToolkit_VERSION} found, no kernels to build yet")
  elseif(NORMA_CUDA STREQUAL "ON")
    message(FATAL_ERROR "NORMA_CUDA=ON, but no CUDA toolkit >= 12 was found (is nvcc on the PATH?)")
  else()
    set(NORMA_CUDA_STATUS "not found")
  endif()
endif()
