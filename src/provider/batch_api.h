// The batch APIs of providers: many requests handed over at once, answered within a day, cheaper than one by one.
//
// What a batch is in each API's words, as pure functions between our nouns and its bytes; no socket, no key, no clock.
//   OpenAI     the requests are a file of JSON lines that is uploaded first (POST /files); then POST /batches, GET
//              /batches/ID, and GET /files/ID/content for the answers and for the errors
//   Anthropic  the requests are in the call itself (POST /messages/batches); GET …/ID, GET …/ID/results
// A batch carries a name of ours in the id of each of its requests (and as metadata where the API keeps any), so that
// one whose creation was never heard of can be found again among the account's. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "net/http.h"
#include "net/transport.h"
#include "provider/dialect.h"

namespace retort::provider {

// What a service says of a batch.
struct BatchState {
  std::string id;
  std::string status;    // in its word: "in_progress", "completed", "expired"
  bool ended = false;    // nothing more will come of it
  bool refused = false;  // ended before any request was worked on; costs nothing
  std::string why;       // of a refused one, in its words; may be empty
  std::string name;      // ours; empty where the API keeps none
  std::int64_t requests = 0;
  std::vector<std::string> results;  // paths below the endpoint's URL, when it has ended
};

// One request of a batch, answered or not.
struct BatchResult {
  std::string id;            // that it was given
  net::HttpOutcome outcome;  // as if it had been asked by itself; unless lapsed
  std::string lapsed;        // "expired", "canceled": it was never worked on, and costs nothing
};

// A part of the account's list.
struct BatchPage {
  std::vector<BatchState> batches;  // the newest first
  std::string next;                 // path of the next page; empty: this is the last
};

class BatchApi {
 public:
  virtual ~BatchApi() = default;
  // Whether the requests are uploaded by a call of their own, which costs nothing.
  virtual bool uploads() const = 0;
  // Limits of one batch, with room to spare.
  virtual std::int64_t most_requests() const = 0;
  virtual std::size_t most_bytes() const = 0;

  // The body that carries the requests, built piece by piece. `request`: what Dialect::body() gave.
  virtual std::string open(const std::string& name) const = 0;
  virtual void add(const Dialect& dialect, const std::string& id, const std::string& request,
                   std::string& body) const = 0;
  virtual void close(const std::string& name, std::string& body) const = 0;

  // Method, path (as url) and body; the key's fields are added by authorise().
  virtual net::HttpCall upload(const std::string& name, std::string body) const = 0;
  virtual Result<std::string> uploaded(const net::HttpOutcome& outcome) const = 0;  // the file's id
  // `body`: of the requests, where they aren't uploaded. `file`: the id of what was.
  virtual net::HttpCall create(const Dialect& dialect, const std::string& name, const std::string& file,
                               std::string body) const = 0;
  virtual std::string path_of(const std::string& id) const = 0;
  virtual std::string list_path() const = 0;
  // Errors (kWorld): malformed.
  virtual Result<BatchState> state(std::string_view json) const = 0;
  virtual Result<BatchPage> page(std::string_view json) const = 0;
  // Visits the lines of a file of results. Error: a line that is no JSON object, or the visitor's.
  virtual Result<void> for_each_result(std::string_view lines,
                                       const std::function<Result<void>(BatchResult)>& visit) const = 0;
};

const BatchApi& openai_batches();
const BatchApi& anthropic_batches();
// Of the API that this dialect belongs to.
const BatchApi& batch_api_of(const Dialect& dialect);

// The call as it is sent: to the endpoint, with its key.
net::HttpCall authorised(net::HttpCall call, const Dialect& dialect, const std::string& url, const std::string& key);

// The id of a request in a batch, at most 64 characters of [A-Za-z0-9_-]; and the slot it was made of, or -1 when it
// belongs to another batch.
std::string batch_request_id(const std::string& name, std::int64_t slot);
std::int64_t slot_of_batch_request(const std::string& name, std::string_view id);

}  // namespace retort::provider
