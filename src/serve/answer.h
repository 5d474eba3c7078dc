// One request while it is answered: hears its sequences and writes the reply, whole or as a stream.
//
// Each choice is a SequenceSink of the engine. Owned by its sinks; asks the engine to drop them when the client goes
// away. The sinks' calls come from the engine's thread; start() and
// sequences() are called before that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "exchange/sequence_engine.h"
#include "net/server.h"
#include "serve/api_error.h"
#include "serve/generation_request.h"
#include "serve/response_writer.h"
#include "serve/text_stream.h"
#include "tokens/tokenizer.h"

namespace retort::serve {

// A prompt ready for the engine.
struct ReadyPrompt {
  std::vector<TokenId> ids;
  std::string text;  // what echo gives back
};

class Answer : public std::enable_shared_from_this<Answer> {
 public:
  // `request.prompts` and `messages` aren't read: `prompts` are. Choice p * n + k is number k of prompt p.
  Answer(GenerationRequest request, std::vector<ReadyPrompt> prompts,
         std::shared_ptr<const tokens::Tokenizer> tokenizer, std::vector<TokenId> end_ids,
         std::shared_ptr<net::Reply> reply, ResponseWriter writer);
  ~Answer();

  // What to submit to the engine. Number k > 0 of a prompt draws from a seed derived from the request's.
  std::vector<SequenceRequest> sequences();
  // Lets the sequences end when the client goes away; before they are submitted.
  void start();
  // Instead of an answer.
  void refuse(const ApiError& error);

 private:
  class Choice;

  void choice_done();
  void emit(ChoicePart part);

  GenerationRequest request_;
  std::vector<ReadyPrompt> prompts_;
  std::shared_ptr<const tokens::Tokenizer> tokenizer_;
  std::vector<TokenId> end_ids_;
  std::shared_ptr<net::Reply> reply_;
  ResponseWriter writer_;
  std::stop_source stop_;
  std::vector<std::unique_ptr<Choice>> choices_;
  std::vector<ChoicePart> whole_;  // when not streamed
  std::size_t left_ = 0;           // choices that aren't done
  Usage usage_;
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace retort::serve
