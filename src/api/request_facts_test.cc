#include "api/request_facts.h"

#include <gtest/gtest.h>

#include <random>

namespace retort::api {
namespace {

RequestFacts facts(Operation operation, const std::string& members) {
  RequestReader reader;
  Result<RequestFacts> read = reader.read(operation, "{\"model\":\"m\"" + (members.empty() ? "" : "," + members) + "}");
  EXPECT_TRUE(read.has_value()) << members << ": " << (read ? "" : read.error().message);
  return read.value_or(RequestFacts{});
}

std::string refusal(Operation operation, const std::string& body) {
  RequestReader reader;
  const Result<RequestFacts> read = reader.read(operation, body);
  if (read) return "taken";
  EXPECT_EQ(read.error().fault, Fault::kCaller);
  return read.error().message;
}

TEST(RequestFacts, OfAChat) {
  const RequestFacts plain = facts(Operation::kChat, R"("messages":[{"role":"user","content":"Hi"}])");
  EXPECT_EQ(plain.model, "m");
  EXPECT_FALSE(plain.stream || plain.include_usage || plain.logprobs || plain.store || plain.tools || plain.reasoning ||
               plain.blobs || plain.continues || plain.seed || plain.logit_bias || plain.background || plain.echo);
  EXPECT_FALSE(plain.max_tokens);
  EXPECT_EQ(plain.n, 1);
  EXPECT_EQ(plain.prompt_bytes, 2);
  const RequestFacts full = facts(
      Operation::kChat,
      R"("stream":true,"stream_options":{"include_usage":true},"max_tokens":5,"max_completion_tokens":7,"n":3,"logprobs":true,)"
      R"("top_logprobs":20,"logit_bias":{"50256":-100},"seed":1,"store":true,"reasoning_effort":"high","safety_identifier":"s",)"
      R"("user":"u","metadata":{"user_id":"not theirs"},"tools":[{"type":"function","function":{"name":"f"}}],"messages":[])");
  EXPECT_TRUE(full.stream && full.include_usage && full.logprobs && full.logit_bias && full.seed && full.store &&
              full.reasoning && full.tools);
  EXPECT_EQ(full.max_tokens, 7);
  EXPECT_EQ(full.n, 3);
  EXPECT_EQ(full.top_logprobs, 20);
  EXPECT_EQ(full.end_user, "s");
  EXPECT_EQ(facts(Operation::kChat, R"("user":"u")").end_user, "u");
  EXPECT_TRUE(facts(Operation::kChat, R"("functions":[{"name":"f"}])").tools);
  EXPECT_FALSE(facts(Operation::kChat, R"("max_output_tokens":9)").max_tokens) << "another API's name";
}

TEST(RequestFacts, TakesNullsAndEmptyThingsForAbsent) {
  const RequestFacts none = facts(
      Operation::kChat,
      R"("stream":null,"stream_options":null,"max_tokens":null,"n":null,"logprobs":null,"top_logprobs":null,"logit_bias":null,)"
      R"("seed":null,"store":null,"tools":null,"reasoning_effort":null,"user":null,"metadata":null,"logprobs ":1)");
  EXPECT_FALSE(none.stream || none.logprobs || none.seed || none.logit_bias || none.tools || none.reasoning);
  EXPECT_FALSE(none.max_tokens);
  EXPECT_FALSE(facts(Operation::kChat, R"("tools":[],"functions":[],"logit_bias":{},"logprobs":false,"top_logprobs":0)")
                   .logprobs);
  EXPECT_FALSE(facts(Operation::kChat, R"("tools":[],"logit_bias":{})").logit_bias);
  EXPECT_TRUE(facts(Operation::kResponses, R"("store":null)").store);
}

TEST(RequestFacts, OfACompletion) {
  const RequestFacts read =
      facts(Operation::kCompletions,
            R"("prompt":"Once","max_tokens":16,"logprobs":5,"echo":true,"n":2,"best_of":4,"suffix":"end")");
  EXPECT_TRUE(read.logprobs);
  EXPECT_EQ(read.top_logprobs, 5);
  EXPECT_TRUE(read.echo);
  EXPECT_EQ(read.n, 4);
  EXPECT_EQ(read.max_tokens, 16);
  EXPECT_EQ(read.prompt_bytes, 4);
  EXPECT_TRUE(facts(Operation::kCompletions, R"("logprobs":0)").logprobs) << "the written tokens' own";
  EXPECT_TRUE(facts(Operation::kCompletions, R"("prompt_logprobs":1)").logprobs);
  EXPECT_EQ(facts(Operation::kCompletions, R"("prompt":["ab","cde"],"n":2)").n, 4) << "two for each prompt";
  EXPECT_EQ(facts(Operation::kCompletions, R"("prompt":["ab","cde"])").prompt_bytes, 5);
  EXPECT_EQ(facts(Operation::kCompletions, R"("prompt":[1,2,3])").prompt_bytes, 12) << "four a token";
  EXPECT_EQ(facts(Operation::kCompletions, R"("prompt":[1,2,3])").n, 1);
  EXPECT_EQ(facts(Operation::kCompletions, R"("prompt":[[1,2],[3]])").prompt_bytes, 12);
  EXPECT_EQ(facts(Operation::kCompletions, R"("prompt":[[1,2],[3]])").n, 2);
}

TEST(RequestFacts, OfAResponse) {
  const RequestFacts plain = facts(Operation::kResponses, R"("input":"Hello","instructions":"Be kind")");
  EXPECT_TRUE(plain.store) << "kept unless said otherwise";
  EXPECT_FALSE(plain.reasoning || plain.continues || plain.blobs || plain.logprobs);
  EXPECT_EQ(plain.prompt_bytes, 12);
  EXPECT_FALSE(facts(Operation::kResponses, R"("store":false)").store);
  EXPECT_EQ(facts(Operation::kResponses, R"("max_output_tokens":9,"max_tokens":99)").max_tokens, 9);
  EXPECT_TRUE(facts(Operation::kResponses, R"("include":["message.output_text.logprobs"])").logprobs);
  EXPECT_TRUE(facts(Operation::kResponses, R"("top_logprobs":2)").logprobs);
  EXPECT_TRUE(facts(Operation::kResponses, R"("include":["reasoning.encrypted_content"])").reasoning);
  EXPECT_TRUE(facts(Operation::kResponses, R"("reasoning":{"effort":"low"})").reasoning);
  EXPECT_TRUE(facts(Operation::kResponses, R"("reasoning":{"effort":null,"summary":"auto"})").reasoning);
  EXPECT_FALSE(facts(Operation::kResponses, R"("reasoning":{"effort":"none","summary":"auto"})").reasoning);
  EXPECT_FALSE(facts(Operation::kResponses, R"("reasoning":{"effort":null})").reasoning);
  EXPECT_TRUE(facts(Operation::kResponses, R"("background":true)").background);
  EXPECT_TRUE(facts(Operation::kResponses, R"("previous_response_id":"resp_1")").continues);
  EXPECT_TRUE(facts(Operation::kResponses, R"("conversation":{"id":"conv_1"})").continues);
  EXPECT_TRUE(facts(Operation::kResponses, R"("input":[{"type":"item_reference","id":"rs_1"}])").continues);
  EXPECT_TRUE(
      facts(Operation::kResponses, R"("input":[{"type":"reasoning","encrypted_content":"x","summary":[]}])").blobs);
}

TEST(RequestFacts, OfAMessage) {
  const RequestFacts read = facts(
      Operation::kMessages,
      R"("max_tokens":1024,"thinking":{"type":"enabled","budget_tokens":4096},"metadata":{"user_id":"u1"},"stream":true,)"
      R"("system":[{"type":"text","text":"Be kind","cache_control":{"type":"ephemeral"}}],"tools":[{"name":"f","input_schema":{}}],)"
      R"("messages":[{"role":"user","content":[{"type":"text","text":"Look"},{"type":"image","source":{"type":"base64","data":"AAAAAAAAAA"}}]},)"
      R"({"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"S"},{"type":"tool_use","id":"t","name":"f","input":{"x":1}}]},)"
      R"({"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"42"}]}]}])");
  EXPECT_EQ(read.max_tokens, 1024);
  EXPECT_TRUE(read.reasoning && read.blobs && read.tools && read.stream);
  EXPECT_EQ(read.reasoning_budget, 4096);
  EXPECT_EQ(read.end_user, "u1");
  EXPECT_EQ(read.prompt_bytes, 7 + 4 + 2) << "system, text, the tool's result";
  EXPECT_GT(read.other_bytes, read.media_bytes);
  EXPECT_GE(read.media_bytes, 10);
  EXPECT_LT(read.media_bytes, 60);
  EXPECT_TRUE(facts(Operation::kMessages, R"("thinking":{"type":"adaptive"})").reasoning);
  EXPECT_FALSE(facts(Operation::kMessages, R"("thinking":{"type":"disabled"})").reasoning);
  EXPECT_EQ(facts(Operation::kMessages, R"("user":"a","metadata":{"user_id":"b"},"safety_identifier":"c")").end_user,
            "c");
  EXPECT_EQ(facts(Operation::kMessages, R"("metadata":{"user_id":null})").end_user, "");
}

