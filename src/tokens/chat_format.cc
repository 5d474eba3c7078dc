#include "tokens/chat_format.h"

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "tokens/chat_template.h"

namespace retort::tokens {
namespace {

// Stands for a user's text when only the scaffold around it is wanted.
const Message kProbe{Role::kUser, "Hello"};

// A piece of a rendered text: a special token of the template, or text between such tokens.
struct Piece {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::optional<TokenId> special;
};

// A token and where its bytes start in the rendered text.
struct PlacedId {
  TokenId id = 0;
  std::size_t place = 0;
  bool special = false;
};

SpanKind span_kind(Role role) {
  switch (role) {
    case Role::kSystem: return SpanKind::kSystem;
    case Role::kUser: return SpanKind::kUser;
    case Role::kAssistant: return SpanKind::kAssistant;
    case Role::kTool: return SpanKind::kTool;
  }
  return SpanKind::kScaffold;
}

Failure tools_refused(const std::string& what) {
  return caller_error(what +
                      ", which Retort doesn't yet write with a model file's chat template. Leave it out, or ask a "
                      "teacher behind an API (teacher: {api: openai, ...}), which is sent it whole.");
}

bool inside_input(std::span<const InputRange> inputs, std::size_t begin, std::size_t end) {
  return std::any_of(inputs.begin(), inputs.end(),
                     [&](const InputRange& input) { return begin < input.end && input.begin < end; });
}

}  // namespace

struct ChatFormat::State {
  Tokenizer tokenizer;
  ChatTemplate chat_template;
  Digest template_digest;
  // Special tokens, longest text first, as llama.cpp looks for them.
  std::vector<std::pair<std::string, TokenId>> special;

  State(Tokenizer t, ChatTemplate c) : tokenizer(std::move(t)), chat_template(std::move(c)) {}

  // Special tokens are looked for in the template's own bytes only.
  std::vector<Piece> partition(std::string_view text, std::span<const InputRange> inputs) const {
    std::vector<Piece> pieces;
    if (!text.empty()) pieces.push_back({0, text.size(), std::nullopt});
    for (const auto& [name, id] : special) {
      if (name.empty() || text.find(name) == std::string_view::npos) continue;
      std::vector<Piece> split;
      for (const Piece& piece : pieces) {
        if (piece.special) {
          split.push_back(piece);
          continue;
        }
        std::size_t begin = piece.begin;
        std::size_t from = begin;
        while (true) {
          const std::size_t found = text.substr(0, piece.end).find(name, from);
          if (found == std::string_view::npos) break;
          const std::size_t end = found + name.size();
          if (inside_input(inputs, found, end)) {
            from = found + 1;
            continue;
          }
          if (found > begin) split.push_back({begin, found, std::nullopt});
          split.push_back({found, end, id});
          begin = from = end;
        }
        if (begin < piece.end) split.push_back({begin, piece.end, std::nullopt});
      }
      pieces = std::move(split);
    }
    return pieces;
  }

  // Encodes text[begin, end). `continues`: text of the template or of a message stands right before it.
  Result<void> encode_run(std::string_view text, std::size_t begin, std::size_t end, bool continues,
                          std::span<const InputRange> inputs, std::vector<PlacedId>& out) const {
    if (begin == end) return {};
    const std::string_view run = text.substr(begin, end - begin);
    RETORT_ASSIGN(const std::vector<TokenId> ids,
                  continues ? tokenizer.encode_continuation(run) : tokenizer.encode(run));
    std::size_t bytes = 0;
    for (const TokenId id : ids) bytes += tokenizer.piece(id, true).size();
    // SentencePiece puts one space before the first run.
    const std::size_t added = bytes == run.size() + 1 && !continues ? 1 : 0;
    const auto boundary = std::find_if(inputs.begin(), inputs.end(), [&](const InputRange& input) {
      return (input.begin > begin && input.begin < end) || (input.end > begin && input.end < end);
    });
    if (bytes - added != run.size() && boundary != inputs.end()) {
      // Some bytes have no token that gives them back, so places can't be counted: encode each side on its own.
      const std::size_t place = boundary->begin > begin ? boundary->begin : boundary->end;
      RETORT_TRY(encode_run(text, begin, place, continues, inputs, out));
      return encode_run(text, place, end, true, inputs, out);
    }
    std::size_t place = begin;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      out.push_back({ids[i], std::min(place, end - 1), false});
      place += tokenizer.piece(ids[i], true).size();
      if (i == 0) place -= std::min(added, place - begin);
    }
    return {};
  }

