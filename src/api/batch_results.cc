#include "api/batch_results.h"

#include <simdjson.h>

#include <algorithm>

#include "api/json_dom.h"

namespace retort::api {
namespace {

constexpr std::size_t kMostLine = 64 << 20;
// More than any batch uses; products with prices fit.
constexpr std::int64_t kMostTokensOfBatch = 1'000'000'000'000;

bool is_plausible(const Usage& usage) {
  return std::max({usage.input, usage.cached, usage.cache_written, usage.output, usage.reasoning}) <=
         kMostTokensOfBatch;
}

// https://platform.openai.com/docs/api-reference/batch/object
std::optional<BatchState> openai_state(Element batch) {
  BatchState state;
  state.id = text_at(batch, "id");
  const std::string_view status = text_at(batch, "status");
  state.ended = status == "completed" || status == "failed" || status == "expired" || status == "cancelled";
  state.output_file = text_at(batch, "output_file_id");
  if (!state.ended) return state;
  Usage usage;
  usage.reported = true;
  if (const auto told = part(batch, "usage"); is_object(told)) {
    usage.input = count_at(*told, "input_tokens");
    usage.output = count_at(*told, "output_tokens");
    if (const auto details = part(*told, "input_tokens_details")) usage.cached = count_at(*details, "cached_tokens");
    if (const auto details = part(*told, "output_tokens_details")) {
      usage.reasoning = count_at(*details, "reasoning_tokens");
    }
  }
  const auto counts = part(batch, "request_counts");
  const bool none =
      state.output_file.empty() && (is_object(counts) ? count_at(*counts, "completed") == 0 : status == "failed");
  // Zeros beside answers: this provider doesn't count here.
  if (is_plausible(usage) && (usage.input + usage.output > 0 || none)) state.usage = usage;
  return state;
}

// https://docs.anthropic.com/en/api/retrieving-message-batches: usage stands in the results alone, and what was
// errored, canceled or expired isn't billed.
std::optional<BatchState> anthropic_state(Element batch) {
  BatchState state;
  state.id = text_at(batch, "id");
  state.ended = text_at(batch, "processing_status") == "ended";
  const auto counts = part(batch, "request_counts");
  if (state.ended && is_object(counts) && part(*counts, "succeeded") && count_at(*counts, "succeeded") == 0) {
    state.usage.emplace().reported = true;
  }
  return state;
}

std::optional<BatchState> state_of(Element batch) {
  if (text_at(batch, "id").empty()) return std::nullopt;
  if (text_at(batch, "object") == "batch") return openai_state(batch);
  if (text_at(batch, "type") == "message_batch") return anthropic_state(batch);
  return std::nullopt;
}

}  // namespace

std::vector<BatchState> read_batch_states(std::string_view body, JsonReader& reader) {
  std::vector<BatchState> states;
  Element root;
  if (reader.inside().read(body, root) != simdjson::SUCCESS) return states;
  if (auto state = state_of(root)) {
    states.push_back(std::move(*state));
    return states;
  }
  each(part(root, "data"), [&](Element one) {
    if (auto state = state_of(one)) states.push_back(std::move(*state));
  });
  return states;
}

void ResultUsage::feed(std::string_view piece) {
  while (known_ && !piece.empty()) {
    const std::size_t end = piece.find('\n');
    line_ += piece.substr(0, end);
    if (line_.size() > kMostLine) {
      known_ = false;
      line_ = {};
    }
    if (end == std::string_view::npos) return;
    piece.remove_prefix(end + 1);
    count(line_);
    line_.clear();
  }
}

std::optional<Usage> ResultUsage::total() {
  count(line_);
  line_.clear();
  if (!known_) return std::nullopt;
  sum_.reported = true;
  return sum_;
}

void ResultUsage::count(std::string_view line) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return;
  Element root;
  if (reader_->inside().read(line, root) != simdjson::SUCCESS) {
    known_ = false;
    return;
  }
  // {"response":{"status_code","body"}} of OpenAI, {"result":{"message"}} of Anthropic; whatever else wasn't answered.
  Operation operation = Operation::kMessages;
  std::optional<Element> found;
  if (const auto response = part(root, "response"); is_object(response)) {
    if (count_at(*response, "status_code") < 300) found = part(*response, "body");
    if (is_object(found))
      operation = text_at(*found, "object") == "response" ? Operation::kResponses : Operation::kChat;
  } else if (const auto result = part(root, "result"); is_object(result)) {
    found = part(*result, "message");
  }
  if (!is_object(found)) return;
  // A copy: the tree is gone once the reader reads again.
  const std::string body = simdjson::minify(*found);
  AnswerStream answer(operation, 0, {}, reader_);
  static_cast<void>(answer.whole(body));
  const AnswerFacts facts = answer.facts();
  if (facts.failed) return;
  if (!facts.usage.reported || !is_plausible(facts.usage)) {
    known_ = false;
    return;
  }
  sum_.input += facts.usage.input;
  sum_.cached += facts.usage.cached;
  sum_.cache_written += facts.usage.cache_written;
  sum_.output += facts.usage.output;
  sum_.reasoning += facts.usage.reasoning;
  known_ = is_plausible(sum_);
}

}  // namespace retort::api
