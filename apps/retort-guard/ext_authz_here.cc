#include "ext_authz_plane.h"
#include "extauthz/ext_authz_server.h"

namespace retort::app {
namespace {

class Served final : public ExtAuthzPlane {
 public:
  explicit Served(std::unique_ptr<extauthz::ExtAuthzServer> server) : server_(std::move(server)) {}
  std::string address() const override { return server_->address(); }

 private:
  std::unique_ptr<extauthz::ExtAuthzServer> server_;
};

}  // namespace

Result<void> be_the_right_program(const std::string& /*configuration*/, const Context& /*context*/) { return {}; }

Result<std::unique_ptr<ExtAuthzPlane>> start_ext_authz(guard::GuardState& state) {
  if (state.now()->rules->options.authz.ext_authz.empty()) return std::unique_ptr<ExtAuthzPlane>();
  RETORT_ASSIGN(auto server, extauthz::ExtAuthzServer::start(state));
  return std::unique_ptr<ExtAuthzPlane>(std::make_unique<Served>(std::move(server)));
}

}  // namespace retort::app