  // `breaks`: places where encoding starts afresh, because the model itself started there (an assistant's text).
  Result<std::vector<PlacedId>> encode_rendered(std::string_view text, std::span<const InputRange> inputs,
                                                std::span<const std::size_t> breaks) const {
    std::vector<PlacedId> placed;
    const auto bos = tokenizer.bos();
    const std::vector<Piece> pieces = partition(text, inputs);
    if (tokenizer.adds_bos() && bos && (pieces.empty() || pieces.front().special != bos))
      placed.push_back({*bos, 0, true});
    for (const Piece& piece : pieces) {
      if (piece.special) {
        placed.push_back({*piece.special, piece.begin, true});
        continue;
      }
      std::size_t begin = piece.begin;
      bool continues = false;
      for (const std::size_t stop : breaks) {
        if (stop <= begin || stop >= piece.end) continue;
        RETORT_TRY(encode_run(text, begin, stop, continues, inputs, placed));
        begin = stop;
        continues = true;
      }
      RETORT_TRY(encode_run(text, begin, piece.end, continues, inputs, placed));
    }
    return placed;
  }

  TokenizedConversation conversation(std::span<const PlacedId> placed, std::span<const InputRange> inputs,
                                     std::span<const Message> messages) const {
    TokenizedConversation result;
    result.tokenizer_fingerprint = tokenizer.fingerprint();
    for (const PlacedId& token : placed) result.ids.push_back(token.id);
    for (const InputRange& input : inputs) {
      const auto at = [&](std::size_t place) {
        return static_cast<std::uint32_t>(std::find_if(placed.begin(), placed.end(),
                                                       [&](const PlacedId& token) {
                                                         return token.place >= place &&
                                                                !(token.special && token.place == 0 && place == 0);
                                                       }) -
                                          placed.begin());
      };
      TokenSpan span{at(input.begin), at(input.end), span_kind(messages[input.message].role), false};
      if (span.kind == SpanKind::kAssistant && span.end < placed.size() && placed[span.end].special &&
          placed[span.end].place == input.end && tokenizer.is_end(placed[span.end].id)) {
        ++span.end;
      }
      if (span.begin < span.end) result.spans.push_back(span);
    }
    return result;
  }

  // Rendered, and the prefix property checked for this conversation.
  Result<RenderedText> rendered(std::span<const Message> messages, bool add_generation_prompt,
                                std::vector<std::size_t>& breaks) const {
    RETORT_ASSIGN(RenderedText whole, chat_template.render(messages, add_generation_prompt));
    const auto prefix_of_whole = [&](std::size_t count, bool prompt) -> Result<std::size_t> {
      RETORT_ASSIGN(const std::string text, chat_template.render_text(messages.first(count), prompt));
      if (whole.text.starts_with(text)) return text.size();
      return caller_error(
          "The model's chat template can't be used for this conversation: its text for the first " +
          std::to_string(count) + " messages" + (prompt ? " and the start of an answer" : "") +
          " isn't the beginning of its text for more of them, so it can't be said which tokens are whose.");
    };
    for (std::size_t count = 1; count <= messages.size(); ++count) {
      // Many templates write the system message together with the first user's, or refuse it alone.
      if (messages[count - 1].role != Role::kSystem && (count < messages.size() || add_generation_prompt)) {
        RETORT_TRY(prefix_of_whole(count, false));
      }
      if (count < messages.size() && messages[count].role == Role::kAssistant) {
        RETORT_ASSIGN(const std::size_t prompt, prefix_of_whole(count, true));
        if (prompt > whole.inputs[count].begin) {
          return caller_error("The model's chat template writes message " + std::to_string(count + 1) +
                              " (assistant) before the place where an answer starts, so it can't be used.");
        }
        breaks.push_back(prompt);
      }
    }
    return whole;
  }
};

