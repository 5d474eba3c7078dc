// `retort-guard serve`: stand before the upstreams until SIGTERM.
#include <chrono>
#include <condition_variable>
#include <iostream>
#include <mutex>

#include "ext_authz_plane.h"
#include "frame/verb.h"
#include "guard/gateway.h"

namespace retort::app {
namespace {

Result<void> serve(const std::string& configuration, std::int64_t patience_s, Context& context) {
  std::mutex mutex;
  const auto log = [&](const std::string& sentence) {
    const std::lock_guard lock(mutex);
    std::cerr << "retort-guard: " << sentence << std::endl;
  };
  RETORT_TRY(be_the_right_program(configuration, context));
  RETORT_ASSIGN(const auto gateway, guard::Gateway::start(configuration, context.clock, context.environment, log));
  RETORT_ASSIGN(auto ext_authz, start_ext_authz(gateway->state()));
  context.out << "listening on " << gateway->url() << '\n';
  if (!gateway->admin_url().empty()) context.out << "admin on " << gateway->admin_url() << '\n';
  if (!gateway->authz_url().empty()) context.out << "authz on " << gateway->authz_url() << '\n';
  if (ext_authz) context.out << "ext_authz on " << ext_authz->address() << '\n';
  context.out << std::flush;
  std::mutex waiting;
  std::condition_variable_any stopped;
  std::unique_lock lock(waiting);
  stopped.wait(lock, context.stop, [] { return false; });
  log("Stopping: no new callers; waiting for answers under way.");
  ext_authz.reset();
  return gateway->stop(std::chrono::seconds(patience_s));
}

}  // namespace

void register_serve(VerbSetup& verb) {
  struct Flags {
    std::string configuration;
    std::int64_t patience_s = 600;
  };
  const auto flags = std::make_shared<Flags>();
  verb.app.add_option("configuration", flags->configuration, "guard.yaml")->type_name("GUARD.yaml")->required();
  verb.app.add_option("--patience", flags->patience_s, "Seconds that answers under way may take after SIGTERM")
      ->check(CLI::Range(0, 86'400))
      ->capture_default_str();
  verb.action = [flags](Context& context) { return serve(flags->configuration, flags->patience_s, context); };
}

}  // namespace retort::app
