# retort_module(NAME
#   SOURCES   a.cc b.cc              # explicit; relative to the module's folder
#   TESTS     a_test.cc              # become the test program retort_NAME_test, one ctest entry
#   DEPENDS   base exchange          # other modules: their headers may be included; checked by tests/house
#   PUBLIC    Some::library          # third-party libraries that appear in the module's headers
#   PRIVATE   Other::library         # third-party libraries that do not
#   TEST_DEPENDS  gguf               # modules only the tests use
#   TORCH)                           # the module includes libtorch (precompiled headers, own warnings)
#
# Every module is a static library retort_NAME. The declared edges are written to <build>/modules.txt as lines
# "NAME: modules | modules of the tests", which tests/house/modules_test.py compares with the #include lines.
set_property(GLOBAL PROPERTY RETORT_MODULE_EDGES "")

# libtorch and llama.cpp are built without the sanitizers: containers that cross the border, and memory that they keep
# for the life of the process, are not mistakes.
set(retort_test_environment "")
if(RETORT_SANITIZE)
  set(retort_test_environment
      "ASAN_OPTIONS=detect_container_overflow=0"
      "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/cmake/sanitizers/lsan.supp:print_suppressions=0"
      "UBSAN_OPTIONS=print_stacktrace=1"
      "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/cmake/sanitizers/tsan.supp:ignore_noninstrumented_modules=1")
endif()

function(retort_module name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;TESTS;DEPENDS;PUBLIC;PRIVATE;TEST_DEPENDS" ${ARGN})
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "retort_module(${name}): unknown arguments ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  set(target retort_${name})
  add_library(${target} STATIC ${ARG_SOURCES})
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  list(TRANSFORM ARG_DEPENDS PREPEND retort_ OUTPUT_VARIABLE modules)
  target_link_libraries(${target} PUBLIC ${modules} ${ARG_PUBLIC} PRIVATE retort_warnings ${ARG_PRIVATE})
  if(ARG_TORCH)
    target_link_libraries(${target} PUBLIC Retort::torch)
    target_precompile_headers(${target} REUSE_FROM retort_torch_headers)
  endif()
  list(JOIN ARG_DEPENDS " " uses)
  list(JOIN ARG_TEST_DEPENDS " " test_uses)
  set_property(GLOBAL APPEND PROPERTY RETORT_MODULE_EDGES "${name}: ${uses} | ${test_uses}")

  if(ARG_TESTS AND BUILD_TESTING)
    set(test retort_${name}_test)
    add_executable(${test} ${ARG_TESTS})
    list(TRANSFORM ARG_TEST_DEPENDS PREPEND retort_ OUTPUT_VARIABLE test_modules)
    target_link_libraries(${test} PRIVATE ${target} ${test_modules} retort_warnings GTest::gmock GTest::gtest_main)
    target_compile_definitions(${test} PRIVATE RETORT_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                               RETORT_MODELS_DIR="${RETORT_CACHE_DIR}/models")
    if(ARG_TORCH)
      target_precompile_headers(${test} REUSE_FROM retort_torch_headers)
      # A precompiled header is only taken by code of its own kind: -fPIC, where CMake gives programs -fPIE.
      set_target_properties(${test} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
      target_compile_options(${test} PRIVATE -fPIC)
    endif()
    add_test(NAME ${name} COMMAND ${test})
    set_tests_properties(${name} PROPERTIES TIMEOUT 900 ENVIRONMENT "${retort_test_environment};OMP_WAIT_POLICY=passive")
  endif()
endfunction()

# retort_kernels(NAME [amx]): NAME_plain.cc, NAME_avx2.cc and NAME_avx512.cc of this folder are one body for three
# instruction sets, chosen when the program runs; NAME_amx.cc is another for AMX, beside AVX-512. Contraction and the
# errno-free square root are what lets the compiler vectorise them; no header of the standard library with code in it is
# included there.
function(retort_kernels name)
  set(options -O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math -Wno-psabi)
  set(instructions_plain)
  set(instructions_avx2 -mavx2 -mfma)
  set(instructions_avx512 -march=x86-64-v4 -mprefer-vector-width=512)
  set(instructions_amx ${instructions_avx512} -mamx-tile -mamx-bf16)
  foreach(variant plain avx2 avx512 ${ARGN})
    set_source_files_properties(${name}_${variant}.cc PROPERTIES SKIP_PRECOMPILE_HEADERS ON
                                COMPILE_OPTIONS "${options};${instructions_${variant}}")
  endforeach()
endfunction()

# retort_cuda_sources(MODULE a.cu …): <folder of the build>/cuda_sources.cc, which defines retort::MODULE::cuda_source::a
# as the text of a.cu. Nothing is compiled for a GPU before the program runs there.
function(retort_cuda_sources module)
  set(definitions "")
  foreach(file ${ARGN})
    get_filename_component(name ${file} NAME_WE)
    file(READ ${CMAKE_CURRENT_SOURCE_DIR}/${file} text)
    string(APPEND definitions "const char* const ${name} = R\"cuda(${text})cuda\";\n")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  endforeach()
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/cuda_sources.cc @ONLY CONTENT
"#include \"${module}/cuda_sources.h\"
namespace retort::${module}::cuda_source {
@definitions@}
")
endfunction()

function(retort_write_module_edges)
  get_property(edges GLOBAL PROPERTY RETORT_MODULE_EDGES)
  list(JOIN edges "\n" text)
  file(WRITE ${PROJECT_BINARY_DIR}/modules.txt "${text}\n")
endfunction()
