#include "api/blobs.h"

#include <gtest/gtest.h>

#include <random>
#include <utility>
#include <vector>

namespace retort::api {
namespace {

using Kind = BlobFate::Kind;

struct Asked {
  std::string blob;
  Digest prefix;
};

// The body with every blob replaced by what is in brackets, and what was asked.
std::pair<std::string, std::vector<Asked>> replaced(Operation operation, const std::string& body) {
  std::vector<Asked> asked;
  const Result<std::string> out = rewrite_blobs(operation, body, [&](std::string_view blob, const Digest& prefix) {
    asked.push_back({std::string(blob), prefix});
    return BlobFate{.kind = Kind::kReplace, .blob = "[" + std::string(blob) + "]", .sentence = {}};
  });
  EXPECT_TRUE(out.has_value());
  return {out.value_or("an error"), asked};
}

std::string dropped(Operation operation, const std::string& body, std::string_view only = "") {
  return rewrite_blobs(operation, body,
                       [&](std::string_view blob, const Digest&) {
                         const bool drop = only.empty() || blob == only;
                         return BlobFate{
                             .kind = drop ? Kind::kDrop : Kind::kReplace, .blob = std::string(blob), .sentence = {}};
                       })
      .value_or("an error");
}

Digest digest(Operation operation, const std::string& body) {
  const Result<Digest> read = conversation_digest(operation, body);
  EXPECT_TRUE(read.has_value());
  return read.value_or(Digest{});
}

// The prefixes that the blobs of a body are asked with.
std::vector<Digest> prefixes(Operation operation, const std::string& body) {
  std::vector<Digest> all;
  for (const Asked& one : replaced(operation, body).second) all.push_back(one.prefix);
  return all;
}

const std::string kMessages =
    R"({ "model":"m","max_tokens":1.0e1, "messages":[{"role":"user","content":"Q"}, {"role":"assistant","content":[)"
    R"({"type":"thinking","thinking":"hm","signature":"S\/1"}, {"type":"redacted_thinking","data":"D1"},{"type":"text","text":"A"}]},)"
    R"({"role":"user","content":"Q2"},{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"S2"}]},{"role":"user","content":"Q3"}]})";

TEST(Blobs, AreReplacedInPlace) {
  const auto [out, asked] = replaced(Operation::kMessages, kMessages);
  ASSERT_EQ(asked.size(), 3U);
  EXPECT_EQ(asked[0].blob, "S/1");
  EXPECT_EQ(asked[1].blob, "D1");
  EXPECT_EQ(asked[2].blob, "S2");
  EXPECT_EQ(asked[0].prefix, asked[1].prefix) << "one answer's blobs have one prefix";
  EXPECT_NE(asked[1].prefix, asked[2].prefix);
  EXPECT_EQ(
      out,
      R"({ "model":"m","max_tokens":1.0e1, "messages":[{"role":"user","content":"Q"}, {"role":"assistant","content":[)"
      R"({"type":"thinking","thinking":"hm","signature":"[S/1]"}, {"type":"redacted_thinking","data":"[D1]"},{"type":"text","text":"A"}]},)"
      R"({"role":"user","content":"Q2"},{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"[S2]"}]},{"role":"user","content":"Q3"}]})");
  const std::string responses =
      R"({"input":[{"role":"user","content":"Q"},{"type":"reasoning","encrypted_content":"E","summary":[]},{"type":"compaction","encrypted_content":"C"},{"type":"reasoning","encrypted_content":null}]})";
  EXPECT_EQ(
      replaced(Operation::kResponses, responses).first,
      R"({"input":[{"role":"user","content":"Q"},{"type":"reasoning","encrypted_content":"[E]","summary":[]},{"type":"compaction","encrypted_content":"[C]"},{"type":"reasoning","encrypted_content":null}]})");
  const std::string chat =
      R"({"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A","reasoning_details":[{"type":"reasoning.text","text":"t","signature":"S"},{"data":"D"}]}]})";
  EXPECT_EQ(
      replaced(Operation::kChat, chat).first,
      R"({"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A","reasoning_details":[{"type":"reasoning.text","text":"t","signature":"[S]"},{"data":"[D]"}]}]})");
}

TEST(Blobs, LeaveTheBytesWhereNothingChanges) {
  const auto same = [](std::string_view blob, const Digest&) {
    return BlobFate{.kind = Kind::kReplace, .blob = std::string(blob), .sentence = {}};
  };
  EXPECT_EQ(rewrite_blobs(Operation::kMessages, kMessages, same).value_or(""), kMessages);
  for (const Operation operation : {Operation::kCompletions, Operation::kModels, Operation::kEmbeddings}) {
    EXPECT_EQ(replaced(operation, kMessages).first, kMessages);
  }
  const std::string none =
      R"({"messages":[{"role":"user","content":[{"type":"thinking","signature":""},{"type":"text","signature":"x"}]}]})";
  EXPECT_EQ(replaced(Operation::kMessages, none).first, none);
}

TEST(Blobs, TakeTheirBlockWithThem) {
  EXPECT_EQ(
      dropped(Operation::kMessages, kMessages),
      R"({ "model":"m","max_tokens":1.0e1, "messages":[{"role":"user","content":"Q"}, {"role":"assistant","content":[)"
      R"({"type":"text","text":"A"}]},{"role":"user","content":"Q2"},{"role":"user","content":"Q3"}]})");
  EXPECT_EQ(
      dropped(Operation::kMessages, kMessages, "D1"),
      R"({ "model":"m","max_tokens":1.0e1, "messages":[{"role":"user","content":"Q"}, {"role":"assistant","content":[)"
      R"({"type":"thinking","thinking":"hm","signature":"S\/1"},{"type":"text","text":"A"}]},)"
      R"({"role":"user","content":"Q2"},{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"S2"}]},{"role":"user","content":"Q3"}]})");
  EXPECT_EQ(
      dropped(
          Operation::kResponses,
          R"({"input":[{"type":"reasoning","encrypted_content":"E"},{"role":"user","content":"Q"},{"type":"reasoning","encrypted_content":"F"}]})"),
      R"({"input":[{"role":"user","content":"Q"}]})");
  EXPECT_EQ(dropped(Operation::kResponses, R"({"input":[ {"type":"reasoning","encrypted_content":"E"} ]})"),
            R"({"input":[  ]})");
  EXPECT_EQ(dropped(Operation::kChat,
                    R"({"messages":[{"content":"A","reasoning_details":[{"signature":"S"},{"data":"D"}]}]})", "S"),
            R"({"messages":[{"content":"A","reasoning_details":[{"data":"D"}]}]})");
}

TEST(Blobs, AreRefusedWithASentence) {
  int asked = 0;
  const Result<std::string> out = rewrite_blobs(Operation::kMessages, kMessages, [&](std::string_view, const Digest&) {
    ++asked;
    return BlobFate{.kind = Kind::kRefuse, .blob = {}, .sentence = "It is another organisation's."};
  });
  ASSERT_FALSE(out.has_value());
  EXPECT_EQ(out.error().message, "It is another organisation's.");
  EXPECT_EQ(out.error().fault, Fault::kCaller);
  EXPECT_EQ(asked, 1);
  EXPECT_FALSE(conversation_digest(Operation::kMessages, "{").has_value());
}

TEST(Conversation, IsTheSameWhenSealedAndWhenReplayedInMessages) {
  const std::string first =
      R"({"model":"m","system":"S","tools":[],"messages":[{"role":"user","content":"Question"}]})";
  const std::string second =
      R"({"model":"m","system":[{"type":"text","text":"S, at noon"}],"messages":[)"
      R"({"role":"user","content":[{"type":"text","text":"Question","cache_control":{"type":"ephemeral"}}]},)"
      R"({"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"B1"},{"type":"tool_use","id":"t1","name":"f","input":{"b":1,"a":[2]}}]},)"
      R"({"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"42"}]}]})";
  EXPECT_EQ(prefixes(Operation::kMessages, second), std::vector<Digest>{digest(Operation::kMessages, first)});
  const std::string third =
      R"({"model":"m","messages":[{"role":"user","content":"Question"},)"
      R"({"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"B1"},{"type":"tool_use","id":"t1","name":"f","input":{"a":[2],"b":1},"cache_control":null}]},)"
      R"({"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","is_error":false,"content":[{"type":"text","text":"42"}],"cache_control":{"type":"ephemeral"}}]},)"
      R"({"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"B2"},{"type":"text","text":"It is 42."}]},{"role":"user","content":"Sure?"}]})";
  EXPECT_EQ(prefixes(Operation::kMessages, third),
            (std::vector<Digest>{digest(Operation::kMessages, first), digest(Operation::kMessages, second)}));
  // A client that leaves the thinking of earlier turns out says the same.
  const std::string lean =
      R"({"messages":[{"role":"user","content":"Question"},{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"f","input":{"a":[2],"b":1}}]},)"
      R"({"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"42"}]}]})";
  EXPECT_EQ(digest(Operation::kMessages, lean), digest(Operation::kMessages, second));
}