ChatFormat::ChatFormat(std::shared_ptr<const State> state) : state_(std::move(state)) {}
ChatFormat::~ChatFormat() = default;
ChatFormat::ChatFormat(ChatFormat&&) noexcept = default;
ChatFormat& ChatFormat::operator=(ChatFormat&&) noexcept = default;

Result<ChatFormat> ChatFormat::load(const std::filesystem::path& gguf) {
  RETORT_ASSIGN(const gguf::File file, gguf::File::open(gguf));
  return load(file);
}

Result<ChatFormat> ChatFormat::load(const gguf::File& file) {
  RETORT_ASSIGN(const auto text, file.metadata().find<std::string>("tokenizer.chat_template"));
  if (!text || trim(*text).empty()) {
    return caller_error(
        file.path().string() +
        ": the file has no chat template (metadata key tokenizer.chat_template), so conversations can't "
        "be written for it. Use an instruct model, or a file converted with its template.");
  }
  return with_template(file, *text);
}

Result<ChatFormat> ChatFormat::with_template(const gguf::File& file, std::string template_text) {
  RETORT_ASSIGN(Tokenizer tokenizer, Tokenizer::load(file));
  const auto text_of = [&](std::optional<TokenId> id) { return id ? tokenizer.piece(*id, true) : std::string(); };
  const Digest digest = sha256(template_text);
  auto parsed = ChatTemplate::parse(std::move(template_text), text_of(tokenizer.bos()), text_of(tokenizer.eos()));
  if (!parsed) return with_context(parsed.error(), file.path().string());
  auto state = std::make_shared<State>(std::move(tokenizer), std::move(*parsed));
  state->template_digest = digest;
  state->special = state->tokenizer.special_tokens();
  std::stable_sort(state->special.begin(), state->special.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  return ChatFormat(std::move(state));
}

const Tokenizer& ChatFormat::tokenizer() const { return state_->tokenizer; }
const std::string& ChatFormat::template_text() const { return state_->chat_template.text(); }
const Digest& ChatFormat::template_digest() const { return state_->template_digest; }
const std::vector<TokenId>& ChatFormat::end_ids() const { return state_->tokenizer.end_ids(); }

Result<std::string> ChatFormat::render_text(std::span<const Message> messages, bool add_generation_prompt) const {
  return state_->chat_template.render_text(messages, add_generation_prompt);
}

Result<TokenizedConversation> ChatFormat::render(std::span<const Message> messages, bool add_generation_prompt) const {
  if (messages.empty()) return caller_error("A conversation needs at least one message.");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i].tool_calls.empty()) return tools_refused("Message " + std::to_string(i + 1) + " calls tools");
  }
  std::vector<std::size_t> breaks;
  RETORT_ASSIGN(const RenderedText whole, state_->rendered(messages, add_generation_prompt, breaks));
  RETORT_ASSIGN(const auto placed, state_->encode_rendered(whole.text, whole.inputs, breaks));
  return state_->conversation(placed, whole.inputs, messages);
}

Result<std::vector<TokenId>> ChatFormat::prompt_ids(const Prompt& prompt) const {
  if (!prompt.tools.empty()) return tools_refused("The prompt offers tools to be called");
  RETORT_ASSIGN(TokenizedConversation conversation, render(prompt.messages, true));
  return std::move(conversation.ids);
}

Result<TokenizedConversation> ChatFormat::before_user_text(std::span<const Message> system) const {
  std::vector<Message> messages(system.begin(), system.end());
  if (messages.size() > 1 || (messages.size() == 1 && messages.front().role != Role::kSystem)) {
    return caller_error("A self-generated turn can follow one system message and nothing else.");
  }
  messages.push_back(kProbe);
  std::vector<std::size_t> breaks;
  RETORT_ASSIGN(RenderedText whole, state_->rendered(messages, false, breaks));
  const InputRange user = whole.inputs.back();
  whole.inputs.pop_back();
  RETORT_ASSIGN(const auto placed,
                state_->encode_rendered(std::string_view(whole.text).substr(0, user.begin), whole.inputs, breaks));
  return state_->conversation(placed, whole.inputs, messages);
}

