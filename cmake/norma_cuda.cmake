# The CUDA backend: cuda/*.cu, compiled by nvcc into objects that become part of the library. NORMA_CUDA_STATUS says what
# came of it. Needs the CUDA toolkit, with cuBLAS, and cuDNN 9; no GPU to build.

set(NORMA_CUDA_STATUS "off")
set(NORMA_WITH_CUDA OFF)
if(NOT NORMA_CUDA STREQUAL "OFF")
  find_package(CUDAToolkit 12 QUIET)
  find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 HINTS ${CUDAToolkit_LIBRARY_DIR})
  if(CUDAToolkit_FOUND AND CUDAToolkit_NVCC_EXECUTABLE AND CUDNN_INCLUDE_DIR AND CUDNN_LIBRARY)
    set(NORMA_WITH_CUDA ON)
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90 CACHE STRING "The GPUs to compile for; the last one's PTX serves later ones")
    endif()
    set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE})
    enable_language(CUDA)
    set(NORMA_CUDA_STATUS "toolkit ${CUDAToolkit_VERSION}")
  elseif(NORMA_CUDA STREQUAL "ON")
    message(FATAL_ERROR "NORMA_CUDA=ON wants a CUDA toolkit >= 12 (nvcc: ${CUDAToolkit_NVCC_EXECUTABLE}) and cuDNN 9 "
                        "(${CUDNN_INCLUDE_DIR}, ${CUDNN_LIBRARY}): is nvcc on the PATH?")
  else()
    set(NORMA_CUDA_STATUS "not found")
  endif()
endif()

# norma_cuda_kernels(NAME SOURCE...): objects of .cu files, compiled as those of the backend are.
function(norma_cuda_kernels name)
  add_library(${name} OBJECT ${ARGN})
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  # fmt 9 takes nvcc for a compiler without constexpr. -std: CMake before 3.25.2 knows no C++20 of nvcc's.
  target_compile_definitions(${name} PRIVATE NORMA_WITH_CUDA FMT_USE_CONSTEXPR=1)
  target_compile_options(${name} PRIVATE -std=c++20 --extended-lambda --expt-relaxed-constexpr
                         -Xcompiler=-Wall,-Wextra,-Wshadow $<$<BOOL:${NORMA_WERROR}>:-Werror=all-warnings>)
  target_include_directories(${name} PRIVATE ${NORMA_BUILD_INCLUDE} ${CUDNN_INCLUDE_DIR})
  target_link_libraries(${name} PRIVATE fmt::fmt CUDA::cudart CUDA::cublas)
endfunction()

# norma_add_cuda(TARGET): compiles the backend into the target.
function(norma_add_cuda target)
  file(GLOB sources CONFIGURE_DEPENDS ${norma_SOURCE_DIR}/cuda/*.cu ${norma_SOURCE_DIR}/cuda/*/*.cu)
  norma_cuda_kernels(norma_cuda ${sources})
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:norma_cuda>)
  target_compile_definitions(${target} PUBLIC NORMA_WITH_CUDA)
  target_link_libraries(${target} PRIVATE CUDA::cudart CUDA::cublas ${CUDNN_LIBRARY})
endfunction()
