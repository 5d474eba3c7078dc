// Answers as services send them, and a run of one through AnswerStream, for this module's tests and benchmark.
//
// The bytes are written by hand after the APIs' published schemas. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/answer.h"

namespace retort::api::testing {

struct Sent {
  std::string bytes;
  AnswerFacts facts;
};

// The stream in the given pieces, each in memory of its own size.
inline Sent sent(Operation operation, const std::vector<std::string_view>& pieces, AnswerEdits edits = {}) {
  AnswerStream answer(operation, 100, std::move(edits));
  Sent out;
  for (const std::string_view piece : pieces) {
    const std::vector<char> copy(piece.begin(), piece.end());
    out.bytes += answer.feed({copy.data(), copy.size()}).value_or("an error");
  }
  out.bytes += answer.end();
  out.facts = answer.facts();
  return out;
}

// All that was learnt, as one text to compare.
inline std::string summary(const AnswerFacts& facts) {
  const Json json = {{"input", facts.usage.input},
                     {"cached", facts.usage.cached},
                     {"cache_written", facts.usage.cache_written},
                     {"output", facts.usage.output},
                     {"reasoning", facts.usage.reasoning},
                     {"reported", facts.usage.reported},
                     {"finish", facts.finish},
                     {"ended", facts.ended},
                     {"failed", facts.failed},
                     {"reasoning_seen", facts.reasoning_seen},
                     {"text", facts.text},
                     {"reasoning_text", facts.reasoning},
                     {"tool_calls", facts.tool_calls},
                     {"text_bytes", facts.text_bytes},
                     {"unreadable", facts.unreadable},
                     {"reasoning_bytes", facts.reasoning_bytes},
                     {"sequence", facts.sequence}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

inline std::string seal(std::string_view blob) { return "sealed<" + std::string(blob) + ">"; }

// Seals, keeps texts, strips nothing.
inline AnswerEdits sealing() {
  AnswerEdits edits;
  edits.keep_text = true;
  edits.seal = seal;
  return edits;
}

inline AnswerEdits everything() {
  AnswerEdits edits = sealing();
  edits.hide_usage = edits.strip_logprobs = edits.strip_reasoning = true;
  return edits;
}

// Each text as the data of an event; `named`: with an event line from the text's "type".
inline std::string stream_of(const std::vector<std::string>& texts, bool named = false) {
  std::string stream;
  for (const std::string& text : texts) {
    if (named) stream += "event: " + Json::parse(text)["type"].get<std::string>() + "\n";
    stream += "data: " + text + "\n\n";
  }
  return stream;
}

// A chunk of a chat; with include_usage every chunk says "usage":null.
inline std::string chunk(std::string_view choice, bool usage) {
  return R"({"id":"chatcmpl-1","object":"chat.completion.chunk","created":1789000000,"model":"gpt-5.1","service_tier":"default",)"
         R"("system_fingerprint":"fp_1","choices":[)" +
         std::string(choice) + "]" + (usage ? R"(,"usage":null)" : "") + R"(,"obfuscation":"Xk3 \u00e9"})";
}

// `usage`: as an upstream that was asked for include_usage sends it.
inline std::string chat_stream(bool usage) {
  std::vector<std::string> texts = {
      chunk(
          R"({"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null})",
          usage),
      chunk(R"({"index":0,"delta":{"content":"Hel\"lo"},"logprobs":null,"finish_reason":null})", usage),
      chunk(R"({"index":0,"delta":{"content":" w\u00f6rld 😀"},"logprobs":null,"finish_reason":null})", usage),
      chunk(R"({"index":1,"delta":{"content":"other"},"logprobs":null,"finish_reason":null})", usage),
      chunk(
          R"({"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"look","arguments":""}}]},"logprobs":null,"finish_reason":null})",
          usage),
      chunk(
          R"({"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"q\":"}}]},"logprobs":null,"finish_reason":null})",
          usage),
      chunk(
          R"({"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]},"logprobs":null,"finish_reason":null})",
          usage),
      chunk(R"({"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"})", usage)};
  if (usage) {
    texts.push_back(
        R"({"id":"chatcmpl-1","object":"chat.completion.chunk","created":1789000000,"model":"gpt-5.1","choices":[],)"
        R"("usage":{"prompt_tokens":19,"completion_tokens":30,"total_tokens":49,"prompt_tokens_details":{"cached_tokens":8},)"
        R"("completion_tokens_details":{"reasoning_tokens":12}},"obfuscation":"q"})");
  }
  return ": opening comment\n\n" + stream_of(texts) + "data: [DONE]\n\n";
}

// vLLM and DeepSeek (reasoning_content), OpenRouter (reasoning and reasoning_details), with log-probabilities.
inline std::string reasoning_chat_stream() {
  return stream_of(
             {R"({"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]})",
              R"({"id":"c","choices":[{"index":0,"delta":{"reasoning_content":"Let me "},"logprobs":null,"finish_reason":null}]})",
              R"({"id":"c","choices":[{"index":0,"delta":{"content":null,"reasoning":"see.","reasoning_details":[{"type":"reasoning.text","text":"see.","signature":null,"format":"x"}]},"finish_reason":null}]})",
              R"({"id":"c","choices":[{"index":0,"delta":{"content":"","reasoning_details":[{"type":"reasoning.text","signature":"SIG=="},{"type":"reasoning.encrypted","data":"DATA"}]},"finish_reason":null}]})",
              R"({"id":"c","choices":[{"index":0,"delta":{"content":"7","reasoning_content":"ends"},"logprobs":{"content":[{"token":"7","logprob":-1e-5,"bytes":[55],"top_logprobs":[]}]},"finish_reason":null}]})",
              R"({"id":"c","choices":[{"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":"stop"}]})",
              R"({"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":9,"total_tokens":12}})"}) +
         "data: [DONE]\n\n";
}

