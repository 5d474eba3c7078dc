#include "serve/answer.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "base/random.h"
#include "net/sse.h"
#include "serve/logprobs.h"

namespace retort::serve {
namespace {

std::size_t code_points(std::string_view bytes) {
  return static_cast<std::size_t>(std::count_if(
      bytes.begin(), bytes.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace

class Answer::Choice final : public SequenceSink {
 public:
  Choice(Answer& answer, std::size_t index)
      : answer_(answer), index_(index), stream_(answer.request_.stop), prompt_(answer.prompts_[index / count()]) {
    // The echoed text is the one given; the tokens' own may begin with a space that the tokenizer put there.
    if (!answer_.request_.echo) return;
    std::size_t bytes = 0;
    for (const TokenId id : prompt_.ids) bytes += tokenizer().piece(id).size();
    extra_bytes_ = bytes > prompt_.text.size() ? bytes - prompt_.text.size() : 0;
    if (wants_logprobs() && !prompt_.ids.empty()) {
      ShownToken first;
      first.id = prompt_.ids.front();
      first.bytes = tokenizer().piece(first.id, true);
      place(first);
      echoed_.push_back(std::move(first));
    }
  }

  void prompt_row(std::size_t position, std::span<const float> logits) override {
    if (position + 1 < prompt_.ids.size()) echoed_.push_back(shown(prompt_.ids[position + 1], logits));
  }

  bool sampled(TokenId id, std::span<const float> logits) override {
    begin();
    ++answer_.usage_.completion_tokens;
    if (answer_.request_.return_token_ids) ids_.push_back(id);
    const bool end = std::find(answer_.end_ids_.begin(), answer_.end_ids_.end(), id) != answer_.end_ids_.end();
    if (end && !answer_.request_.ignore_eos) return true;  // the engine ends it
    const std::string piece = tokenizer().piece(id);
    if (wants_logprobs()) {
      waiting_.push_back({shown(id, logits), stream_.pushed(), stream_.pushed() + piece.size()});
    }
    const bool stopped = stream_.push(piece);
    if (!stopped) release(stream_.take());
    return !stopped;
  }

  void finished(FinishReason reason) override {
    begin();
    ChoicePart part;
    part.text = stream_.finish();
    // A token that a stop string cut away altogether isn't part of the answer.
    for (Waiting& waiting : waiting_) {
      if (!stream_.stopped() || waiting.begin < stream_.pushed()) part.tokens.push_back(std::move(waiting.token));
    }
    part.ids = std::exchange(ids_, {});
    part.finish_reason = reason == FinishReason::kLength ? "length" : "stop";
    answer_.emit(with_index(std::move(part)));
    answer_.choice_done();
  }

  void failed(const Error& error) override { answer_.refuse(api_error_of(error, "")); }

 private:
  struct Waiting {
    ShownToken token;
    std::size_t begin;  // its bytes in the stream
    std::size_t end;
  };

  std::size_t count() const { return static_cast<std::size_t>(answer_.request_.n); }
  bool wants_logprobs() const { return answer_.request_.top_logprobs.has_value(); }
  const tokens::Tokenizer& tokenizer() const { return *answer_.tokenizer_; }

  ShownToken shown(TokenId id, std::span<const float> logits) {
    const auto top = static_cast<std::size_t>(answer_.request_.top_logprobs.value_or(0));
    const RowLogprobs row = row_logprobs(logits, id, top);
    if (!row.finite) {
      failed({Fault::kWorld,
              "The model gave a logit that is not a number; its weights hold NaN or infinity, or overflow."});
    }
    ShownToken token;
    token.id = id;
    token.bytes = tokenizer().piece(id, true);
    token.logprob = row.logprob;
    for (const auto& [other, logprob] : row.top) token.top.emplace_back(tokenizer().piece(other, true), logprob);
    place(token);
    return token;
  }

  // Tokens are placed in the order in which they stand in the text.
  void place(ShownToken& token) {
    token.text_offset = offset_;
    std::string piece = tokenizer().piece(token.id);
    const std::size_t skipped = std::min(extra_bytes_, piece.size());
    extra_bytes_ -= skipped;
    offset_ += code_points(std::string_view(piece).substr(skipped));
  }

  // The first part: the role of a chat, the prompt of an echo.
  void begin() {
    if (begun_) return;
    begun_ = true;
    ChoicePart part;
    part.first = true;
    if (answer_.request_.echo) {
      part.text = prompt_.text;
      part.tokens = std::exchange(echoed_, {});
    }
    if (answer_.request_.return_token_ids) part.prompt_ids = prompt_.ids;
    answer_.emit(with_index(std::move(part)));
  }

  void release(std::string text) {
    if (text.empty()) return;
    ChoicePart part;
    part.text = std::move(text);
    std::size_t shown_tokens = 0;
    while (shown_tokens < waiting_.size() && waiting_[shown_tokens].end <= stream_.taken()) {
      part.tokens.push_back(std::move(waiting_[shown_tokens++].token));
    }
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(shown_tokens));
    part.ids = std::exchange(ids_, {});
    answer_.emit(with_index(std::move(part)));
  }

  ChoicePart with_index(ChoicePart part) const {
    part.index = index_;
    return part;
  }

  Answer& answer_;
  std::size_t index_;
  TextStream stream_;
  const ReadyPrompt& prompt_;
  std::size_t offset_ = 0;       // code points placed so far
  std::size_t extra_bytes_ = 0;  // of the prompt's pieces that its text doesn't have, at the beginning
  std::vector<ShownToken> echoed_;
  std::vector<Waiting> waiting_;  // tokens whose text isn't shown yet
  std::vector<TokenId> ids_;      // sampled, not yet handed on
  bool begun_ = false;
};

Answer::Answer(GenerationRequest request, std::vector<ReadyPrompt> prompts,
               std::shared_ptr<const tokens::Tokenizer> tokenizer, std::vector<TokenId> end_ids,
               std::shared_ptr<net::Reply> reply, ResponseWriter writer)
    : request_(std::move(request)),
      prompts_(std::move(prompts)),
      tokenizer_(std::move(tokenizer)),
      end_ids_(std::move(end_ids)),
      reply_(std::move(reply)),
      writer_(std::move(writer)) {
  left_ = prompts_.size() * static_cast<std::size_t>(request_.n);
  for (std::size_t i = 0; i < left_; ++i) choices_.push_back(std::make_unique<Choice>(*this, i));
  if (!request_.stream) whole_.resize(left_);
  for (const ReadyPrompt& prompt : prompts_) usage_.prompt_tokens += prompt.ids.size();
}

Answer::~Answer() = default;

std::vector<SequenceRequest> Answer::sequences() {
  std::vector<SequenceRequest> made;
  const auto n = static_cast<std::size_t>(request_.n);
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    SequenceRequest sequence;
    sequence.prompt_ids = prompts_[i / n].ids;
    sequence.sampling = request_.sampling;
    if (i % n > 0) sequence.sampling.seed = derive_seed(request_.sampling.seed, "choice", i % n);
    if (!request_.ignore_eos) sequence.end_ids = end_ids_;
    sequence.prompt_logits = request_.echo && request_.top_logprobs.has_value();
    sequence.stop = stop_.get_token();
    sequence.sink = std::shared_ptr<SequenceSink>(shared_from_this(), choices_[i].get());
    made.push_back(std::move(sequence));
  }
  return made;
}

void Answer::start() {
  reply_->on_gone([stop = stop_]() mutable { stop.request_stop(); });
}

void Answer::emit(ChoicePart part) {
  if (ended_) return;
  if (!request_.stream) {
    ChoicePart& whole = whole_[part.index];
    whole.index = part.index;
    whole.text += part.text;
    whole.tokens.insert(whole.tokens.end(), std::make_move_iterator(part.tokens.begin()),
                        std::make_move_iterator(part.tokens.end()));
    whole.ids.insert(whole.ids.end(), part.ids.begin(), part.ids.end());
    if (part.prompt_ids) whole.prompt_ids = std::move(part.prompt_ids);
    whole.finish_reason = part.finish_reason;
    return;
  }
  if (!begun_) {
    begun_ = true;
    net::HttpResponse head;
    head.headers.add("Content-Type", "text/event-stream; charset=utf-8");
    head.headers.add("Cache-Control", "no-cache");
    head.headers.add("X-Accel-Buffering", "no");
    reply_->begin(std::move(head));
  }
  reply_->write(net::sse_event(canonical_json(writer_.chunk(part))));
}

void Answer::choice_done() {
  if (--left_ > 0 || ended_) return;
  ended_ = true;
  if (!request_.stream) {
    reply_->send(net::json_response(200, canonical_json(writer_.whole(whole_, usage_))));
    return;
  }
  std::string last;
  if (request_.include_usage) last = net::sse_event(canonical_json(writer_.usage_chunk(usage_)));
  reply_->write(last + net::sse_event("[DONE]"));
  reply_->finish();
}

void Answer::refuse(const ApiError& error) {
  if (ended_) return;
  ended_ = true;
  stop_.request_stop();  // the other choices too
  if (!begun_) {
    reply_->send(response_of(error));
    return;
  }
  // A stream that has begun can't change its status: the clients raise the error they find in it.
  reply_->write(net::sse_event(canonical_json(to_json(error))));
  reply_->cut();
}

}  // namespace retort::serve
