#include "extauthz/ext_authz_server.h"

#include <ext_authz.grpc.pb.h>
#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <array>
#include <chrono>
#include <mutex>
#include <vector>

#include "base/cryptography.h"
#include "base/random.h"
#include "extauthz/check_form.h"
#include "guard/handover.h"

namespace retort::extauthz {
namespace {

constexpr std::chrono::seconds kPatience{5};
constexpr int kBesideBody = 1 << 20;  // bytes of a question that aren't its body

class Service final : public envoy::service::auth::v3::Authorization::CallbackService {
 public:
  Service(guard::GuardState& state, std::uint64_t seed) : state_(state), seed_(seed) {}

  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context, const CheckRequest* asked,
                                  CheckResponse* answer) override {
    auto* reactor = context->DefaultReactor();
    ++state_.metrics.ext_authz_questions;
    const std::string peer = address_of_peer(context->peer());
    if (peer != "unix" && !guard::may_ask(*state_.now()->rules, peer)) {
      state_.metrics.refused("authz.peer");
      reactor->Finish({grpc::StatusCode::PERMISSION_DENIED, "Only a proxy named under network.trusted_hops may ask."});
      return reactor;
    }
    const auto question = question_of(*asked);
    if (!question) {
      state_.metrics.refused("authz.question");
      reactor->Finish({grpc::StatusCode::INVALID_ARGUMENT, question.error().message});
      return reactor;
    }
    const std::int64_t slow_ms = decide(*question, *answer);
    if (slow_ms == 0) {
      reactor->Finish(grpc::Status::OK);
      return reactor;
    }
    const auto alarm = std::make_shared<grpc::Alarm>();
    alarm->Set(std::chrono::system_clock::now() + std::chrono::milliseconds(slow_ms),
               [alarm, reactor](bool) { reactor->Finish(grpc::Status::OK); });
    return reactor;
  }

 private:
  // Returns how long the answer is to wait.
  std::int64_t decide(const Question& question, CheckResponse& answer) {
    if (question.partial) {
      state_.metrics.refused("authz.partial_body");
      write_refusal(api::route_of(question.request).family,
                    {.status = 413,
                     .message = "The request is larger than this API takes.",
                     .code = "request_too_large",
                     .param = {}},
                    "", answer);
      return 0;
    }
    const bool bodies = state_.now()->rules->options.authz.bodies;
    std::unique_ptr<guard::Admitter> admitter = take();
    const guard::Admission admission =
        guard::hand_over(state_, *admitter, question.request, bodies ? guard::Plane::kWhole : guard::Plane::kHeaders);
    give_back(std::move(admitter));
    write_answer(admission, question.request, answer);
    return admission.refused ? 0 : admission.decision.slow_ms;
  }

  // An admitter is one thread's at a time, and gRPC's threads come and go.
  std::unique_ptr<guard::Admitter> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) {
      return std::make_unique<guard::Admitter>(state_, derive_seed(seed_, "exchange ids of ext_authz", made_++));
    }
    auto admitter = std::move(free_.back());
    free_.pop_back();
    return admitter;
  }
  void give_back(std::unique_ptr<guard::Admitter> admitter) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(admitter));
  }

  guard::GuardState& state_;
  const std::uint64_t seed_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<guard::Admitter>> free_;
  std::uint64_t made_ = 0;
};

}  // namespace

struct ExtAuthzServer::Inside {
  Inside(guard::GuardState& state, std::uint64_t seed) : service(state, seed) {}
  Service service;
  std::unique_ptr<grpc::Server> server;
  std::string address;
};

ExtAuthzServer::ExtAuthzServer(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}

ExtAuthzServer::~ExtAuthzServer() {
  inside_->server->Shutdown(std::chrono::system_clock::now() + kPatience);
  inside_->server->Wait();
}

Result<std::unique_ptr<ExtAuthzServer>> ExtAuthzServer::start(guard::GuardState& state) {
  const auto rules = state.now()->rules;
  std::array<std::uint8_t, 8> seed{};
  RETORT_TRY(random_bytes(seed));
  std::uint64_t number = 0;
  for (const std::uint8_t byte : seed) number = (number << 8U) | byte;
  auto inside = std::make_unique<Inside>(state, number);
  const std::string& listen = rules->options.authz.ext_authz;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a port that is taken is an error
  builder.AddListeningPort(listen, grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize((static_cast<int>(rules->options.max_body_mb) << 20) + kBesideBody);
  builder.RegisterService(&inside->service);
  inside->server = builder.BuildAndStart();
  if (!inside->server || port == 0) {
    return caller_error("authz.ext_authz can't listen on '" + listen +
                        "'; expected a free port or a path (unix:/run/retort/authz.sock) that may be written.");
  }
  inside->address =
      listen.starts_with("unix:") ? listen : listen.substr(0, listen.rfind(':') + 1) + std::to_string(port);
  return std::unique_ptr<ExtAuthzServer>(new ExtAuthzServer(std::move(inside)));
}

const std::string& ExtAuthzServer::address() const { return inside_->address; }

}  // namespace retort::extauthz
