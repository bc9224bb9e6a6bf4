# What the library stands on: fmt, nlohmann-json, OpenBLAS, threads; and GoogleTest, for its tests.
#
# NORMA_SYSTEM_LIBRARIES=OFF takes the headers of fmt and nlohmann-json, and the sources of GoogleTest, from this machine, and
# nothing that is compiled: for another standard library (libc++) or another processor, for which Debian has no such packages.
# NORMA_OPENBLAS=OFF multiplies matrices by blas/gemm.cc.

option(NORMA_SYSTEM_LIBRARIES "Link fmt and GoogleTest as this system has them; OFF: their headers and sources" ON)
option(NORMA_OPENBLAS "Matrix products by OpenBLAS; OFF: by blas/gemm.cc" ON)

if(EMSCRIPTEN)  # one thread: more need headers of the web server, which a page that is opened from a file has none of
  add_library(Threads::Threads INTERFACE IMPORTED GLOBAL)
else()
  find_package(Threads REQUIRED)
endif()
if(NORMA_SYSTEM_LIBRARIES)
  find_package(fmt REQUIRED)
  find_package(nlohmann_json REQUIRED)
else()
  # Not all of /usr/include, whose other headers are those of this machine's own C library.
  foreach(library fmt nlohmann)
    find_path(NORMA_HOST_${library} ${library} PATHS /usr/include /usr/local/include REQUIRED NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
    mark_as_advanced(NORMA_HOST_${library})
    file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/host)
    file(CREATE_LINK ${NORMA_HOST_${library}}/${library} ${CMAKE_CURRENT_BINARY_DIR}/host/${library} SYMBOLIC)
  endforeach()
  foreach(library fmt::fmt nlohmann_json::nlohmann_json)
    add_library(${library} INTERFACE IMPORTED GLOBAL)
    target_include_directories(${library} SYSTEM INTERFACE ${CMAKE_CURRENT_BINARY_DIR}/host)
  endforeach()
  target_compile_definitions(fmt::fmt INTERFACE FMT_HEADER_ONLY)
endif()
if(NORMA_OPENBLAS)
  find_package(OpenBLAS REQUIRED)
else()
  set(OpenBLAS_LIBRARY "off")
  add_library(OpenBLAS::OpenBLAS INTERFACE IMPORTED GLOBAL)  # for the tests, which compile some of ops once more
  target_include_directories(OpenBLAS::OpenBLAS INTERFACE ${CMAKE_CURRENT_SOURCE_DIR}/blas)
endif()

# GTest::gtest and GTest::gtest_main.
macro(norma_find_googletest)
  if(NORMA_SYSTEM_LIBRARIES)
    find_package(GTest REQUIRED)
  else()
    set(INSTALL_GTEST OFF)
    set(BUILD_GMOCK OFF)
    set(gtest_disable_pthreads ${EMSCRIPTEN})
    set(CMAKE_CXX_STANDARD 20)
    add_subdirectory(/usr/src/googletest ${CMAKE_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)  # Debian: googletest
  endif()
endmacro()
