// The text of this folder's *.cu files, which are compiled when the program runs (model/cuda_program.h).
#pragma once

namespace retort::model::cuda_source {

extern const char* const row_kernels;

}  // namespace retort::model::cuda_source
