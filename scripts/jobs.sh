#!/bin/sh
# How many compilers may run at once: a file that includes libtorch takes up to 2 GB.
cores=$(nproc 2>/dev/null || echo 1)
memory_kib=$(awk '/^MemTotal:/ {print $2}' /proc/meminfo 2>/dev/null || echo 2097152)
jobs=$((memory_kib / 2097152))
[ "$jobs" -ge 1 ] || jobs=1
[ "$jobs" -le "$cores" ] || jobs=$cores
echo "$jobs"
