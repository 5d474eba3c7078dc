# Retort::torch: libtorch's CPU libraries and headers, without TorchConfig (which demands a CUDA toolkit for a CUDA wheel).
#
# Sought in this order: -DRETORT_TORCH_DIR=<folder that holds lib/libtorch_cpu.so>, the part that `make setup` unpacked
# into the cache, the torch package of `python3`.
set(RETORT_TORCH_DIR "" CACHE PATH "Folder of libtorch (holds include/ and lib/)")
if(DEFINED ENV{RETORT_TORCH_DIR})  # said anew, also for a build folder that is there already
  set(RETORT_TORCH_DIR "$ENV{RETORT_TORCH_DIR}" CACHE PATH "Folder of libtorch (holds include/ and lib/)" FORCE)
endif()
set(torch_dir "${RETORT_TORCH_DIR}")
if(NOT torch_dir)
  retort_part_path(torch torch_part)
  if(EXISTS "${torch_part}/torch/lib/libtorch_cpu.so")
    set(torch_dir "${torch_part}/torch")
  endif()
endif()
if(NOT torch_dir)
  execute_process(COMMAND python3 -c "import torch, os; print(os.path.dirname(torch.__file__))"
                  OUTPUT_VARIABLE torch_dir OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT EXISTS "${torch_dir}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "libtorch was not found (looked for lib/libtorch_cpu.so in '${torch_dir}'). "
                      "Run `make setup`, or pass -DRETORT_TORCH_DIR=<folder of libtorch>.")
endif()
set(torch_version_file "${torch_dir}/include/torch/headeronly/version.h")
if(NOT EXISTS "${torch_version_file}")
  set(torch_version_file "${torch_dir}/include/torch/csrc/api/include/torch/version.h")
endif()
file(STRINGS "${torch_version_file}" torch_version_lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX REPLACE "[^0-9]*([0-9]+)[^0-9]+([0-9]+)[^0-9]+([0-9]+).*" "\\1.\\2.\\3" RETORT_TORCH_VERSION "${torch_version_lines}")
if(RETORT_TORCH_VERSION VERSION_LESS 2.6)
  message(FATAL_ERROR "libtorch ${RETORT_TORCH_VERSION} in '${torch_dir}' is too old: 2.6 or later is needed. "
                      "Run `make setup`, which fetches the tested one, or pass -DRETORT_TORCH_DIR=<folder of libtorch>.")
endif()
set(RETORT_TORCH_PATH "${torch_dir}")

add_library(retort_torch INTERFACE)
add_library(Retort::torch ALIAS retort_torch)
target_include_directories(retort_torch SYSTEM INTERFACE "${torch_dir}/include"
                           "${torch_dir}/include/torch/csrc/api/include")
# libtorch_cpu of a CUDA wheel itself needs these two; RUNPATH is not searched for a library's own needs, so they are
# linked by name.
set(torch_cuda_libraries "")
file(GLOB torch_cuda_libraries "${torch_dir}/../nvidia/cu*/lib/libcudart.so.*" "${torch_dir}/../nvidia/cu*/lib/libcupti.so.*"
     "${torch_dir}/../nvidia/cuda_*/lib/libcudart.so.*" "${torch_dir}/../nvidia/cuda_*/lib/libcupti.so.*")
set(torch_link "${torch_dir}/lib/libtorch.so" "${torch_dir}/lib/libtorch_cpu.so" "${torch_dir}/lib/libc10.so")
# Its threads are GNU OpenMP's, which model/parallel.h uses too: the very library, or there would be two sets of threads.
find_library(torch_gomp NAMES libgomp.so.1 gomp HINTS "${torch_dir}/lib" NO_CACHE REQUIRED)
target_link_libraries(retort_torch INTERFACE -Wl,--no-as-needed ${torch_cuda_libraries} ${torch_dir}/lib/libtorch_cpu.so
                      ${torch_dir}/lib/libc10.so ${torch_gomp} -Wl,--as-needed)
set(torch_rpath "${torch_dir}/lib")
foreach(library IN LISTS torch_cuda_libraries)
  get_filename_component(folder "${library}" DIRECTORY)
  list(APPEND torch_rpath "${folder}")
endforeach()
list(REMOVE_DUPLICATES torch_rpath)
list(JOIN torch_rpath ":" torch_rpath_text)
target_link_options(retort_torch INTERFACE "-Wl,--disable-new-dtags" "-Wl,-rpath,${torch_rpath_text}")
message(STATUS "libtorch ${RETORT_TORCH_VERSION}: ${torch_dir}")

# libtorch's headers take 7-22 s a file: one precompiled header serves every module that includes them.
add_library(retort_torch_headers STATIC ${PROJECT_SOURCE_DIR}/cmake/torch_headers.cc)
target_link_libraries(retort_torch_headers PUBLIC Retort::torch PRIVATE retort_warnings)
target_precompile_headers(retort_torch_headers PUBLIC <torch/torch.h>)
