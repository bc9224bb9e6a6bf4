# The course, docs/course: the code of its pages is compiled and run, and its exercises are red before and green after.
# Nothing is listed here: a new page, program or exercise is found by its name, which begins with the lesson's number.
#
# A page has blocks ```cpp file=NAME, several of one NAME one after the other. <name>.cc is a program, the target
# course_<name> and the test course.<name>; other blocks are files that programs include. Where a page has a block
# ```text file=<name>.txt, the program prints that, as compare_output.awk compares it.
#
# An exercise is exercises/<name>.h, which has a gap, and its test exercises/<name>_test.cc, which includes <name>.h. It is
# built twice: with the gap (exercise_<name>), where it has to be red, that is end with exit status 1; and with the file
# of the same name in solutions/ (solution_<name>), where it has to be green.

set(course ${norma_SOURCE_DIR}/docs/course)
set(course_code ${CMAKE_CURRENT_BINARY_DIR}/course)

# norma_course_program(TARGET SOURCE FOLDER...): a program that finds headers in these folders, too. No multiply-adds are
# fused, so that code which calls no library prints the same on every machine. -O1 compiles in half the time of -O3.
function(norma_course_program target source)
  add_executable(${target} ${source})
  norma_cxx_settings(${target})
  target_compile_options(${target} PRIVATE -ffp-contract=off $<$<CONFIG:Release>:-O1>)
  target_include_directories(${target} PRIVATE ${ARGN} ${course_code})
  target_link_libraries(${target} PRIVATE norma::norma)
endfunction()

file(GLOB pages CONFIGURE_DEPENDS ${course}/[0-9]*.md)
foreach(page ${pages})
  file(RELATIVE_PATH document ${norma_SOURCE_DIR} ${page})
  file(STRINGS ${page} blocks REGEX "^```[a-z]+ file=")
  list(TRANSFORM blocks REPLACE "^```[a-z]+ file=" "")
  list(REMOVE_DUPLICATES blocks)
  foreach(block ${blocks})
    norma_snippet(${document} ${block} ${course_code})
    if(block MATCHES "^(.*)\\.cc$")
      set(name ${CMAKE_MATCH_1})
      norma_course_program(course_${name} ${course_code}/${block} ${course}/exercises)
      set(wanted "")
      if("${name}.txt" IN_LIST blocks)
        set(wanted ${course_code}/${name}.txt)
      endif()
      add_test(NAME course.${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/course_run.sh $<TARGET_FILE:course_${name}> ${wanted})
      set_tests_properties(course.${name} PROPERTIES TIMEOUT 60)
    endif()
  endforeach()
endforeach()

file(GLOB tests CONFIGURE_DEPENDS ${course}/exercises/*_test.cc)
foreach(source ${tests})
  get_filename_component(name ${source} NAME_WE)
  string(REGEX REPLACE "_test$" "" name ${name})
  norma_course_program(exercise_${name} ${source} ${course}/exercises)
  norma_course_program(solution_${name} ${source} ${course}/solutions ${course}/exercises)
  add_test(NAME course.${name}_is_red COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/course_red.sh $<TARGET_FILE:exercise_${name}>)
  add_test(NAME course.${name}_solved COMMAND solution_${name})
  set_tests_properties(course.${name}_is_red course.${name}_solved PROPERTIES TIMEOUT 60)
endforeach()

# The kernels of lesson 11, on the emulated device. Where there is nvcc, the page's program is also compiled for a GPU; it
# skips itself where there is none.
get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
list(FILTER targets INCLUDE REGEX "^(course|exercise|solution)_11_")
foreach(target ${targets})
  target_link_libraries(${target} PRIVATE norma_cuda_emulated)
endforeach()
if(NORMA_WITH_CUDA)
  file(CONFIGURE OUTPUT ${course_code}/11_norm.cu CONTENT "#include \"11_norm.cc\"\n")
  norma_cuda_kernels(course_11_norm_objects ${course_code}/11_norm.cu)
  add_executable(course_11_norm_gpu $<TARGET_OBJECTS:course_11_norm_objects>)
  target_link_libraries(course_11_norm_gpu PRIVATE norma::norma)
  add_test(NAME course.11_norm_gpu COMMAND course_11_norm_gpu)
  set_tests_properties(course.11_norm_gpu PROPERTIES LABELS gpu SKIP_RETURN_CODE 77)
endif()

# The program of lesson 12 in one process and, by mpirun, in several.
if(TARGET course_12_processes AND NORMA_WITH_MPI AND MPIEXEC_EXECUTABLE)
  target_link_libraries(course_12_processes PRIVATE norma::mpi)
  add_test(NAME course.12_processes_by_mpirun
           COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/course_mpirun.sh ${MPIEXEC_EXECUTABLE} $<TARGET_FILE:course_12_processes>)
  set_tests_properties(course.12_processes_by_mpirun PROPERTIES TIMEOUT 300 PROCESSORS 2)
endif()

# The comparison of outputs finds what it should.
add_test(NAME course.compare_output COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/compare_output_test.sh)