TEST(Conversation, IsTheSameWhenItsTokensAreCounted) {
  EXPECT_EQ(replaced(Operation::kCountTokens, kMessages).first, replaced(Operation::kMessages, kMessages).first);
  EXPECT_EQ(prefixes(Operation::kCountTokens, kMessages), prefixes(Operation::kMessages, kMessages));
  const std::string responses =
      R"({"input":[{"role":"user","content":"Q"},{"type":"reasoning","encrypted_content":"E"}]})";
  EXPECT_EQ(prefixes(Operation::kCountTokens, responses), prefixes(Operation::kResponses, responses));
  EXPECT_EQ(prefixes(Operation::kCountTokens, responses).size(), 1U);
}

TEST(Conversation, IsTheSameWhenSealedAndWhenReplayedInResponses) {
  const std::string first = R"({"model":"m","instructions":"I","input":"Question"})";
  const std::string second =
      R"({"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"Question"}]},)"
      R"({"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"B1"},)"
      R"({"id":"fc_1","type":"function_call","status":"completed","call_id":"c1","name":"f","arguments":"{}"},)"
      R"({"type":"function_call_output","call_id":"c1","output":"42"}]})";
  EXPECT_EQ(prefixes(Operation::kResponses, second), std::vector<Digest>{digest(Operation::kResponses, first)});
  const std::string third =
      R"({"model":"m","input":[{"role":"developer","content":"It is noon."},{"type":"message","role":"user","content":"Question"},)"
      R"({"type":"reasoning","summary":[],"encrypted_content":"B1"},)"
      R"({"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},)"
      R"({"id":"x","type":"function_call_output","call_id":"c1","output":[{"type":"input_text","text":"42"}]},)"
      R"({"id":"rs_2","type":"reasoning","summary":[],"encrypted_content":"B2"},)"
      R"({"id":"msg","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"It is 42."}]},)"
      R"({"role":"user","content":"Sure?"}]})";
  EXPECT_EQ(prefixes(Operation::kResponses, third),
            (std::vector<Digest>{digest(Operation::kResponses, first), digest(Operation::kResponses, second)}));
}

