#include "llama/log_capture.h"

#include <llama.h>

#include <string_view>

#include "base/text.h"

namespace retort::llama {
namespace {

thread_local std::string complaint;        // the last whole one
thread_local bool complaint_open = false;  // its line may be continued

void capture(ggml_log_level level, const char* text, void* /*user_data*/) {
  // Runs inside C code: must not throw.
  try {
    const std::string_view piece = text == nullptr ? std::string_view() : std::string_view(text);
    if (level == GGML_LOG_LEVEL_ERROR || level == GGML_LOG_LEVEL_WARN) {
      complaint = piece;
      complaint_open = true;
    } else if (level == GGML_LOG_LEVEL_CONT && complaint_open) {
      complaint += piece;
    } else {
      complaint_open = false;
    }
  } catch (...) {
    complaint_open = false;
  }
}

}  // namespace

void install_log_capture() {
  llama_log_set(&capture, nullptr);
  clear_complaint();
}

void clear_complaint() {
  complaint.clear();
  complaint_open = false;
}

std::string last_complaint() { return std::string(trim(complaint)); }

}  // namespace retort::llama
