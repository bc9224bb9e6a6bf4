# Run by ctest: cmake -DSOURCE=... -DBUILD=... -DWORK=... -DHOW=find_package|add_subdirectory|FetchContent -P run.cmake
# find_package: installs the library that was just built, then configures, builds and runs the consumer against it.
# With CUDA, if the library has it; a GPU is not needed.
# The other two: without CUDA: configure, and compile the consumer's one file; that the library itself builds is known by now.

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "failed: ${ARGV}\n${output}")
  endif()
endfunction()

file(REMOVE_RECURSE ${WORK})
set(configure ${CMAKE_COMMAND} -S ${SOURCE}/tests/consumer -B ${WORK}/build -G Ninja -DCMAKE_BUILD_TYPE=Release
    -DNORMA_FROM=${HOW} -DNORMA_SOURCE=${SOURCE} -DNORMA_CUDA=OFF)
if(HOW STREQUAL "find_package")
  run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
  run(${configure} -DCMAKE_PREFIX_PATH=${WORK}/prefix)
  run(${CMAKE_COMMAND} --build ${WORK}/build)
  run(${WORK}/build/consumer)
else()
  run(${configure})
  run(${CMAKE_COMMAND} --build ${WORK}/build --target CMakeFiles/consumer.dir/main.cc.o)
endif()