TEST(RequestFacts, ReasoningAsOtherServersAskForIt) {
  EXPECT_TRUE(facts(Operation::kChat, R"("reasoning":{"max_tokens":2000})").reasoning);
  EXPECT_EQ(facts(Operation::kChat, R"("reasoning":{"max_tokens":2000})").reasoning_budget, 2000);
  EXPECT_FALSE(facts(Operation::kChat, R"("reasoning":{"enabled":false})").reasoning);
  EXPECT_FALSE(facts(Operation::kChat, R"("reasoning_effort":"none")").reasoning);
  EXPECT_TRUE(facts(Operation::kChat, R"("include_reasoning":true)").reasoning);
  EXPECT_TRUE(facts(Operation::kChat, R"("thinking":{"type":"enabled"})").reasoning);
  EXPECT_TRUE(facts(Operation::kChat, R"("chat_template_kwargs":{"enable_thinking":true})").reasoning);
}

TEST(RequestReader, GivesTheTextsOfThePrompt) {
  RequestReader reader;
  using Texts = std::vector<std::string>;
  EXPECT_EQ(
      reader.prompt_texts(
          Operation::kChat,
          R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},)"
          R"({"type":"image_url","image_url":{"url":"no"}},{"type":"text","text":"\u00e4"}]},{"role":"tool","content":"t"}]})"),
      (Texts{"s", "a", "\u00e4", "t"}));
  EXPECT_EQ(reader.prompt_texts(Operation::kMessages, R"({"messages":[{"role":"user","content":"u"}],"system":"s"})"),
            (Texts{"s", "u"}));
  EXPECT_EQ(
      reader.prompt_texts(
          Operation::kMessages,
          R"({"messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","data":"d"}}]}]})"),
      (Texts{"d"}));
  EXPECT_EQ(
      reader.prompt_texts(
          Operation::kResponses,
          R"({"input":[{"role":"user","content":[{"type":"input_text","text":"u"}]},{"type":"reasoning","summary":[{"text":"no"}]},)"
          R"({"type":"function_call_output","output":"o"}],"instructions":"i"})"),
      (Texts{"i", "u", "o"}));
  EXPECT_EQ(reader.prompt_texts(Operation::kCompletions, R"({"prompt":["a","b"]})"), (Texts{"a", "b"}));
  EXPECT_EQ(reader.prompt_texts(Operation::kEmbeddings, R"({"input":"e"})"), (Texts{"e"}));
  EXPECT_EQ(reader.prompt_texts(Operation::kModels, R"({"input":"e"})"), Texts());
}

