// The text of this folder's *.cu files, which are compiled when the program runs (model/cuda_program.h).
#pragma once

namespace retort::train::cuda_source {

extern const char* const objective_rows;

}  // namespace retort::train::cuda_source
