// Which models Retort can run and train, decided from the file alone.
//
// Pure functions over a checked File; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "gguf/file.h"

namespace retort::gguf {

// The architectures supported, as general.architecture says them, and the models they cover, for messages.
inline constexpr std::string_view kSupportedArchitectures =
    "llama (SmolLM2, Llama 2 and 3.x, Mistral, TinyLlama), qwen2 (Qwen2, Qwen2.5) or qwen3 (Qwen3, dense)";
bool is_supported_architecture(std::string_view architecture);

// Everything that must hold before weights are loaded by anyone: architecture supported; the hyper-parameters present,
// in range and consistent with each other; a vocabulary that matches the embedding; every tensor of every layer present
// with the shape the hyper-parameters imply, and no others; no experts, no adapters, no split files.
// A sliding window is let through although llama.cpp computes these architectures without: see sliding_window().
// Error (kCaller): names the architecture, key or tensor. Doesn't read weights: see File::check_finite().
Result<void> check_model(const File& file);

// Positions that a position of a checked file sees, itself included; 0: all before it. llama.cpp computes the supported
// architectures without a window, so it agrees with the file only up to that many positions.
std::int64_t sliding_window(const File& file);

// The vocabulary alone, of any architecture: its arrays are of the right types and lengths, its tokens distinct. What
// llama.cpp would abort on, or read past the end of, is refused here. Also part of check_model().
Result<void> check_vocabulary(const File& file);

}  // namespace retort::gguf
