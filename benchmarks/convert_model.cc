// A copy of a model file in another type, for benchmarks that give both sides the same file: convert_model MODEL TYPE
// TARGET
#include <iostream>

#include "gguf/file.h"
#include "gguf/writer.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: convert_model MODEL TYPE TARGET\n";
    return 2;
  }
  const auto type = retort::gguf::tensor_type_from_name(argv[2]);
  const auto file = retort::gguf::File::open(argv[1]);
  if (!type || !file) {
    std::cerr << (type ? file.error().message : type.error().message) << '\n';
    return 2;
  }
  const auto written = retort::gguf::convert(*file, *type, argv[3]);
  if (!written) {
    std::cerr << written.error().message << '\n';
    return retort::exit_code(written.error().fault);
  }
  return 0;
}
