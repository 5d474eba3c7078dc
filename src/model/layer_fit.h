// What cutting took from a student, given back in closed form before it is trained: ffn_down of each layer is fitted so
// that the layer gives what the teacher's layers gave in its place.
//
// Of a layer that stands for the teacher's layers up to b, with s what it gives, z its activated channels (what goes
// into ffn_down) and t what went into the teacher's layer b + 1, the fit adds to ffn_down the D that makes
//     sum over tokens of |s + D z - t|^2 / |t|^2, plus ridge * mean(diag G) * |D|^2,   G = sum of z z' / |t|^2
// smallest (ridge regression; the error is that of train/hidden_states.h). Layers are fitted from the first to the
// last, each on what the fitted ones before it give: what one leaves over the next makes good. Merging a linear map
// into the layer before a gap is ReplaceMe's idea (arXiv 2505.02819); fitting every layer, where it stands, is ours.
//
// Deterministic on one machine. Sums over tokens are FP32 within 16,384 of them and FP64 beyond; solved in FP64.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/json_fwd.h"
#include "base/progress.h"
#include "model/decoder.h"
#include "model/packed_text.h"

namespace retort::model {

struct LayerFitOptions {
  std::int64_t max_tokens = 32768;  // of the sequences, at most
  double ridge = 0.1;
};

// Means over tokens of |s - t|^2 / |t|^2.
struct FittedLayer {
  double error_before = 0;  // as it is, behind layers that were fitted
  double error_after = 0;
};

struct LayerFit {
  std::vector<FittedLayer> layers;  // the student's; one that was exact is left alone, with errors of 0 or nearly so
  std::int64_t tokens = 0;
  // KL(teacher || student) in nats on text that it wasn't fitted on, where the caller has measured it.
  std::optional<double> kl_before, kl_after;
};

// Changes `student`, FP32 and a cut of `teacher` as wide as it, in place; computes in the teacher's type and place.
// Error (kCaller): no cut of this teacher, no sequences; kWorld: a layer whose sums aren't finite; kInterrupted when
// stopped, the student then half fitted.
Result<LayerFit> fit_layers(const Decoder& teacher, Decoder& student, std::span<const MeasuredSequence> sequences,
                            const LayerFitOptions& options, Progress& progress, std::stop_token stop);

// What the machine reaches in the parts of a fit, in floating-point operations a second.
struct LayerFitRates {
  double reading = 0;  // of both models' layers
  double sums = 0;     // products over tokens, and what adding them up takes
  double solving = 0;
};
// The last two, measured for some tenths of a second on layers no wider than 2,048 channels. `reading` is left at 0.
LayerFitRates measure_layer_fit(const DecoderConfig& student, ComputeType compute, Backend backend, const Clock& clock);
// Seconds of fit_layers(), for those who plan: about, attention and norms left out.
double layer_fit_seconds(const DecoderConfig& teacher, const DecoderConfig& student, std::int64_t tokens,
                         const LayerFitRates& rates);
// Bytes it holds at its peak, besides teacher and student.
std::int64_t layer_fit_bytes(const DecoderConfig& student, std::int64_t tokens, ComputeType compute);

Json to_json(const LayerFit& fit);

}  // namespace retort::model