TEST(Conversation, IsTheSameWhenSealedAndWhenReplayedInChat) {
  const std::string first = R"({"messages":[{"role":"system","content":"S"},{"role":"user","content":"Question"}]})";
  const std::string second =
      R"({"messages":[{"role":"system","content":"S2"},{"role":"user","content":[{"type":"text","text":"Question"}]},)"
      R"({"role":"assistant","content":null,"reasoning":"r","reasoning_details":[{"data":"B1"}],"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},)"
      R"({"role":"tool","tool_call_id":"c","content":"42"}]})";
  EXPECT_EQ(prefixes(Operation::kChat, second), std::vector<Digest>{digest(Operation::kChat, first)});
}

TEST(Conversation, DiffersWhereATurnDiffers) {
  const auto of = [](const std::string& turns) {
    return digest(Operation::kMessages, "{\"messages\":[" + turns + "]}");
  };
  const std::string base =
      R"({"role":"user","content":"Q"},{"role":"assistant","content":[{"type":"text","text":"A"},{"type":"tool_use","id":"t","name":"f","input":{"x":1}}]},)"
      R"({"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"42"}]})";
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"\"Q\"", "\"Q \""},
           {"\"A\"", "\"B\""},
           {"\"x\":1", "\"x\":2"},
           {"\"x\":1", "\"y\":1"},
           {"\"name\":\"f\"", "\"name\":\"g\""},
           {"\"42\"", "\"43\""},
           {"\"content\":\"42\"", "\"is_error\":true,\"content\":\"42\""},
           {"\"content\":\"Q\"", "\"content\":[{\"type\":\"text\",\"text\":\"Q\"},{\"type\":\"image\",\"source\":{}}]"},
           {"\"role\":\"assistant\"", "\"role\":\"user\""}}) {
    std::string changed = base;
    changed.replace(changed.find(from), from.size(), to);
    EXPECT_NE(of(changed), of(base)) << to;
  }
  // A mark of the cache moves from turn to turn.
  EXPECT_EQ(
      of(R"({"role":"user","content":[{"type":"image","source":{"data":"D"},"cache_control":{"type":"ephemeral"}}]})"),
      of(R"({"role":"user","content":[{"source":{"data":"D"},"type":"image","title":null}]})"));
  // A tool may answer with an object.
  const auto screen = [](const std::string& url) {
    return digest(
        Operation::kResponses,
        R"({"input":[{"type":"computer_call_output","call_id":"c","output":{"image_url":")" + url + R"("}}]})");
  };
  EXPECT_NE(screen("a"), screen("b"));
  // Texts can't be moved over the border of two blocks.
  EXPECT_NE(of(R"({"role":"user","content":[{"type":"text","text":"ab"},{"type":"text","text":"c"}]})"),
            of(R"({"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"bc"}]})"));
  // What the assistant said after the client's last turn doesn't count yet.
  EXPECT_EQ(of(base + R"(,{"role":"assistant","content":"Begin"})"), of(base));
  // One API's conversation is no other's.
  EXPECT_NE(digest(Operation::kChat, R"({"messages":[{"role":"user","content":"Q"}]})"),
            of(R"({"role":"user","content":"Q"})"));
}

