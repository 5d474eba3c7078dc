// Which of the instruction sets that kernels are compiled for this processor runs.
//
// Pure; any thread.
#pragma once

#include <cstddef>

namespace retort::model {

enum class InstructionSet { kPlain, kAvx2, kAvx512 };  // each includes the ones before it

InstructionSet best_instruction_set();

// Whether AMX multiplies BF16 tiles here, beside kAvx512. The first call asks the system for their registers.
bool runs_amx_bf16();

// Of a set of kernels compiled for each: those that this processor runs, the plain one first. Returns how many.
template <class Kernels>
std::size_t variants_that_run(const Kernels& plain, const Kernels& avx2, const Kernels& avx512,
                              const Kernels* variants[3]) {
  const InstructionSet best = best_instruction_set();
  std::size_t count = 0;
  variants[count++] = &plain;
  if (best >= InstructionSet::kAvx2) variants[count++] = &avx2;
  if (best >= InstructionSet::kAvx512) variants[count++] = &avx512;
  return count;
}

}  // namespace retort::model
