# Retort::allocator: gperftools' tcmalloc (docs/decisions/0025), which takes the C library's place in every program that
# links it. Empty with sanitizers, which bring their own. As an archive where there is one: programs then need no package.
add_library(retort_allocator INTERFACE)
add_library(Retort::allocator ALIAS retort_allocator)
if(NOT RETORT_SANITIZE)
  find_path(RETORT_TCMALLOC_INCLUDE gperftools/malloc_extension_c.h)
  find_library(RETORT_TCMALLOC_LIBRARY NAMES libtcmalloc_minimal.a tcmalloc_minimal)
  if(NOT RETORT_TCMALLOC_INCLUDE OR NOT RETORT_TCMALLOC_LIBRARY)
    message(FATAL_ERROR "gperftools' tcmalloc was not found (gperftools/malloc_extension_c.h and libtcmalloc_minimal). "
                        "Run `make setup`, or install libgoogle-perftools-dev (Debian) or gperftools-devel (Fedora).")
  endif()
  target_include_directories(retort_allocator SYSTEM INTERFACE "${RETORT_TCMALLOC_INCLUDE}")
  target_link_libraries(retort_allocator INTERFACE "${RETORT_TCMALLOC_LIBRARY}" Threads::Threads)
  target_compile_definitions(retort_allocator INTERFACE RETORT_TCMALLOC)
endif()