TEST(RequestReader, RefusesAKeyTwice) {
  const std::string twice = " twice in one object; expected each key once.";
  const std::string begins = "The request's body has the key ";
  EXPECT_EQ(refusal(Operation::kChat, R"({"model":"a","model":"b"})"), begins + "'model'" + twice);
  EXPECT_EQ(refusal(Operation::kChat, R"({"model":"a","mod\u0065l":"b"})"), begins + "'model'" + twice);
  EXPECT_EQ(refusal(Operation::kChat, R"({"model":"a","x":[{"y":{"k":1,"\u006b":2}}]})"), begins + "'k'" + twice);
  EXPECT_EQ(refusal(Operation::kChat, R"({"model":"a","x":{"":1,"":2}})"), begins + "''" + twice);
  for (const int count : {15, 16, 17, 40}) {
    std::string body = R"({"model":"a","x":{)";
    for (int i = 0; i < count; ++i) body += "\"k" + std::to_string(i) + "\":1,";
    EXPECT_EQ(refusal(Operation::kChat, body + "\"other\":1}}"), "taken");
    EXPECT_EQ(refusal(Operation::kChat, body + "\"k3\":1}}"), begins + "'k3'" + twice);
    EXPECT_EQ(refusal(Operation::kChat, body + "\"k" + std::to_string(count - 1) + "\":1}}"),
              begins + "'k" + std::to_string(count - 1) + "'" + twice);
  }
  EXPECT_EQ(refusal(Operation::kChat, R"({"model":"a","x":{"k":1},"y":{"k":1},"K":{"k":[{"k":1},{"k":1}]}})"), "taken");
}