TEST(Blobs, SurviveMutatedBodies) {
  const std::vector<std::pair<Operation, std::string>> bodies = {
      {Operation::kMessages, kMessages},
      {Operation::kResponses,
       R"({"input":[{"role":"user","content":[{"type":"input_text","text":"Q"}]},{"type":"reasoning","encrypted_content":"E","summary":[]},{"type":"function_call_output","call_id":"c","output":"o"}]})"},
      {Operation::kChat,
       R"({"messages":[{"role":"assistant","content":"A","reasoning_details":[{"signature":"S","data":"D"}]}]})"}};
  std::mt19937 random(9);
  for (const auto& [operation, body] : bodies) {
    for (int round = 0; round < 4000; ++round) {
      std::string mutated = body;
      for (std::size_t i = random() % 4 + 1; i > 0; --i) {
        const std::size_t at = random() % mutated.size();
        switch (random() % 3) {
          case 0: mutated.erase(at, random() % 30); break;
          case 1: mutated.insert(at, std::string(mutated, random() % mutated.size(), random() % 60)); break;
          default: mutated[at] = "\"\\{}[]:,01\xFF"[random() % 11];
        }
      }
      const auto fate = [&](std::string_view blob, const Digest&) {
        return BlobFate{
            .kind = random() % 2 == 0 ? Kind::kDrop : Kind::kReplace, .blob = std::string(blob) + "!", .sentence = {}};
      };
      const Result<std::string> out = rewrite_blobs(operation, mutated, fate);
      if (out) {
        ASSERT_TRUE(conversation_digest(operation, *out).has_value()) << mutated << "\nbecame\n" << *out;
      }
    }
  }
}

}  // namespace
}  // namespace retort::api
