// Which models Retort can run and train, decided from the file alone.
//
// Pure functions over a checked File; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "gguf/file.h"

namespace retort::gguf {

// The architectures supported, as general.architecture says them. "llama" covers SmolLM2, Llama 2 and 3.x, Mistral and
// TinyLlama files.
bool is_supported_architecture(std::string_view architecture);

// Everything that must hold before weights are loaded by anyone: architecture supported; the hyper-parameters present,
// in range and consistent with each other; a vocabulary that matches the embedding; every tensor of every layer present
// with the shape the hyper-parameters imply, and no others; no experts, no adapters, no split files.
// Error (kCaller): names the architecture, key or tensor. Doesn't read weights: see File::check_finite().
Result<void> check_model(const File& file);

// The vocabulary alone, of any architecture: its arrays are of the right types and lengths, its tokens distinct. What
// llama.cpp would abort on, or read past the end of, is refused here. Also part of check_model().
Result<void> check_vocabulary(const File& file);

}  // namespace retort::gguf
