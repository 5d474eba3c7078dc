#include "train/cached_signal.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>

#include "base/random.h"
#include "base/text.h"
#include "dataset/signal_writer.h"
#include "model/decoder.h"
#include "model/parallel.h"
#include "train/batch.h"
#include "train/signal_tensors.h"
#include "train/step_plan.h"

namespace retort::train {
namespace {

// One example a row, in the examples' order: what a row of the file belongs to doesn't depend on packing.
std::vector<dataset::PackedRow> one_row_each(std::span<const dataset::Example> examples, std::int64_t max_length) {
  std::vector<dataset::PackedRow> rows;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    if (dataset::target_count(examples[i], max_length) == 0) continue;
    dataset::PackOptions pack;
    pack.max_length = static_cast<std::size_t>(max_length);
    rows.push_back(std::move(dataset::pack(examples.subspan(i, 1), pack).rows.front()));
    rows.back().examples.front() = static_cast<std::uint32_t>(i);
  }
  return rows;
}

// Rows [first, first + logits.size(0)) of the file from the teacher's logits.
std::vector<dataset::SignalRow> score(const at::Tensor& logits, std::int64_t first, const dataset::SignalHeader& header,
                                      bool& finite) {
  const at::Tensor scaled = logits.to(at::kFloat) / header.temperature;
  at::Tensor log_z = at::logsumexp(scaled, 1);
  const at::Tensor log_p = (scaled - log_z.unsqueeze(1));
  at::Tensor p = log_p.exp();
  // 0 log 0 = 0, where a logit is -inf.
  at::Tensor entropy = -(p * log_p.clamp_min(-1e4)).sum(1);
  if (!logits.is_cpu()) {
    finite = (log_z.isfinite() & entropy.isfinite()).all().item<bool>();
    if (!finite) return std::vector<dataset::SignalRow>(static_cast<std::size_t>(p.size(0)));
    return signal_rows_by_tensors(p, log_z, entropy, first, header);
  }
  for (at::Tensor* rows_here : {&log_z, &p, &entropy}) *rows_here = rows_here->cpu().contiguous();
  const float* probabilities = p.const_data_ptr<float>();
  const float* log_zs = log_z.const_data_ptr<float>();
  const float* entropies = entropy.const_data_ptr<float>();
  const auto columns = static_cast<std::size_t>(p.size(1));
  std::vector<dataset::SignalRow> rows(static_cast<std::size_t>(p.size(0)));
  std::atomic<bool> all_finite = true;
  model::parallel_for(0, p.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const std::span<const float> row(probabilities + at * columns, columns);
      if (!std::isfinite(log_zs[at]) || !std::isfinite(entropies[at])) {
        all_finite = false;
        continue;
      }
      const auto slots = static_cast<std::size_t>(header.slots);
      rows[at].log_z = log_zs[at];
      rows[at].entropy = entropies[at];
      if (header.kind == dataset::SignalKind::kTopK) {
        rows[at].slots = dataset::top_slots(row, slots);
      } else {
        Random random(derive_seed(header.seed, "signal", static_cast<std::uint64_t>(first + i)));
        rows[at].slots = dataset::draw_slots(row, slots, random);
      }
    }
  });
  finite = all_finite;
  return rows;
}

}  // namespace

CachedSignal::CachedSignal(const dataset::SignalFile* file, std::span<const dataset::Example> examples,
                           std::int64_t max_length)
    : file_(file) {
  std::int64_t rows = 0;
  for (const dataset::Example& example : examples) {
    begins_.push_back(rows);
    rows += dataset::target_count(example, max_length);
  }
  RETORT_CHECK(file == nullptr || file->header().rows == rows);
}

