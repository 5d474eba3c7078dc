# retort_fuzzer(NAME
#   SOURCES  x_fuzz.cc     # defines LLVMFuzzerTestOneInput and fuzz_seeds (tests/fuzz/fuzz.h)
#   DEPENDS  evidence)     # modules
#
# Always: retort_NAME_fuzz, a test that tries the seeds and changes of them. With RETORT_FUZZ (Clang; preset `fuzz`) also
# retort_NAME_libfuzzer, everything instrumented (scripts/packages-lint.txt has what it needs):
#   cmake --preset fuzz && ninja -C build-fuzz retort_NAME_fuzz retort_NAME_libfuzzer
#   build-fuzz/bin/retort_NAME_fuzz --write-seeds build-fuzz/seeds/NAME
#   build-fuzz/bin/retort_NAME_libfuzzer -max_total_time=600 build-fuzz/seeds/NAME
option(RETORT_FUZZ "Build the libFuzzer targets (Clang)" OFF)
if(RETORT_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "RETORT_FUZZ needs Clang; use `cmake --preset fuzz`.")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

function(retort_fuzzer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  if(NOT BUILD_TESTING)
    return()
  endif()
  list(TRANSFORM ARG_DEPENDS PREPEND retort_)
  add_executable(retort_${name}_fuzz ${ARG_SOURCES} ${PROJECT_SOURCE_DIR}/tests/fuzz/replay.cc)
  add_test(NAME fuzz_${name} COMMAND retort_${name}_fuzz)
  set_tests_properties(fuzz_${name} PROPERTIES TIMEOUT 900 ENVIRONMENT "${retort_test_environment}")
  set(targets retort_${name}_fuzz)
  if(RETORT_FUZZ)
    add_executable(retort_${name}_libfuzzer ${ARG_SOURCES})
    target_link_options(retort_${name}_libfuzzer PRIVATE -fsanitize=fuzzer)
    list(APPEND targets retort_${name}_libfuzzer)
  endif()
  foreach(target IN LISTS targets)
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(${target} PRIVATE ${ARG_DEPENDS} retort_warnings)
  endforeach()
endfunction()
