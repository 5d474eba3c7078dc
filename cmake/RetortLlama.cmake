# Retort::llama (llama.cpp and ggml) and Retort::jinja (llama.cpp's chat template engine), from the prefix that
# `make setup` built in the cache, or from -DRETORT_LLAMA_DIR=<prefix made by cmake/parts/llama>.
set(RETORT_LLAMA_DIR "$ENV{RETORT_LLAMA_DIR}" CACHE PATH "Prefix of llama.cpp as cmake/parts/llama installs it")
set(llama_dir "${RETORT_LLAMA_DIR}")
if(NOT llama_dir)
  retort_part_path(llama.cpp llama_dir)
endif()
if(NOT EXISTS "${llama_dir}/lib/libllama.a")
  message(FATAL_ERROR "llama.cpp was not found (looked for lib/libllama.a in '${llama_dir}'). "
                      "Run `make setup`, or pass -DRETORT_LLAMA_DIR=<prefix>.")
endif()
find_package(Threads REQUIRED)
add_library(retort_llama_part INTERFACE)
add_library(Retort::llama ALIAS retort_llama_part)
target_include_directories(retort_llama_part SYSTEM INTERFACE "${llama_dir}/include")
target_link_libraries(retort_llama_part INTERFACE "${llama_dir}/lib/libllama.a" "${llama_dir}/lib/libggml.a"
                      "${llama_dir}/lib/libggml-cpu.a" "${llama_dir}/lib/libggml-base.a" Threads::Threads ${CMAKE_DL_LIBS} m)
add_library(retort_jinja_part INTERFACE)
add_library(Retort::jinja ALIAS retort_jinja_part)
target_include_directories(retort_jinja_part SYSTEM INTERFACE "${llama_dir}/include/llama-common")
target_link_libraries(retort_jinja_part INTERFACE "${llama_dir}/lib/libretort_jinja.a" Retort::llama)
message(STATUS "llama.cpp: ${llama_dir}")
