// What a fuzz target (x_fuzz.cc beside the parser x.cc) defines. cmake/RetortFuzz.cmake builds it twice: with libFuzzer
// where that was asked for (preset `fuzz`), and always as an ordinary test that tries the seeds, their truncations and
// many changes of them (replay.cc).
//
// A target takes any bytes, never fails, and stops the process (RETORT_CHECK) where something that must hold does not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size);

// Inputs that get far: whole and valid ones.
std::vector<std::string> fuzz_seeds();
