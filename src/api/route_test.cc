#include "api/route.h"

#include <gtest/gtest.h>

#include <tuple>
#include <vector>

namespace retort::api {
namespace {

Route route(std::string method, std::string path, bool anthropic = false) {
  net::HttpRequest request;
  request.method = std::move(method);
  request.path = std::move(path);
  request.query = "beta=true";
  if (anthropic) request.headers.add("Anthropic-Version", "2023-06-01");
  return route_of(request);
}

TEST(Route, KnowsEveryPathOfTheTwoApis) {
  struct Case {
    std::string method, path;
    Operation operation;
    std::string id;
    Family family = Family::kOpenAi;
  };
  const Family anthropic = Family::kAnthropic;
  const std::vector<Case> cases = {
      {"POST", "/v1/chat/completions", Operation::kChat, ""},
      {"GET", "/v1/chat/completions", Operation::kStored, ""},
      {"GET", "/v1/chat/completions/chatcmpl-1", Operation::kStored, "chatcmpl-1"},
      {"POST", "/v1/chat/completions/chatcmpl-1", Operation::kStored, "chatcmpl-1"},
      {"DELETE", "/v1/chat/completions/chatcmpl-1", Operation::kStored, "chatcmpl-1"},
      {"GET", "/v1/chat/completions/chatcmpl-1/messages", Operation::kStored, "chatcmpl-1"},
      {"PUT", "/v1/chat/completions", Operation::kOther, ""},
      {"POST", "/v1/completions", Operation::kCompletions, ""},
      {"POST", "/v1/responses", Operation::kResponses, ""},
      {"GET", "/v1/responses/resp_1", Operation::kStored, "resp_1"},
      {"DELETE", "/v1/responses/resp_1", Operation::kStored, "resp_1"},
      {"POST", "/v1/responses/resp_1/cancel", Operation::kStored, "resp_1"},
      {"GET", "/v1/responses/resp_1/input_items", Operation::kStored, "resp_1"},
      {"GET", "/v1/responses/resp_1/unheard_of", Operation::kOther, "resp_1"},
      {"POST", "/v1/responses/input_tokens", Operation::kCountTokens, ""},
      {"POST", "/v1/responses/compact", Operation::kOther, ""},
      {"POST", "/v1/conversations", Operation::kStored, ""},
      {"GET", "/v1/conversations/conv_1/items/msg_1", Operation::kStored, "conv_1"},
      {"POST", "/v1/embeddings", Operation::kEmbeddings, ""},
      {"POST", "/v1/moderations", Operation::kModerations, ""},
      {"GET", "/v1/files", Operation::kFiles, ""},
      {"POST", "/v1/files", Operation::kFiles, ""},
      {"GET", "/v1/files/file-1/content", Operation::kFiles, "file-1"},
      {"POST", "/v1/batches", Operation::kBatches, ""},
      {"POST", "/v1/batches/batch_1/cancel", Operation::kBatches, "batch_1"},
      {"GET", "/v1/models", Operation::kModels, ""},
      {"GET", "/v1/models/gpt-5.1", Operation::kModels, "gpt-5.1"},
      {"HEAD", "/v1/models/gpt-5.1", Operation::kModels, "gpt-5.1"},
      {"GET", "/v1/models/Org%2FModel%20X", Operation::kModels, "Org/Model X"},
      {"GET", "/v1/models/org/model", Operation::kModels, "org/model"},
      {"DELETE", "/v1/models/ft-1", Operation::kOther, "ft-1"},
      {"POST", "/v1/messages", Operation::kMessages, "", anthropic},
      {"GET", "/v1/messages", Operation::kOther, "", anthropic},
      {"POST", "/v1/messages/count_tokens", Operation::kCountTokens, "", anthropic},
      {"POST", "/v1/messages/batches", Operation::kBatches, "", anthropic},
      {"GET", "/v1/messages/batches/msgbatch_1/results", Operation::kBatches, "msgbatch_1", anthropic},
      {"POST", "/v1/images/generations", Operation::kOther, ""},
      {"GET", "/v1/unheard_of", Operation::kOther, ""},
      {"OPTIONS", "/v1/chat/completions", Operation::kOther, ""},
      {"HEAD", "/v1/chat/completions", Operation::kStored, ""},
      {"GET", "/healthz", Operation::kNone, ""},
      {"GET", "/", Operation::kNone, ""},
      {"GET", "/v1", Operation::kNone, ""},
      {"GET", "/v12/models", Operation::kNone, ""},
  };
  for (const Case& one : cases) {
    const Route got = route(one.method, one.path);
    EXPECT_EQ(name_of(got.operation), name_of(one.operation)) << one.method << ' ' << one.path;
    EXPECT_EQ(got.id, one.id) << one.path;
    EXPECT_EQ(got.family, one.family) << one.path;
  }
}

TEST(Route, TakesTheDialectOfSharedPathsFromTheHeader) {
  for (const char* path : {"/v1/models", "/v1/models/x", "/v1/files", "/v1/unheard_of"}) {
    EXPECT_EQ(route("GET", path, true).family, Family::kAnthropic) << path;
    EXPECT_EQ(route("GET", path, false).family, Family::kOpenAi) << path;
  }
  // A path that is one API's alone stays its own, whatever the header says.
  EXPECT_EQ(route("POST", "/v1/chat/completions", true).family, Family::kOpenAi);
  EXPECT_EQ(route("POST", "/v1/messages", false).family, Family::kAnthropic);
}

TEST(Route, RefusesPathsThatCouldBeReadAsAnother) {
  for (const char* path : {"/v1/../admin",
                           "/v1/chat/../completions",
                           "/v1/./models",
                           "//v1/models",
                           "/v1//models",
                           "/v1/models/",
                           "/v1/chat/completions/",
                           "/v1/chat%2Fcompletions",
                           "/v1/%63hat/completions",
                           "/v1/chat/%63ompletions",
                           "/%761/models",
                           "/v1/models/..%2F..%2Fadmin",
                           "/v1/models/%2e%2e",
                           "/v1/models/a%2F%2Fb",
                           "/v1/models/a%252e",
                           "/v1/models/a%00b",
                           "/v1/models/a%5Cb",
                           "/v1/models/a%2",
                           "/v1/models/%FF",
                           "/v1/models/a/../b",
                           "/v1/chat\\completions",
                           "/v1/chat/completions;x=1",
                           "/v1/chat/completions#x",
                           "/v1/chat/completions?x",
                           "/v1/Chat/Completions",
                           "/v1/MESSAGES",
                           "/v1/responses/resp_1/%63ancel",
                           "/v1/files/a%2Fb/%2e%2e/c",
                           "http://host/v1/models",
                           "v1/models",
                           ""}) {
    for (const char* method : {"GET", "POST"}) {
      const Route got = route(method, path);
      EXPECT_EQ(name_of(got.operation), "none") << method << ' ' << path;
      EXPECT_EQ(got.id, "") << path;
    }
  }
  EXPECT_EQ(route("GET", "/v1/Unheard_Of").operation, Operation::kOther);
}

TEST(Route, SaysWhatGenerates) {
  EXPECT_TRUE(generates(Operation::kCompletions));
  EXPECT_FALSE(generates(Operation::kCountTokens));
  EXPECT_EQ(dialect_of(Operation::kChat), "openai.chat");
  EXPECT_EQ(dialect_of(Operation::kCompletions), "openai.chat");
  EXPECT_EQ(dialect_of(Operation::kResponses), "openai.responses");
  EXPECT_EQ(dialect_of(Operation::kMessages), "anthropic.messages");
  EXPECT_EQ(dialect_of(Operation::kStored), "");
}

}  // namespace
}  // namespace retort::api
