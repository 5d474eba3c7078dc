#include "guard/worker.h"

#include <future>
#include <utility>

#include "guard/passage.h"

namespace retort::guard {
namespace {

net::Resend resend_of(const std::string& name) {
  if (name == "nothing") return net::Resend::kNothing;
  return name == "idempotent" ? net::Resend::kIdempotent : net::Resend::kAnything;
}

}  // namespace

Worker::Worker(GuardState& state, std::uint64_t seed)
    : state_(state), admitter_(state, seed), thread_(std::make_shared<net::NetworkThread>()) {}

Result<std::unique_ptr<Worker>> Worker::start(GuardState& state, net::ServerOptions options, std::uint64_t seed) {
  std::unique_ptr<Worker> worker(new Worker(state, seed));
  options.error_response = [](int status, std::string_view sentence) {
    return api::error_response(api::Family::kOpenAi,
                               {.status = status, .message = std::string(sentence), .code = {}, .param = {}}, "");
  };
  RETORT_ASSIGN(worker->server_, net::HttpServer::listen(
                                     std::move(options),
                                     [raw = worker.get()](net::HttpRequest request, std::shared_ptr<net::Reply> reply) {
                                       raw->handle(std::move(request), std::move(reply));
                                     },
                                     worker->thread_));
  return worker;
}

Worker::~Worker() {
  server_.reset();
  std::promise<void> closed;
  thread_->post([this, &closed] {
    pools_.clear();
    closed.set_value();
  });
  closed.get_future().wait();
  thread_.reset();  // waits for what is still pending on it
}

net::UpstreamPool* Worker::pool(const Upstream& upstream) {
  const std::string place = upstream.options.url + "\n" + upstream.options.authorities + "\n" + upstream.options.resend;
  auto& pool = pools_[place];
  if (!pool) {
    net::UpstreamOptions options;
    options.origin = upstream.origin;
    options.authorities = upstream.options.authorities;
    options.resend = resend_of(upstream.options.resend);
    auto made = net::UpstreamPool::create(std::move(options), thread_);
    if (!made) {
      state_.log(made.error().message);
      return nullptr;
    }
    pool = std::move(*made);
  }
  return pool.get();
}

void Worker::when_written(const evidence::Staged& staged, std::function<void(bool)> then) {
  // Behind what is already waiting to be done on this thread: other requests that have come, each with its record.
  if (waiting_.empty()) thread_->post([this] { settle_staged(); });
  waiting_.push_back({staged, std::move(then)});
}

void Worker::settle_staged() {
  const std::vector<Waiting> written = std::exchange(waiting_, {});
  for (const Waiting& one : written) {
    const bool kept = state_.recorder->settle(one.staged).has_value();
    state_.evidence_kept(kept);
    one.then(kept);
  }
}

void Worker::handle(net::HttpRequest request, std::shared_ptr<net::Reply> reply) {
  if (request.method == "GET" || request.method == "HEAD") {
    if (request.path == "/healthz") {
      reply->send(net::json_response(200, R"({"status":"ok"})"));
      return;
    }
    // Whether to send callers here; evidence that is down is no reason where it isn't required.
    if (request.path == "/readyz") {
      const bool ready = state_.ready();
      reply->send(net::json_response(ready ? 200 : 503, ready ? R"({"status":"ready"})" : R"({"status":"not ready"})"));
      return;
    }
  }
  std::make_shared<Passage>(*this, std::move(request), std::move(reply))->begin();
}

}  // namespace retort::guard