TEST(RequestReader, RefusesWhatIsNoJson) {
  const std::string json = "The request's body is not valid JSON; expected one JSON object and nothing after it.";
  EXPECT_EQ(refusal(Operation::kChat, ""), "The request has no body; expected a JSON object.");
  for (const char* body :
       {"{", "{\"model\":\"m\"} x", "{\"model\":\"m\"}{}", "{'model':'m'}", "{\"model\":\"m\",}",
        "{\"model\":\"m\" /* c */}", "{\"model\":NaN}", "\xEF\xBB\xBF{\"model\":\"m\"}", "{\"model\":\"a\nb\"}"}) {
    EXPECT_NE(refusal(Operation::kChat, body), "taken") << body;
  }
  EXPECT_EQ(refusal(Operation::kChat, "{\"model\":\"m\"} x"), json);
  EXPECT_EQ(refusal(Operation::kChat, "[1]"), "The request's body is an array; expected a JSON object.");
  EXPECT_EQ(refusal(Operation::kChat, "{\"model\":\"\xC3\"}"),
            "The request's body is not valid UTF-8; expected JSON in UTF-8.");
  EXPECT_EQ(refusal(Operation::kChat, "{\"model\":\"\xED\xA0\x80\"}"),
            "The request's body is not valid UTF-8; expected JSON in UTF-8.");
  EXPECT_NE(refusal(Operation::kChat, R"({"model":"\ud800"})").find("surrogate"), std::string::npos);
  EXPECT_NE(refusal(Operation::kChat, R"({"model":"m","seed":99999999999999999999})").find("too large"),
            std::string::npos);
}

TEST(RequestReader, RefusesNestingBeyond128) {
  const auto nested = [](int depth) {  // the object itself is the first level
    return "{\"model\":\"m\",\"x\":" + std::string(static_cast<std::size_t>(depth - 1), '[') +
           std::string(static_cast<std::size_t>(depth - 1), ']') + "}";
  };
  EXPECT_EQ(refusal(Operation::kChat, nested(128)), "taken");
  EXPECT_EQ(refusal(Operation::kChat, nested(129)),
            "The request's body is nested too deeply; expected at most 128 levels.");
  EXPECT_NE(refusal(Operation::kChat, std::string(1'000'000, '[')), "taken");
  // A large body makes the parser grow; its depth stays.
  RequestReader reader;
  EXPECT_TRUE(reader.read(Operation::kChat, R"({"model":"m","x":")" + std::string(3'000'000, 'x') + "\"}").has_value());
  EXPECT_FALSE(reader.read(Operation::kChat, nested(129)).has_value());
  EXPECT_TRUE(reader.read(Operation::kChat, nested(128)).has_value());
}

