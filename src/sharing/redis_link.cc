#include "sharing/redis_link.h"

#include <hiredis/hiredis.h>

#include <charconv>

namespace retort::sharing {
namespace {

constexpr timeval kConnectTimeout{0, 50'000};
constexpr timeval kAnswerTimeout{0, 100'000};
constexpr double kPause_s = 1;

struct ReplyFree {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, ReplyFree>;

template <class Number>
bool read_number(std::string_view text, Number& number) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  return !text.empty() && parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

bool add_number(const redisReply& reply, RedisLink::Numbers& numbers) {
  if (reply.type == REDIS_REPLY_INTEGER) {
    numbers.push_back(reply.integer);
    return true;
  }
  if (reply.type == REDIS_REPLY_STATUS) return true;  // "OK"
  std::int64_t number = 0;
  if (reply.type != REDIS_REPLY_STRING || !read_number(std::string_view(reply.str, reply.len), number)) return false;
  numbers.push_back(number);
  return true;
}

bool read_reply(const redisReply& reply, RedisLink::Numbers& numbers) {
  if (reply.type != REDIS_REPLY_ARRAY) return add_number(reply, numbers);
  for (std::size_t i = 0; i < reply.elements; ++i) {
    if (!add_number(*reply.element[i], numbers)) return false;
  }
  return true;
}

}  // namespace

Result<RedisAddress> RedisAddress::parse(const std::string& text) {
  const auto refused = [&] {
    return caller_error("'" + text +
                        "' is not where a Redis is; expected redis://HOST:PORT/DATABASE (a password in the variable "
                        "that password_env names) or unix:/path.");
  };
  RedisAddress address;
  if (text.starts_with("unix:")) {
    address.path = text.substr(5);
    if (!address.path.starts_with('/')) return refused();
    return address;
  }
  constexpr std::string_view kScheme = "redis://";
  if (!text.starts_with(kScheme)) return refused();
  std::string rest = text.substr(kScheme.size());
  if (const std::size_t slash = rest.find('/'); slash != std::string::npos) {
    const std::string database = rest.substr(slash + 1);
    if (!database.empty() && (!read_number(database, address.database) || address.database < 0)) return refused();
    rest.resize(slash);
  }
  const std::size_t colon = rest.rfind(':');
  if (colon != std::string::npos && !rest.ends_with(']')) {
    if (!read_number(std::string_view(rest).substr(colon + 1), address.port) || address.port == 0) return refused();
    rest.resize(colon);
  }
  if (rest.starts_with('[') && rest.ends_with(']')) rest = rest.substr(1, rest.size() - 2);
  if (rest.empty() || rest.find_first_of("@ ") != std::string::npos) return refused();
  address.host = rest;
  return address;
}

struct RedisLink::Connection {
  redisContext* context = nullptr;
  ~Connection() {
    if (context != nullptr) redisFree(context);
  }
};

RedisLink::RedisLink(RedisAddress address, const Clock& clock) : address_(std::move(address)), clock_(clock) {}
RedisLink::~RedisLink() = default;

Error RedisLink::broken(const std::string& what) {
  connection_.reset();
  not_before_s_ = clock_.monotonic_s() + kPause_s;
  return Error{Fault::kWorld, "Redis: " + what + "."};
}

Result<void> RedisLink::prepare(const Command& command) {
  std::vector<const char*> words;
  std::vector<std::size_t> sizes;
  for (const std::string& word : command) {
    words.push_back(word.data());
    sizes.push_back(word.size());
  }
  if (redisAppendCommandArgv(connection_->context, static_cast<int>(words.size()), words.data(), sizes.data()) !=
      REDIS_OK) {
    return Failure(broken("a command could not be written"));
  }
  return {};
}

Result<void> RedisLink::connect() {
  if (connection_) return {};
  if (clock_.monotonic_s() < not_before_s_) return Failure(Error{Fault::kWorld, "Redis was not there a moment ago."});
  connection_ = std::make_unique<Connection>();
  redisContext*& context = connection_->context;
  context = address_.path.empty() ? redisConnectWithTimeout(address_.host.c_str(), address_.port, kConnectTimeout)
                                  : redisConnectUnixWithTimeout(address_.path.c_str(), kConnectTimeout);
  if (context == nullptr) return Failure(broken("no memory for a connection"));
  if (context->err != 0) return Failure(broken(context->errstr));
  redisSetTimeout(context, kAnswerTimeout);
  std::vector<Command> greetings;
  if (!address_.password.empty()) greetings.push_back({"AUTH", address_.password});
  if (address_.database != 0) greetings.push_back({"SELECT", std::to_string(address_.database)});
  if (greetings.empty()) return {};
  const auto greeted = ask(greetings);
  if (!greeted) return Failure(greeted.error());
  return {};
}

Result<std::vector<RedisLink::Numbers>> RedisLink::ask(const std::vector<Command>& commands) {
  RETORT_TRY(connect());
  for (const Command& command : commands) RETORT_TRY(prepare(command));
  std::vector<Numbers> answers;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    void* raw = nullptr;
    if (redisGetReply(connection_->context, &raw) != REDIS_OK || raw == nullptr) {
      return Failure(broken(connection_->context->errstr));
    }
    const Reply reply(static_cast<redisReply*>(raw));
    if (reply->type == REDIS_REPLY_ERROR) return Failure(broken(std::string(reply->str, reply->len)));
    Numbers numbers;
    if (!read_reply(*reply, numbers)) return Failure(broken("it answered something else than numbers"));
    answers.push_back(std::move(numbers));
  }
  return answers;
}

}  // namespace retort::sharing
