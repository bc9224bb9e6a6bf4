# Run by ctest: cmake -DSOURCE=... -DBUILD=... -DWORK=... -DHOW=find_package|add_subdirectory|FetchContent -P run.cmake
# find_package: installs the library that was just built, then configures, builds and runs the consumer against it.
# With CUDA, if the library has it; a GPU is not needed. With MPI, if it has that: then -DMPIRUN=... runs two processes.
# The other two: without CUDA: configure, and compile the consumer's one file; that the library itself builds is known by now.

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "failed: ${ARGV}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
set(configure ${CMAKE_COMMAND} -S ${SOURCE}/tests/consumer -B ${WORK}/build -G Ninja -DCMAKE_BUILD_TYPE=Release
    -DNORMA_FROM=${HOW} -DNORMA_SOURCE=${SOURCE} -DNORMA_CUDA=OFF)
if(HOW STREQUAL "find_package")
  run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
  run(${configure} -DCMAKE_PREFIX_PATH=${WORK}/prefix)
  run(${CMAKE_COMMAND} --build ${WORK}/build)
  run(${WORK}/build/consumer)
  if(MPIRUN)
    set(ENV{OMPI_ALLOW_RUN_AS_ROOT} 1)
    set(ENV{OMPI_ALLOW_RUN_AS_ROOT_CONFIRM} 1)
    set(ENV{OMPI_MCA_rmaps_base_oversubscribe} 1)
    run(${WORK}/build/consumer_workers)
    run(${MPIRUN} -n 2 ${WORK}/build/consumer_workers)
    if(NOT output MATCHES "2 processes")
      message(FATAL_ERROR "mpirun has not started two processes: ${output}")
    endif()
  endif()
else()
  run(${configure})
  run(${CMAKE_COMMAND} --build ${WORK}/build --target CMakeFiles/consumer.dir/main.cc.o)
endif()
