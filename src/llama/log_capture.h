// Keeps llama.cpp quiet and remembers what it complained about.
//
// llama.cpp has one log callback per process; install() sets it (any number of times, any thread). The last complaint
// is remembered per thread: ask on the thread that made the failing call.
#pragma once

#include <string>

namespace retort::llama {

void install_log_capture();
void clear_complaint();
// The last error or warning said on this thread since clear_complaint(), as one line; empty: none.
std::string last_complaint();

}  // namespace retort::llama
