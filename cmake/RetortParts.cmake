# retort_part_path(NAME OUT): where scripts/parts.lock's part NAME is, or would be, in the cache.
#
# Asked of scripts/parts.py, so that versions and the key of native builds are said once.
find_program(RETORT_PYTHON python3)
set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
             ${PROJECT_SOURCE_DIR}/scripts/parts.lock ${PROJECT_SOURCE_DIR}/cmake/parts/llama/CMakeLists.txt)

function(retort_part_path name out)
  set(path "")
  if(RETORT_PYTHON)
    execute_process(COMMAND ${CMAKE_COMMAND} -E env "RETORT_CACHE=${RETORT_CACHE_DIR}"
                            ${RETORT_PYTHON} -B ${PROJECT_SOURCE_DIR}/scripts/parts.py path ${name}
                    OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE)
  endif()
  set(${out} "${path}" PARENT_SCOPE)
endfunction()
