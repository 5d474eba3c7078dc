#include "net/upstream.h"

#include <boost/asio/ssl/host_name_verification.hpp>
#include <charconv>

#include "base/text.h"
#include "net/upstream_connection.h"

namespace retort::net {
namespace {

constexpr std::uint16_t kHttpPort = 80;
constexpr std::uint16_t kHttpsPort = 443;

void add_field(std::string& text, std::string_view name, std::string_view value) {
  RETORT_CHECK(name.find_first_of("\r\n") == std::string_view::npos);
  RETORT_CHECK(value.find_first_of("\r\n") == std::string_view::npos);
  text += name;
  text += ": ";
  text += value;
  text += "\r\n";
}

// The request in our own framing, whatever framing it came in.
std::string request_head(const HttpRequest& request, const Origin& origin) {
  std::string text;
  text.reserve(512);
  text += request.method;
  text += ' ';
  text += origin.path;
  text += request.path;
  if (!request.query.empty()) {
    text += '?';
    text += request.query;
  }
  text += " HTTP/1.1\r\n";
  add_field(text, "Host", origin.authority());
  for (const Headers::Field& field : request.headers.fields()) add_field(text, field.name, field.value);
  if (!request.body.empty() || (request.method != "GET" && request.method != "HEAD" && request.method != "DELETE")) {
    add_field(text, "Content-Length", std::to_string(request.body.size()));
  }
  text += "\r\n";
  return text;
}

// RFC 9110, 9.2.2.
bool is_idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" || method == "DELETE";
}

class Call final : public UpstreamCall {
 public:
  explicit Call(std::shared_ptr<const Asked> place) : place_(std::move(place)) {}
  void cancel() override {
    if (const auto connection = asking()) connection->cancel();
  }
  void pause() override {
    if (const auto connection = asking()) connection->pause();
  }
  void resume() override {
    if (const auto connection = asking()) connection->resume();
  }

 private:
  std::shared_ptr<UpstreamConnection> asking() const {
    auto connection = place_->connection.lock();
    return connection && connection->asking(place_->number) ? connection : nullptr;
  }
  std::shared_ptr<const Asked> place_;
};

}  // namespace

std::string Origin::authority() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == (tls ? kHttpsPort : kHttpPort) ? name : name + ":" + std::to_string(port);
}

Result<Origin> Origin::parse(std::string_view url) {
  const auto refused = [&](const std::string& why) {
    return caller_error("'" + std::string(url) + "' " + why +
                        "; expected a URL such as http://127.0.0.1:8080 or https://api.example.com/v1.");
  };
  Origin origin;
  std::string_view rest = url;
  if (rest.starts_with("https://")) {
    origin.tls = true;
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return refused("does not begin with http:// or https://");
  }
  if (rest.find_first_of("?#@ \r\n\t") != std::string_view::npos) {
    return refused("has a user, a query, a fragment or a space in it");
  }
  const std::size_t slash = rest.find('/');
  std::string_view place = rest.substr(0, slash);
  if (slash != std::string_view::npos) origin.path = rest.substr(slash);
  while (origin.path.ends_with('/')) origin.path.pop_back();
  origin.port = origin.tls ? kHttpsPort : kHttpPort;
  const std::size_t bracket = place.starts_with('[') ? place.find(']') : std::string_view::npos;
  const std::size_t colon = place.find(':', bracket == std::string_view::npos ? 0 : bracket);
  origin.host = bracket == std::string_view::npos ? place.substr(0, colon) : place.substr(1, bracket - 1);
  if (origin.host.empty()) return refused("names no host");
  if (colon != std::string_view::npos) {
    const std::string_view digits = place.substr(colon + 1);
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), origin.port);
    if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size() || origin.port == 0) {
      return refused("has a port that is not a number from 1 to 65535");
    }
  }
  return origin;
}

UpstreamPool::UpstreamPool(std::shared_ptr<Inside> inside) : inside_(std::move(inside)) {}

Result<std::unique_ptr<UpstreamPool>> UpstreamPool::create(UpstreamOptions options,
                                                           std::shared_ptr<NetworkThread> thread) {
  auto inside = std::make_shared<Inside>(std::move(options), thread->inside());
  if (inside->options.origin.tls) {
    inside->tls = std::make_shared<boost::asio::ssl::context>(boost::asio::ssl::context::tls_client);
    SSL_CTX_set_min_proto_version(inside->tls->native_handle(), TLS1_2_VERSION);
    boost::system::error_code error;
    const std::string& file = inside->options.authorities;
    if (file.empty()) {
      inside->tls->set_default_verify_paths(error);
    } else {
      inside->tls->load_verify_file(file, error);
    }
    if (error) {
      return caller_error("The certificates '" + file + "' can't be used (" + error.message() +
                          "); expected a PEM file with the authorities to trust.");
    }
    inside->tls->set_verify_mode(boost::asio::ssl::verify_peer);
  }
  std::unique_ptr<UpstreamPool> pool(new UpstreamPool(std::move(inside)));
  pool->thread_ = std::move(thread);
  return pool;
}

UpstreamPool::~UpstreamPool() {
  inside_->closed = true;
  inside_->idle.clear();
  const auto connected = inside_->connected;
  for (const auto& connection : connected) connection->cancel();
}

std::shared_ptr<UpstreamCall> UpstreamPool::start(HttpRequest request, std::shared_ptr<UpstreamListener> listener) {
  std::shared_ptr<UpstreamConnection> connection;
  if (!inside_->idle.empty()) {
    connection = std::move(inside_->idle.back());
    inside_->idle.pop_back();
  } else {
    connection = Inside::connect(inside_);
  }
  const Resend resend = inside_->options.resend;
  Asking asking;
  asking.head = request_head(request, inside_->options.origin);
  asking.body = std::move(request.body);
  asking.head_only = request.method == "HEAD";
  asking.may_resend = resend == Resend::kAnything || (resend == Resend::kIdempotent && is_idempotent(request.method));
  asking.listener = std::move(listener);
  asking.place = std::make_shared<Asked>();
  const auto call = std::make_shared<Call>(asking.place);
  connection->ask(std::move(asking));
  return call;
}

}  // namespace retort::net
