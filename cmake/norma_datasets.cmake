# norma::datasets: readers of data sets: MNIST's and CIFAR's files, folders of PNG and JPEG pictures, NumPy's. A library of its own,
# which a program links besides norma::norma, since it needs zlib, libpng, libjpeg and libzip; NORMA_DATASETS_STATUS says what came
# of it.

set(NORMA_DATASETS_STATUS "off")
set(NORMA_WITH_DATASETS OFF)
if(NOT NORMA_DATASETS STREQUAL "OFF")
  find_package(ZLIB QUIET)
  find_package(PNG QUIET)
  find_package(JPEG QUIET)
  find_library(NORMA_ZIP_LIBRARY zip)  # its own CMake files want programs that Debian has in another package
  find_path(NORMA_ZIP_INCLUDE_DIR zip.h)
  mark_as_advanced(NORMA_ZIP_LIBRARY NORMA_ZIP_INCLUDE_DIR)
  if(ZLIB_FOUND AND PNG_FOUND AND JPEG_FOUND AND NORMA_ZIP_LIBRARY AND NORMA_ZIP_INCLUDE_DIR)
    set(NORMA_WITH_DATASETS ON)
    set(NORMA_DATASETS_STATUS "on")
  elseif(NORMA_DATASETS STREQUAL "ON")
    message(FATAL_ERROR "NORMA_DATASETS=ON wants zlib (zlib1g-dev), libpng (libpng-dev), libjpeg (libjpeg-dev) and libzip (libzip-dev)")
  else()
    set(NORMA_DATASETS_STATUS "left out (zlib, libpng, libjpeg or libzip not found)")
  endif()
endif()

# Behind the library's own target.
function(norma_add_datasets)
  file(GLOB sources CONFIGURE_DEPENDS ${norma_SOURCE_DIR}/datasets/*.cc)
  add_library(norma_datasets ${sources})
  add_library(norma::datasets ALIAS norma_datasets)
  norma_cxx_settings(norma_datasets)
  set_target_properties(norma_datasets PROPERTIES POSITION_INDEPENDENT_CODE ON EXPORT_NAME datasets)
  target_link_libraries(norma_datasets PUBLIC norma PRIVATE ZLIB::ZLIB PNG::PNG JPEG::JPEG zip)
  target_include_directories(norma_datasets SYSTEM PRIVATE ${NORMA_ZIP_INCLUDE_DIR})
endfunction()
