// An Example: the token ids of one exchange and which of them are targets.
//
// Targets go by position, from the spans the template's rendering or the sampling left in the exchange; never by id
// (padding, end of text and end of turn are often one id). An answer that was cut keeps its tokens as targets and gets
// no invented end; the newline a template writes after a turn is never a target.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "dataset/read_exchange.h"
#include "exchange/exchange.h"

namespace retort::dataset {

// Which tokens are targets (recipe key train.supervise).
enum class Supervision : std::uint8_t {
  kAssistant,  // the assistant's turns, each with its end token
  kSampled,    // those, and every other token the teacher sampled: also the self-generated user's turn with its end
};
std::string_view name_of(Supervision supervision);  // "assistant", "sampled"
Result<Supervision> supervision_from_name(std::string_view name);

struct Example {
  Digest exchange_id;
  std::vector<TokenId> ids;
  // Per position: 1 when ids[i] is a target. Position 0 has nothing before it and is never one.
  std::vector<std::uint8_t> supervised;

  std::int64_t targets() const;
};

// Targets of an example that is cut to `max_length` tokens, as packing cuts it.
std::int64_t target_count(const Example& example, std::int64_t max_length);

// Ids after the last target are left off: nothing is learnt from them. Without any target the Example is empty.
Example make_example(const Digest& id, const Exchange& exchange, Supervision supervision);

// Reads these exchanges; `observe`, when given, sees each on the way. Errors: an id that is absent or
// damaged, or exchanges of different tokenizers.
Result<std::vector<Example>> materialise(const ReadExchange& read, std::span<const Digest> ids, Supervision supervision,
                                         const std::function<void(const Exchange&)>& observe = nullptr);
inline Result<std::vector<Example>> materialise(const store::ExchangeStore& store, std::span<const Digest> ids,
                                                Supervision supervision) {
  return materialise(reader_of(store), ids, supervision);
}

// The example in runs of equal supervision, for colouring: decode() turns ids to text (special tokens shown).
struct MarkedText {
  std::string text;
  bool supervised = false;
};
using Decode = std::function<std::string(std::span<const TokenId>)>;
std::vector<MarkedText> mark(const Example& example, const Decode& decode);
// The same as one text, targets between "⟦" and "⟧".
std::string render_marked(const Example& example, const Decode& decode);

}  // namespace retort::dataset
