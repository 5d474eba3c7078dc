// A model API that costs next to nothing to ask: every chat completion is answered at once with about 1 KB of text. For
// measuring clients. Prints its URL and ends with its standard input.
#include <iostream>
#include <string>

#include "net/server.h"

int main() {
  const std::string text(900, 'a');
  const std::string answer =
      R"({"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"bench","choices":[{"index":0,"message":)"
      R"({"role":"assistant","content":")" +
      text +
      R"(","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":200,)"
      R"("total_tokens":220}})";
  auto server = retort::net::HttpServer::listen(
      {}, [&](const retort::net::HttpRequest& request, const std::shared_ptr<retort::net::Reply>& reply) {
        const bool chat = request.path == "/v1/chat/completions";
        reply->send(retort::net::json_response(chat ? 200 : 404, chat ? answer : "{}"));
      });
  if (!server) {
    std::cerr << server.error().message << '\n';
    return 1;
  }
  std::cout << (*server)->url() << "/v1" << std::endl;
  std::string line;
  while (std::getline(std::cin, line)) {
  }
  return 0;
}
