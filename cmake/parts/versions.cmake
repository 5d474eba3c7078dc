# The versions of parts that the build looks for in the cache; their digests stand in scripts/parts.lock.
set(RETORT_TORCH_VERSION 2.11.0)
set(RETORT_LLAMA_VERSION 0.3.36)
