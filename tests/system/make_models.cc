// Writes the model files that the whole-system tests use: `make_models FOLDER`.
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <string>

#include "base/files.h"
#include "gguf/file.h"
#include "gguf/testing.h"

namespace {

using retort::Result;
using retort::gguf::testing::TinyModelOptions;
using retort::gguf::testing::write_tiny_model;

// Overwrites the first weight of a matrix by NaN: no writer of ours would.
Result<void> put_nan(const std::filesystem::path& path) {
  std::uint64_t offset = 0;
  {
    RETORT_ASSIGN(const retort::gguf::File file, retort::gguf::File::open(path));
    offset = file.tensors().back().offset;
  }
  std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  char bytes[sizeof(nan)];
  std::memcpy(bytes, &nan, sizeof(nan));
  stream.seekp(static_cast<std::streamoff>(offset));
  stream.write(bytes, sizeof(bytes));
  if (!stream) return retort::world_error("could not patch " + path.string());
  return {};
}

Result<void> write_all(const std::filesystem::path& folder) {
  RETORT_TRY(retort::make_folder(folder));
  TinyModelOptions options;
  options.layers = 3;
  RETORT_TRY(write_tiny_model(folder / "tiny.gguf", options));

  TinyModelOptions long_context = options;
  long_context.context = 2048;
  RETORT_TRY(write_tiny_model(folder / "long_context.gguf", long_context));

  TinyModelOptions without_template = options;
  without_template.chat_template = false;
  RETORT_TRY(write_tiny_model(folder / "no_template.gguf", without_template));

  TinyModelOptions other = options;
  other.architecture = "mamba";
  RETORT_TRY(write_tiny_model(folder / "mamba.gguf", other));

  TinyModelOptions other_weights = options;
  other_weights.layers = 2;
  other_weights.seed = 2;
  RETORT_TRY(write_tiny_model(folder / "other_weights.gguf", other_weights));

  TinyModelOptions unlicensed = options;
  unlicensed.license = "";
  RETORT_TRY(write_tiny_model(folder / "no_licence.gguf", unlicensed));

  for (const char* licence : {"llama3", "llama3.1", "acme-1"}) {
    TinyModelOptions licensed = options;
    licensed.license = licence;
    RETORT_TRY(write_tiny_model(folder / (std::string("under_") + licence + ".gguf"), licensed));
  }

  RETORT_TRY(write_tiny_model(folder / "nan.gguf", options));
  RETORT_TRY(put_nan(folder / "nan.gguf"));

  RETORT_ASSIGN(const std::string whole, retort::read_file(folder / "tiny.gguf"));
  RETORT_TRY(retort::write_file(folder / "truncated.gguf", whole.substr(0, whole.size() / 2)));
  std::string other_tokenizer = whole;
  other_tokenizer.replace(whole.find("endoftext"), 9, "endoftalk");
  RETORT_TRY(retort::write_file(folder / "other_tokenizer.gguf", other_tokenizer));
  std::string corrupt = whole;
  for (std::size_t i = 8; i < 24; ++i) corrupt[i] = '\x7f';  // the counts of tensors and keys
  RETORT_TRY(retort::write_file(folder / "corrupt.gguf", corrupt));
  return retort::write_file(folder / "text.gguf", "This is not a model.\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_models FOLDER\n";
    return 2;
  }
  const Result<void> written = write_all(argv[1]);
  if (!written) {
    std::cerr << "make_models: " << written.error().message << '\n';
    return 1;
  }
  return 0;
}