TEST(RequestReader, SaysWhichFieldIsWrong) {
  const auto field = [](Operation operation, const std::string& member) {
    return refusal(operation, "{\"model\":\"m\"," + member + "}");
  };
  EXPECT_EQ(refusal(Operation::kChat, "{}"),
            "The request names no model; expected the field 'model' with a model's name.");
  EXPECT_EQ(refusal(Operation::kChat, R"({"model":null})"),
            "The request names no model; expected the field 'model' with a model's name.");
  EXPECT_EQ(refusal(Operation::kModerations, "{}"), "taken");
  EXPECT_EQ(refusal(Operation::kChat, R"({"model":["m"]})"), "The field 'model' is an array; expected a string.");
  EXPECT_EQ(field(Operation::kChat, R"("stream":"true")"), "The field 'stream' is a string; expected true or false.");
  EXPECT_EQ(field(Operation::kChat, R"("max_tokens":"5")"),
            "The field 'max_tokens' is a string; expected a whole number from 0 to 100000000.");
  EXPECT_EQ(field(Operation::kChat, R"("max_tokens":-1)"),
            "The field 'max_tokens' is out of range; expected a whole number from 0 to 100000000.");
  EXPECT_EQ(field(Operation::kChat, R"("n":0)"),
            "The field 'n' is out of range; expected a whole number from 1 to 100000.");
  EXPECT_EQ(field(Operation::kChat, R"("n":1.5)"),
            "The field 'n' is out of range; expected a whole number from 1 to 100000.");
  EXPECT_EQ(field(Operation::kChat, R"("max_tokens":9223372036854775807)"),
            "The field 'max_tokens' is out of range; expected a whole number from 0 to 100000000.");
  EXPECT_EQ(field(Operation::kCompletions, R"("prompt":["a","b"],"n":60000)"),
            "The request asks for 120000 answers; expected at most 100000.");
  EXPECT_EQ(field(Operation::kChat, R"("logprobs":3)"), "The field 'logprobs' is a number; expected true or false.");
  EXPECT_EQ(field(Operation::kCompletions, R"("logprobs":true)"),
            "The field 'logprobs' is true or false; expected a whole number from 0 to 100000000.");
  EXPECT_EQ(field(Operation::kChat, R"("stream_options":{"include_usage":1})"),
            "The field 'stream_options.include_usage' is a number; expected true or false.");
  EXPECT_EQ(field(Operation::kResponses, R"("include":"x")"), "The field 'include' is a string; expected an array.");
  EXPECT_EQ(field(Operation::kResponses, R"("include":[1])"),
            "The field 'include' is an array; expected an array of strings.");
  EXPECT_EQ(field(Operation::kResponses, R"("input":{})"),
            "The field 'input' is an object; expected a string or an array.");
  EXPECT_EQ(field(Operation::kMessages, R"("thinking":true)"),
            "The field 'thinking' is true or false; expected an object.");
  EXPECT_EQ(field(Operation::kMessages, R"("metadata":{"user_id":7})"),
            "The field 'metadata.user_id' is a number; expected a string.");
  EXPECT_EQ(field(Operation::kChat, R"("messages":"Hi")"), "The field 'messages' is a string; expected an array.");
  EXPECT_EQ(field(Operation::kChat, R"("unheard_of":{"n":"x"})"), "taken");
}

TEST(RequestReader, SurvivesMutatedBodies) {
  const std::string body =
      R"({"model":"m","max_tokens":1024,"thinking":{"type":"enabled","budget_tokens":4096},"metadata":{"user_id":"u1"},"stream":true,)"
      R"("system":[{"type":"text","text":"Be kind"}],"include":["reasoning.encrypted_content"],"prompt":["a",[1,2]],"n":2,)"
      R"("messages":[{"role":"user","content":[{"type":"text","text":"L\u00e4\ud83d\ude00"}]},{"role":"assistant","content":"x"}],)"
      R"("input":[{"type":"reasoning","encrypted_content":"E"},{"role":"user","content":"y"}],"logit_bias":{"1":2}})";
  std::mt19937 random(5);
  RequestReader reader;
  int taken = 0;
  for (int round = 0; round < 8000; ++round) {
    std::string mutated = body;
    for (std::size_t i = random() % 4 + 1; i > 0; --i) {
      const std::size_t at = random() % mutated.size();
      switch (random() % 4) {
        case 0: mutated[at] = static_cast<char>(random()); break;
        case 1: mutated.erase(at, random() % 10); break;
        case 2: mutated.insert(at, std::string(mutated, random() % mutated.size(), random() % 40)); break;
        default: mutated[at] = "\"\\{}[]:,01"[random() % 10];
      }
    }
    for (const Operation operation :
         {Operation::kChat, Operation::kCompletions, Operation::kResponses, Operation::kMessages}) {
      const std::vector<char> exact(mutated.begin(), mutated.end());
      const std::string_view view(exact.data(), exact.size());
      if (reader.read(operation, view)) ++taken;
      reader.prompt_texts(operation, view);
    }
  }
  EXPECT_GT(taken, 100);
}

}  // namespace
}  // namespace retort::api
