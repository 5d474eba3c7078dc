// Runs a fuzz target without libFuzzer:
//   retort_X_fuzz                      the seeds, every truncation of them, and changes of them (RETORT_FUZZ_ROUNDS)
//   retort_X_fuzz FILE…                these inputs, as libFuzzer found them
//   retort_X_fuzz --write-seeds DIR    the seeds as files, for libFuzzer to begin from
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "base/random.h"
#include "fuzz/fuzz.h"

namespace {

void try_input(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

std::string changed(std::string input, retort::Random& random) {
  for (std::uint64_t changes = 1 + random.below(8); changes-- > 0;) {
    const auto at = static_cast<std::size_t>(random.below(input.size() + 1));
    switch (random.below(4)) {
      case 0:
        if (at < input.size()) input[at] = static_cast<char>(input[at] ^ (1 << random.below(8)));
        break;
      case 1: input.insert(at, 1 + random.below(9), static_cast<char>(random.next())); break;
      case 2: input.erase(at, 1 + random.below(9)); break;
      default: input.insert(at, input.substr(random.below(input.size() + 1), random.below(64)));
    }
  }
  return input;
}

void try_everything() {
  const std::vector<std::string> seeds = fuzz_seeds();
  retort::Random random(1);
  for (const std::string& seed : seeds) {
    const std::size_t step = 1 + seed.size() / 4096;
    for (std::size_t size = 0; size < seed.size(); size += step) try_input(seed.substr(0, size));
    try_input(seed);
  }
  const char* asked = std::getenv("RETORT_FUZZ_ROUNDS");
  for (long round = asked != nullptr ? std::atol(asked) : 5000; round-- > 0;) {
    try_input(changed(seeds[random.below(seeds.size())], random));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty()) {
    try_everything();
  } else if (arguments[0] == "--write-seeds" && arguments.size() == 2) {
    std::filesystem::create_directories(arguments[1]);
    int number = 0;
    for (const std::string& seed : fuzz_seeds()) {
      std::ofstream(std::filesystem::path(arguments[1]) / std::to_string(number++), std::ios::binary) << seed;
    }
  } else {
    for (const std::string& path : arguments) {
      std::ifstream in(path, std::ios::binary);
      std::ostringstream bytes;
      bytes << in.rdbuf();
      if (!in) {
        std::cerr << "'" << path << "' cannot be read.\n";
        return 2;
      }
      try_input(bytes.str());
    }
  }
  return 0;
}
