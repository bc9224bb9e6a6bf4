# norma::mpi: several processes, by MPI. A library of its own, which a program links besides norma::norma; NORMA_MPI_STATUS
# says what came of it.

set(NORMA_MPI_STATUS "off")
set(NORMA_WITH_MPI OFF)
if(NOT NORMA_MPI STREQUAL "OFF")
  set(MPI_CXX_SKIP_MPICXX ON)  # its C interface is enough
  find_package(MPI QUIET COMPONENTS CXX)
  if(MPI_CXX_FOUND)
    set(NORMA_WITH_MPI ON)
    set(NORMA_MPI_STATUS "${MPI_CXX_VERSION}")
  elseif(NORMA_MPI STREQUAL "ON")
    message(FATAL_ERROR "NORMA_MPI=ON wants MPI (libopenmpi-dev)")
  else()
    set(NORMA_MPI_STATUS "not found")
  endif()
endif()

# Behind the library's own target.
function(norma_add_mpi)
  add_library(norma_mpi mpi/mpi.cc)
  add_library(norma::mpi ALIAS norma_mpi)
  norma_cxx_settings(norma_mpi)
  set_target_properties(norma_mpi PROPERTIES POSITION_INDEPENDENT_CODE ON EXPORT_NAME mpi)
  target_link_libraries(norma_mpi PUBLIC norma PRIVATE MPI::MPI_CXX)
  # Nothing else in the file is called by name.
  target_link_options(norma_mpi INTERFACE LINKER:--undefined=norma_mpi_is_linked)
endfunction()
