#include "dataset/example.h"

#include <algorithm>
#include <utility>

namespace retort::dataset {

std::string_view name_of(Supervision supervision) {
  return supervision == Supervision::kAssistant ? "assistant" : "sampled";
}

Result<Supervision> supervision_from_name(std::string_view name) {
  for (const Supervision each : {Supervision::kAssistant, Supervision::kSampled}) {
    if (name_of(each) == name) return each;
  }
  return caller_error("train.supervise is '" + std::string(name) + "'; expected assistant or sampled.");
}

std::int64_t Example::targets() const { return std::ranges::count(supervised, std::uint8_t{1}); }

std::int64_t target_count(const Example& example, std::int64_t max_length) {
  const auto length = std::min(static_cast<std::int64_t>(example.supervised.size()), max_length);
  if (length < 2) return 0;
  return std::count_if(example.supervised.begin() + 1, example.supervised.begin() + length,
                       [](std::uint8_t supervised) { return supervised != 0; });
}

Example make_example(const Digest& id, const Exchange& exchange, Supervision supervision) {
  const TokenizedConversation& tokens = exchange.tokens;
  Example example;
  example.exchange_id = id;
  example.supervised.assign(tokens.ids.size(), 0);
  std::size_t last = 0;  // one past the last target
  for (const TokenSpan& span : tokens.spans) {
    const bool is_target = span.kind == SpanKind::kAssistant || (supervision == Supervision::kSampled && span.sampled);
    if (!is_target) continue;
    for (std::size_t i = std::max<std::size_t>(span.begin, 1); i < span.end; ++i) {
      example.supervised[i] = 1;
      last = i + 1;
    }
  }
  example.supervised.resize(last);
  example.ids.assign(tokens.ids.begin(), tokens.ids.begin() + static_cast<std::ptrdiff_t>(last));
  return example;
}

Result<std::vector<Example>> materialise(const ReadExchange& read, std::span<const Digest> ids, Supervision supervision,
                                         const std::function<void(const Exchange&)>& observe) {
  std::vector<Example> examples;
  examples.reserve(ids.size());
  Digest tokenizer;
  for (const Digest& id : ids) {
    RETORT_ASSIGN(const Exchange exchange, read(id));
    if (examples.empty()) {
      tokenizer = exchange.tokens.tokenizer_fingerprint;
    } else if (exchange.tokens.tokenizer_fingerprint != tokenizer) {
      return caller_error(
          "The exchanges " + examples.front().exchange_id.short_hex() + " and " + id.short_hex() +
          " were tokenised by different tokenizers; expected one. Collect them again with one teacher.");
    }
    if (observe) observe(exchange);
    examples.push_back(make_example(id, exchange, supervision));
  }
  return examples;
}

std::vector<MarkedText> mark(const Example& example, const Decode& decode) {
  std::vector<MarkedText> runs;
  const std::span<const TokenId> ids(example.ids);
  for (std::size_t begin = 0; begin < ids.size();) {
    std::size_t end = begin + 1;
    while (end < ids.size() && example.supervised[end] == example.supervised[begin]) ++end;
    runs.push_back({decode(ids.subspan(begin, end - begin)), example.supervised[begin] != 0});
    begin = end;
  }
  return runs;
}

std::string render_marked(const Example& example, const Decode& decode) {
  std::string text;
  for (const MarkedText& run : mark(example, decode)) text += run.supervised ? "⟦" + run.text + "⟧" : run.text;
  return text;
}

}  // namespace retort::dataset