inline std::string completions_stream(bool usage) {
  const std::string null = usage ? R"(,"usage":null)" : "";
  std::vector<std::string> texts = {
      R"({"id":"cmpl-1","object":"text_completion","choices":[{"text":"One","index":0,"logprobs":{"tokens":["One"],"token_logprobs":[-0.5]},"finish_reason":null}])" +
          null + "}",
      R"({"id":"cmpl-1","object":"text_completion","choices":[{"text":" two","index":0,"logprobs":null,"finish_reason":"length"}])" +
          null + "}"};
  if (usage) {
    texts.push_back(
        R"({"id":"cmpl-1","object":"text_completion","choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2,"total_tokens":6}})");
  }
  return stream_of(texts) + "data: [DONE]\n\n";
}

inline std::string responses_stream() {
  const std::string reasoning_done =
      R"({"id":"rs_1","type":"reasoning","encrypted_content":"gAAA-done","summary":[{"type":"summary_text","text":"**Plan** it"}]})";
  const std::string message_done =
      R"({"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"logprobs":[{"token":"Hi","logprob":-0.1}],"text":"Hi there"}]})";
  const std::string call_done =
      R"({"id":"fc_1","type":"function_call","status":"completed","arguments":"{\"q\":1}","call_id":"call_1","name":"look"})";
  return stream_of(
      {R"({"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","output":[],"usage":null,"reasoning":{"effort":"low","summary":"auto"}}})",
       R"({"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1","object":"response","status":"in_progress","output":[]}})",
       R"({"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"rs_1","type":"reasoning","encrypted_content":"gAAA-added","summary":[]}})",
       R"({"type":"response.reasoning_summary_part.added","sequence_number":3,"item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}})",
       R"({"type":"response.reasoning_summary_text.delta","sequence_number":4,"item_id":"rs_1","output_index":0,"summary_index":0,"delta":"**Plan**","obfuscation":"a"})",
       R"({"type":"response.reasoning_summary_text.delta","sequence_number":5,"item_id":"rs_1","output_index":0,"summary_index":0,"delta":" it","obfuscation":"b"})",
       R"({"type":"response.reasoning_summary_text.done","sequence_number":6,"item_id":"rs_1","output_index":0,"summary_index":0,"text":"**Plan** it"})",
       R"({"type":"response.reasoning_summary_part.done","sequence_number":7,"item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":"**Plan** it"}})",
       R"({"type":"response.output_item.done","sequence_number":8,"output_index":0,"item":)" + reasoning_done + "}",
       R"({"type":"response.output_item.added","sequence_number":9,"output_index":1,"item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}})",
       R"({"type":"response.content_part.added","sequence_number":10,"item_id":"msg_1","output_index":1,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":""}})",
       R"({"type":"response.output_text.delta","sequence_number":11,"item_id":"msg_1","output_index":1,"content_index":0,"delta":"Hi","logprobs":[{"token":"Hi","logprob":-0.1,"top_logprobs":[]}],"obfuscation":"c"})",
       R"({"type":"response.output_text.delta","sequence_number":12,"item_id":"msg_1","output_index":1,"content_index":0,"delta":" there","logprobs":[],"obfuscation":"d"})",
       R"({"type":"response.output_text.done","sequence_number":13,"item_id":"msg_1","output_index":1,"content_index":0,"text":"Hi there","logprobs":[{"token":"Hi","logprob":-0.1}]})",
       R"({"type":"response.content_part.done","sequence_number":14,"item_id":"msg_1","output_index":1,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[{"token":"Hi","logprob":-0.1}],"text":"Hi there"}})",
       R"({"type":"response.output_item.done","sequence_number":15,"output_index":1,"item":)" + message_done + "}",
       R"({"type":"response.function_call_arguments.delta","sequence_number":16,"item_id":"fc_1","output_index":2,"delta":"{\"q\":1}"})",
       R"({"type":"response.function_call_arguments.done","sequence_number":17,"item_id":"fc_1","output_index":2,"arguments":"{\"q\":1}"})",
       R"({"type":"response.output_item.done","sequence_number":18,"output_index":2,"item":)" + call_done + "}",
       R"({"type":"response.unheard_of","sequence_number":19,"delta":{"x":[1,2.50]}})",
       R"({"type":"response.completed","sequence_number":20,"response":{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[)" +
           reasoning_done + "," + message_done + "," + call_done +
           R"(],"usage":{"input_tokens":40,"input_tokens_details":{"cached_tokens":0},"output_tokens":25,"output_tokens_details":{"reasoning_tokens":11},"total_tokens":65}}})"},
      true);
}

inline std::string messages_stream() {
  return stream_of(
             {R"({"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"m","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":300,"output_tokens":1}}})",
              R"({"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}})"},
             true) +
         "event: ping\ndata: {\"type\": \"ping\"}\n\n: ping\n\n" +
         stream_of(
             {R"({"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let me "}})",
              R"({"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"think."}})",
              R"({"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQBsig+/="}})",
              R"({"type":"content_block_stop","index":0})",
              R"({"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"EmwKdata"}})",
              R"({"type":"content_block_stop","index":1})",
              R"({"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}})",
              R"({"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"It is "}})",
              R"({"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"\u00fc 中"}})",
              R"({"type":"content_block_stop","index":2})",
              R"({"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_1","name":"look","input":{}}})",
              R"({"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}})",
              R"({"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"q\": 1}"}})",
              R"({"type":"content_block_stop","index":3})",
              R"({"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":42}})",
              R"({"type":"message_stop"})"},
             true);
}

}  // namespace retort::api::testing