SparseSignal CachedSignal::find(std::span<const dataset::PackedRow> rows) const {
  SparseSignal signal;
  if (file_ == nullptr) return signal;
  signal.slots = static_cast<std::size_t>(file_->header().slots);
  signal.bucket = dataset::has_bucket(file_->header().kind);
  for (const dataset::PackedRow& row : rows) {
    // Documents stand in a row one after the other; a document's targets are its example's first ones.
    std::int32_t document = dataset::kNoDocument;
    std::int64_t place = 0;
    for (std::int32_t i = 0; i < row.used; ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (row.document[at] != document) {
        document = row.document[at];
        place = begins_[row.examples[static_cast<std::size_t>(document)]];
      }
      if (row.labels[at] == dataset::kNoLabel) continue;
      const dataset::SignalRow kept = file_->row(place++);
      signal.entropies.push_back(kept.entropy);
      for (const dataset::SignalSlot& slot : kept.slots) {
        signal.ids.push_back(slot.id);
        signal.weights.push_back(slot.weight);
      }
    }
  }
  return signal;
}

dataset::SignalHeader signal_header(std::span<const dataset::Example> examples, const TrainOptions& options,
                                    dataset::SignalKind kind, std::int64_t vocabulary) {
  dataset::SignalHeader header;
  header.kind = kind;
  header.slots = kind == dataset::SignalKind::kTopK ? options.signal_top_k : options.signal_draws;
  // A bucket of the rest needs a token in it.
  header.slots = std::min(header.slots, vocabulary - (dataset::has_bucket(kind) ? 1 : 0));
  header.vocabulary = vocabulary;
  for (const dataset::Example& example : examples) {
    header.rows += dataset::target_count(example, options.max_length);
  }
  header.temperature = options.temperature;
  header.seed = derive_seed(static_cast<std::uint64_t>(options.seed), "train.signal");
  header.examples = dataset::examples_digest(examples, options.max_length);
  return header;
}

Result<void> write_signal(const model::Decoder& teacher, std::span<const dataset::Example> examples,
                          const TrainOptions& options, const dataset::SignalHeader& header,
                          const std::filesystem::path& path, Progress& progress, std::stop_token stop) {
  RETORT_ASSIGN(dataset::SignalWriter writer, dataset::SignalWriter::open(path, header));
  if (writer.rows() > 0) {
    progress.note("The teacher's signal goes on after " + human_count(writer.rows()) + " of " +
                  human_count(header.rows) + " tokens.");
  }
  try {
    const torch::NoGradGuard no_gradient;
    const std::vector<dataset::PackedRow> rows = one_row_each(examples, options.max_length);
    progress.begin("signal", static_cast<double>(header.rows), "tokens");
    std::int64_t first = 0;  // row of the file
    for (const auto micro_batch : micro_batches(rows, options.micro_batch_tokens)) {
      std::int64_t count = 0;
      for (const dataset::PackedRow& row : micro_batch) count += row.targets;
      const std::int64_t end = first + count;
      if (end <= writer.rows()) {
        first = end;
        continue;
      }
      if (stop.stop_requested()) {
        progress.end("stopped after " + human_count(writer.rows()) + " tokens");
        return interrupted("The teacher's signal was stopped after " + human_count(writer.rows()) +
                           " tokens; the same command goes on.");
      }
      const Batch batch = make_batch(micro_batch);
      const at::Tensor hidden = at_supervised(teacher.forward(batch.tokens).flatten(0, 1), batch);
      for (std::int64_t begin = 0; begin < count; begin += options.head_rows) {
        const std::int64_t chunk = std::min(options.head_rows, count - begin);
        bool finite = true;
        const auto scored =
            score(at::mm(hidden.narrow(0, begin, chunk), teacher.head_weight().t()), first + begin, header, finite);
        if (!finite)
          return world_error(
              "The teacher logits hold NaN or infinity. Check the teacher's file, or set train.compute to fp32.");
        for (std::int64_t i = 0; i < chunk; ++i) {
          if (first + begin + i < writer.rows()) continue;  // there already
          RETORT_TRY(writer.append(scored[static_cast<std::size_t>(i)]));
        }
      }
      first = end;
      progress.advance(static_cast<double>(first), "");
    }
    RETORT_TRY(writer.commit());
    progress.end(human_count(header.rows) + " tokens, " + std::to_string(header.row_bytes()) + " bytes each");
    return {};
  } catch (const std::bad_alloc&) {
    return world_error("There is not enough memory to score. Lower train.micro_batch_tokens or train.head_rows.");
  } catch (const c10::Error& error) {
    return world_error("The teacher's signal could not be computed: " + std::string(error.what_without_backtrace()));
  }
}

}  // namespace retort::train
