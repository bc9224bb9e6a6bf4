# `cmake --install`: headers as <norma/...>, the library, and the package that find_package(norma) reads.

include(CMakePackageConfigHelpers)
install(TARGETS norma EXPORT norma-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(header ${NORMA_HEADERS})
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/norma/${folder})
endforeach()
if(NORMA_WITH_MPI)
  install(TARGETS norma_mpi EXPORT norma-mpi-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT norma-mpi-targets NAMESPACE norma:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/norma)
endif()
install(EXPORT norma-targets NAMESPACE norma:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/norma)
configure_package_config_file(cmake/norma-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/norma-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/norma)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/norma-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/norma-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/norma-config-version.cmake
              cmake/FindOpenBLAS.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/norma)
