// One thread of the gateway: its server, its upstreams' connections, its requests.
//
// Everything but start(), drain() and the destructor happens on the worker's own thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "api/json_reader.h"
#include "guard/admission.h"
#include "guard/guard_state.h"
#include "net/server.h"
#include "net/upstream.h"

namespace retort::guard {

class Worker {
 public:
  static Result<std::unique_ptr<Worker>> start(GuardState& state, net::ServerOptions options, std::uint64_t seed);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  net::HttpServer& server() { return *server_; }
  GuardState& state() { return state_; }
  Admitter& admitter() { return admitter_; }
  net::NetworkThread& thread() { return *thread_; }
  // Shared by all answers of this thread: a stream that waits holds no parser.
  const std::shared_ptr<api::JsonReader>& reader() { return reader_; }
  // For what is read of a request while an answer is being read: never the answers' own, whose text it would overwrite.
  api::JsonReader& request_reader() { return request_reader_; }
  // Calls `then` once the staged record is written: with the others of this moment, by one write for all of them.
  // False: it could not be. On this thread.
  void when_written(const evidence::Staged& staged, std::function<void(bool kept)> then);
  // Null, with the sentence logged, when its authorities can't be used.
  net::UpstreamPool* pool(const Upstream& upstream);

 private:
  Worker(GuardState& state, std::uint64_t seed);
  void handle(net::HttpRequest request, std::shared_ptr<net::Reply> reply);
  void settle_staged();

  GuardState& state_;
  Admitter admitter_;
  std::shared_ptr<api::JsonReader> reader_ = std::make_shared<api::JsonReader>();
  api::JsonReader request_reader_;
  std::shared_ptr<net::NetworkThread> thread_;
  struct Waiting {
    evidence::Staged staged;
    std::function<void(bool)> then;
  };
  std::vector<Waiting> waiting_;                                     // for their records
  std::map<std::string, std::unique_ptr<net::UpstreamPool>> pools_;  // by where they lead
  std::unique_ptr<net::HttpServer> server_;
};

}  // namespace retort::guard
