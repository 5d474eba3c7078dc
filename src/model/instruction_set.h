// Which of the instruction sets that kernels are compiled for this processor runs.
//
// Pure; any thread.
#pragma once

namespace retort::model {

enum class InstructionSet { kPlain, kAvx2, kAvx512 };  // each includes the ones before it

InstructionSet best_instruction_set();

}  // namespace retort::model