Result<std::vector<TokenId>> ChatFormat::user_turn_prefix(std::span<const Message> system) const {
  RETORT_ASSIGN(TokenizedConversation conversation, before_user_text(system));
  return std::move(conversation.ids);
}

Result<std::vector<TokenId>> ChatFormat::from_user_end(bool add_generation_prompt) const {
  std::vector<std::size_t> breaks;
  RETORT_ASSIGN(const RenderedText whole, state_->rendered(std::span(&kProbe, 1), add_generation_prompt, breaks));
  const std::size_t end = whole.inputs.back().end;
  RETORT_ASSIGN(const auto placed, state_->encode_rendered(whole.text, whole.inputs, breaks));
  std::vector<TokenId> ids;
  for (const PlacedId& token : placed) {
    if (token.place >= end) ids.push_back(token.id);
  }
  if (ids.empty() || !state_->tokenizer.is_control(ids.front())) {
    return caller_error(
        "The model's chat template ends a user's turn with plain text, so a self-generated turn has no end that could "
        "be "
        "recognised. Give prompts from a file instead (collect.prompts: {file, format}).");
  }
  return ids;
}

Result<std::vector<TokenId>> ChatFormat::user_end_ids() const {
  RETORT_ASSIGN(const auto ids, from_user_end(false));
  return std::vector<TokenId>{ids.front()};
}

Result<std::vector<TokenId>> ChatFormat::after_user_turn() const {
  RETORT_ASSIGN(auto ids, from_user_end(true));
  ids.erase(ids.begin());
  return ids;
}

Result<TokenizedConversation> ChatFormat::self_generated_prompt(std::span<const Message> system,
                                                                std::span<const TokenId> user_ids) const {
  RETORT_ASSIGN(TokenizedConversation conversation, before_user_text(system));
  RETORT_ASSIGN(const auto end_ids, user_end_ids());
  RETORT_ASSIGN(const auto after, after_user_turn());
  const bool ended = !user_ids.empty() && std::find(end_ids.begin(), end_ids.end(), user_ids.back()) != end_ids.end();
  if (!ended || user_ids.size() < 2) {
    return caller_error("The sampled user's turn is empty or was cut before its end token; it can't be answered.");
  }
  for (const TokenId id : user_ids.first(user_ids.size() - 1)) {
    if (!state_->tokenizer.contains(id) || state_->tokenizer.is_control(id) || state_->tokenizer.is_end(id)) {
      return caller_error("The sampled user's turn holds the control token " + std::to_string(id) +
                          " before its end; it can't be answered.");
    }
  }
  const auto begin = static_cast<std::uint32_t>(conversation.ids.size());
  conversation.ids.insert(conversation.ids.end(), user_ids.begin(), user_ids.end());
  conversation.spans.push_back({begin, static_cast<std::uint32_t>(conversation.ids.size()), SpanKind::kUser, true});
  conversation.ids.insert(conversation.ids.end(), after.begin(), after.end());
  return conversation;
}

Result<TokenizedConversation> ChatFormat::with_sampled_answer(TokenizedConversation prompt,
                                                              std::span<const TokenId> answer_ids) const {
  for (const TokenId id : answer_ids) {
    if (!state_->tokenizer.contains(id)) {
      return caller_error("The answer holds the token " + std::to_string(id) + ", which isn't in the vocabulary.");
    }
  }
  const auto begin = static_cast<std::uint32_t>(prompt.ids.size());
  prompt.ids.insert(prompt.ids.end(), answer_ids.begin(), answer_ids.end());
  if (!answer_ids.empty()) {
    prompt.spans.push_back({begin, static_cast<std::uint32_t>(prompt.ids.size()), SpanKind::kAssistant, true});
  }
  return prompt;
}

}  // namespace retort::tokens
