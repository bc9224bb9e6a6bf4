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
if(NORMA_WITH_DATASETS)
  install(TARGETS norma_datasets EXPORT norma-datasets-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT norma-datasets-targets NAMESPACE norma:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/norma)
endif()
install(EXPORT norma-targets NAMESPACE norma:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/norma)
configure_package_config_file(cmake/norma-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/norma-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/norma)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/norma-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/norma-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/norma-config-version.cmake
              cmake/FindOpenBLAS.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/norma)

# For pkg-config, of a build without CUDA, whose libraries no .pc file finds.
if(NOT NORMA_WITH_CUDA)
  set(folder ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
  file(RELATIVE_PATH NORMA_PC_UP /${folder} /)
  if(NORMA_OPENBLAS)
    set(NORMA_PC_OPENBLAS " openblas")
  endif()
  get_target_property(definitions norma INTERFACE_COMPILE_DEFINITIONS)
  if(definitions)
    list(TRANSFORM definitions PREPEND " -D")
    string(CONCAT NORMA_PC_DEFINITIONS ${definitions})
  endif()
  configure_file(cmake/norma.pc.in ${CMAKE_CURRENT_BINARY_DIR}/norma.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/norma.pc DESTINATION ${folder})
endif()

# libnorma-dev: cpack -G DEB, in the build folder. For any CPU of its kind, it should come from the preset "portable".
set(CPACK_PACKAGE_NAME libnorma-dev)
set(CPACK_PACKAGE_CONTACT "The norma authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY ${PROJECT_DESCRIPTION})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libfmt-dev, nlohmann-json3-dev, libopenblas-dev")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "libopenmpi-dev, libjpeg-dev, libpng-dev, libzip-dev, zlib1g-dev")
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/libnorma-dev RENAME copyright)
include(CPack)
