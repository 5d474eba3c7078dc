#include "guard/gateway.h"

#include <algorithm>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "guard/admin.h"
#include "guard/authz.h"
#include "guard/worker.h"

namespace retort::guard {
namespace {

constexpr std::chrono::milliseconds kRefreshEvery{500};
constexpr std::int64_t kMostWorkers = 4;

}  // namespace

struct Gateway::Inside {
  std::unique_ptr<GuardState> state;
  std::vector<std::unique_ptr<Worker>> workers;
  std::unique_ptr<Admin> admin;
  std::unique_ptr<Authz> authz;
  std::thread keeper;
  std::mutex mutex;
  std::condition_variable wake;
  bool stopping = false;
  std::string url;
  std::string certificates;  // what TLS was begun with

  void keep() {
    std::unique_lock lock(mutex);
    while (!wake.wait_for(lock, kRefreshEvery, [this] { return stopping; })) {
      lock.unlock();
      state->refresh();
      renew_certificate();
      lock.lock();
    }
  }

  // A certificate that was renewed in place, or another one after a reload.
  void renew_certificate() {
    const std::string now = certificate_stamp();
    if (now == certificates || now.empty()) return;
    certificates = now;
    const auto rules = state->now()->rules;
    const TlsOptions& tls = rules->options.tls;
    for (const auto& worker : workers) {
      const auto used = worker->server().use_certificate(rules->path(tls.certificate), rules->path(tls.key));
      if (!used) state->log(used.error().message);
    }
  }

  std::string certificate_stamp() const {
    const auto rules = state->now()->rules;
    const TlsOptions& tls = rules->options.tls;
    if (tls.certificate.empty()) return {};
    std::string stamp;
    for (const std::string& file : {tls.certificate, tls.key}) {
      std::error_code error;
      const auto time = std::filesystem::last_write_time(rules->path(file), error);
      stamp += file + " " + std::to_string(error ? 0 : time.time_since_epoch().count()) + "\n";
    }
    return stamp;
  }
};

Gateway::Gateway(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}

Result<std::unique_ptr<Gateway>> Gateway::start(const std::filesystem::path& configuration, const Clock& clock,
                                                Environment environment, Log log) {
  RETORT_ASSIGN(auto rules, load_rules(configuration, environment));
  auto inside = std::make_unique<Inside>();
  const GuardOptions& options = rules->options;
  RETORT_ASSIGN(const Listen listen, parse_listen(options.listen));
  for (const std::string& warning : rules->warnings) log(warning);
  RETORT_ASSIGN(inside->state, GuardState::open(rules, clock, std::move(environment), std::move(log)));
  net::ServerOptions server;
  server.host = listen.host;
  server.port = listen.port;
  server.max_body_bytes = static_cast<std::size_t>(options.max_body_mb) << 20U;
  server.max_connections = 1 << 16;
  server.max_unsent_bytes = 64 << 20;
  if (!options.tls.certificate.empty()) {
    server.tls_certificate = rules->path(options.tls.certificate).string();
    server.tls_key = rules->path(options.tls.key).string();
    inside->certificates = inside->certificate_stamp();
  }
  const std::int64_t cores = std::max<std::int64_t>(1, static_cast<std::int64_t>(std::thread::hardware_concurrency()));
  const std::int64_t workers = options.workers > 0 ? options.workers : std::min(cores, kMostWorkers);
  server.share_port = workers > 1;
  std::array<std::uint8_t, 8> seed{};
  RETORT_TRY(random_bytes(seed));
  std::uint64_t number = 0;
  for (const std::uint8_t byte : seed) number = (number << 8U) | byte;
  for (std::int64_t i = 0; i < workers; ++i) {
    RETORT_ASSIGN(auto worker, Worker::start(*inside->state, server,
                                             derive_seed(number, "exchange ids", static_cast<std::uint64_t>(i))));
    server.port = worker->server().port();  // a free one that was taken: the others share it
    if (inside->workers.empty()) inside->url = worker->server().url();
    inside->workers.push_back(std::move(worker));
  }
  if (!options.admin.listen.empty()) {
    RETORT_ASSIGN(inside->admin, Admin::start(*inside->state));
  }
  if (!options.authz.listen.empty()) {
    RETORT_ASSIGN(inside->authz, Authz::start(*inside->state, derive_seed(number, "exchange ids of authz", 0)));
  }
  inside->keeper = std::thread([raw = inside.get()] { raw->keep(); });
  return std::unique_ptr<Gateway>(new Gateway(std::move(inside)));
}

Gateway::~Gateway() { static_cast<void>(stop(std::chrono::seconds(0))); }

std::string Gateway::url() const { return inside_->url; }
std::string Gateway::admin_url() const { return inside_->admin ? inside_->admin->url() : ""; }
std::string Gateway::authz_url() const { return inside_->authz ? inside_->authz->server().url() : ""; }
GuardState& Gateway::state() { return *inside_->state; }

Result<void> Gateway::stop(std::chrono::seconds patience) {
  if (!inside_->keeper.joinable()) return {};
  inside_->state->draining = true;
  {
    const std::lock_guard lock(inside_->mutex);
    inside_->stopping = true;
  }
  inside_->wake.notify_all();
  inside_->keeper.join();
  inside_->authz.reset();  // no new requests; what is slowed on purpose is asked again
  // All workers drain at the same time; whoever is not done when patience ends is cut off by the destructor.
  std::vector<std::thread> draining;
  std::mutex mutex;
  std::condition_variable done;
  std::size_t left = inside_->workers.size();
  for (const auto& worker : inside_->workers) {
    draining.emplace_back([&, raw = worker.get()] {
      raw->server().drain();
      const std::lock_guard lock(mutex);
      --left;
      done.notify_all();
    });
  }
  {
    std::unique_lock lock(mutex);
    done.wait_for(lock, patience, [&] { return left == 0; });
  }
  for (const auto& worker : inside_->workers) worker->server().cut_off();
  for (std::thread& thread : draining) thread.join();
  inside_->admin.reset();
  inside_->workers.clear();
  return inside_->state->spool ? inside_->state->spool->close() : Result<void>();
}

}  // namespace retort::guard
