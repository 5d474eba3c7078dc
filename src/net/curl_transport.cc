#include "net/curl_transport.h"

#include <curl/curl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/text.h"
#include "base/version.h"

namespace retort::net {
namespace {

constexpr double kNever_s = 1e300;

double now_s() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Trouble trouble_of(CURLcode code) {
  switch (code) {
    case CURLE_OK: return Trouble::kNone;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_PROXY: return Trouble::kConnect;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR: return Trouble::kTls;
    case CURLE_OPERATION_TIMEDOUT: return Trouble::kTimeout;
    case CURLE_WEIRD_SERVER_REPLY: return Trouble::kProtocol;
    default: return Trouble::kCut;
  }
}

struct EndHandle {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct EndList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
struct EndMulti {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};

// One call on its handle. Pinned: libcurl holds its address.
struct Transfer {
  std::unique_ptr<CURL, EndHandle> handle;
  std::unique_ptr<curl_slist, EndList> fields;
  std::uint64_t tag = 0;
  HttpCall call;
  HttpOutcome outcome;
  int sendings = 0;
  bool too_large = false;
  bool head_is_whole = false;  // libcurl takes the end of a connection inside it for the head's end
};

// libcurl would send a request again by itself when a kept connection turns out to be dead, and a request that was read
// and paid for would be asked twice behind the ledger's back. It asks here before each sending.
int only_once(void* user, char*, char*, int, int) {
  auto& transfer = *static_cast<Transfer*>(user);
  return ++transfer.sendings > 1 ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

std::size_t take_body(char* bytes, std::size_t, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (transfer.outcome.body.size() + count > transfer.call.max_body_bytes) {
    transfer.too_large = true;
    return CURL_WRITEFUNC_ERROR;
  }
  transfer.outcome.body.append(bytes, count);
  return count;
}

std::size_t take_header(char* bytes, std::size_t, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view line(bytes, count);
  // Of several answers (100, then 200) the last one counts.
  if (line.starts_with("HTTP/")) {
    transfer.outcome.headers = {};
    transfer.head_is_whole = false;
    return count;
  }
  if (trim(line).empty()) transfer.head_is_whole = true;
  const std::size_t colon = line.find(':');
  if (colon != std::string_view::npos) {
    transfer.outcome.headers.add(to_lower_ascii(line.substr(0, colon)), std::string(trim(line.substr(colon + 1))));
  }
  return count;
}

// libcurl's own global state, once a process.
void begin_curl() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

}  // namespace

// Sockets are watched by epoll and each is told to libcurl as it becomes ready, so that what a step costs doesn't grow
// with the number of calls in flight.
struct CurlTransport::State {
  std::unique_ptr<CURLM, EndMulti> multi;
  std::unordered_map<CURL*, std::unique_ptr<Transfer>> running;
  // Handles to use again, prepared for a POST.
  std::vector<std::unique_ptr<CURL, EndHandle>> idle;
  std::string ca_file;
  int epoll = -1;
  double due_s = kNever_s;  // libcurl's next timer

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    running.clear();
    idle.clear();
    multi.reset();  // still tells of its sockets
    if (epoll >= 0) ::close(epoll);
  }
  void prepare(CURL* handle, const HttpCall& call) const;
  void prepare_call(Transfer& transfer) const;
  void act(curl_socket_t socket, int events);
  void act_when_due();
  void collect_finished(std::vector<FinishedCall>& finished);

  static int watch(CURL*, curl_socket_t socket, int what, void* user, void* known);
  static int set_timer(CURLM*, long timeout_ms, void* user);
};

int CurlTransport::State::watch(CURL*, curl_socket_t socket, int what, void* user, void* known) {
  auto& state = *static_cast<State*>(user);
  if (what == CURL_POLL_REMOVE) {
    ::epoll_ctl(state.epoll, EPOLL_CTL_DEL, socket, nullptr);  // fails where it was closed already
    curl_multi_assign(state.multi.get(), socket, nullptr);
    return 0;
  }
  epoll_event event{};
  if (what & CURL_POLL_IN) event.events |= EPOLLIN;
  if (what & CURL_POLL_OUT) event.events |= EPOLLOUT;
  event.data.fd = socket;
  if (::epoll_ctl(state.epoll, known == nullptr ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, socket, &event) != 0) {
    ::epoll_ctl(state.epoll, errno == EEXIST ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event);
  }
  curl_multi_assign(state.multi.get(), socket, user);
  return 0;
}

int CurlTransport::State::set_timer(CURLM*, long timeout_ms, void* user) {
  static_cast<State*>(user)->due_s = timeout_ms < 0 ? kNever_s : now_s() + static_cast<double>(timeout_ms) / 1000;
  return 0;
}

void CurlTransport::State::act(curl_socket_t socket, int events) {
  int still_running = 0;
  curl_multi_socket_action(multi.get(), socket, events, &still_running);
}

void CurlTransport::State::act_when_due() {
  if (now_s() < due_s) return;
  due_s = kNever_s;
  act(CURL_SOCKET_TIMEOUT, 0);
}

CurlTransport::CurlTransport(std::size_t connections_per_host) : state_(std::make_unique<State>()) {
  begin_curl();
  state_->multi.reset(curl_multi_init());
  state_->epoll = ::epoll_create1(EPOLL_CLOEXEC);
  RETORT_CHECK(state_->multi != nullptr && state_->epoll >= 0);
  const long connections = static_cast<long>(std::max<std::size_t>(1, connections_per_host));
  CURLM* multi = state_->multi.get();
  curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, connections);
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, connections);
  curl_multi_setopt(multi, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &State::watch);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, state_.get());
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, &State::set_timer);
  curl_multi_setopt(multi, CURLMOPT_TIMERDATA, state_.get());
  if (const char* file = std::getenv("SSL_CERT_FILE")) state_->ca_file = file;
}

CurlTransport::~CurlTransport() { abandon(); }

// What stays as it is while a handle is used again for calls of one method and scheme.
void CurlTransport::State::prepare(CURL* handle, const HttpCall& call) const {
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  curl_easy_setopt(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "");
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
  if (!ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, ca_file.c_str());
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &take_body);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &take_header);
  curl_easy_setopt(handle, CURLOPT_PREREQFUNCTION, &only_once);
  if (call.method == "POST") {
    curl_easy_setopt(handle, CURLOPT_POST, 1L);
  } else if (call.method == "GET") {
    curl_easy_setopt(handle, CURLOPT_HTTPGET, 1L);
  } else {
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, call.method.c_str());
  }
}

void CurlTransport::State::prepare_call(Transfer& transfer) const {
  CURL* handle = transfer.handle.get();
  const HttpCall& call = transfer.call;
  const auto milliseconds = [](double seconds) { return static_cast<long>(std::clamp(seconds, 0.001, 1e6) * 1000); };
  curl_easy_setopt(handle, CURLOPT_PRIVATE, &transfer);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_PREREQDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_URL, call.url.c_str());
  // Over HTTP/2 a request waits for a connection that is being made rather than make one of its own.
  curl_easy_setopt(handle, CURLOPT_PIPEWAIT, call.url.starts_with("https:") ? 1L : 0L);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(call.connect_timeout_s));
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, milliseconds(call.timeout_s));
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, std::max(1L, static_cast<long>(call.idle_timeout_s)));
  curl_slist* fields = nullptr;
  for (const Headers::Field& field : call.headers.fields()) {
    fields = curl_slist_append(fields, (field.name + ": " + field.value).c_str());
  }
  // A body is sent at once: waiting for 100-continue costs a second where a server doesn't know it.
  fields = curl_slist_append(fields, "Expect:");
  static const std::string user_agent = "User-Agent: retort/" + std::string(kVersion);
  fields = curl_slist_append(fields, user_agent.c_str());
  transfer.fields.reset(fields);
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, fields);
  if (call.method == "POST") {
    // Not copied, and sent with the head in one piece.
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(call.body.size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, call.body.data());
  }
}

void CurlTransport::start(std::uint64_t tag, HttpCall call) {
  auto transfer = std::make_unique<Transfer>();
  transfer->tag = tag;
  transfer->call = std::move(call);
  if (state_->idle.empty() || transfer->call.method != "POST") {
    transfer->handle.reset(curl_easy_init());
    RETORT_CHECK(transfer->handle != nullptr);
    state_->prepare(transfer->handle.get(), transfer->call);
  } else {
    transfer->handle = std::move(state_->idle.back());
    state_->idle.pop_back();
  }
  state_->prepare_call(*transfer);
  CURL* handle = transfer->handle.get();
  RETORT_CHECK(curl_multi_add_handle(state_->multi.get(), handle) == CURLM_OK);
  state_->running.emplace(handle, std::move(transfer));
}

void CurlTransport::State::collect_finished(std::vector<FinishedCall>& finished) {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* handle = message->easy_handle;
    const CURLcode code = message->data.result;
    curl_multi_remove_handle(multi.get(), handle);
    auto found = running.find(handle);
    RETORT_CHECK(found != running.end());
    const std::unique_ptr<Transfer> transfer = std::move(found->second);
    running.erase(found);
    HttpOutcome& outcome = transfer->outcome;
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(handle, CURLINFO_TOTAL_TIME, &outcome.seconds);
    outcome.status = static_cast<int>(status);
    outcome.trouble = transfer->too_large ? Trouble::kTooLarge : trouble_of(code);
    // A proxy that makes no tunnel has let nothing through that could be billed.
    long tunnel = 0;
    curl_easy_getinfo(handle, CURLINFO_HTTP_CONNECTCODE, &tunnel);
    const bool no_tunnel = code != CURLE_OK && tunnel >= 300;
    if (no_tunnel) outcome.trouble = Trouble::kConnect;
    outcome.nobody_listens = code == CURLE_COULDNT_CONNECT && !no_tunnel;
    if (outcome.trouble == Trouble::kNone && !transfer->head_is_whole) outcome.trouble = Trouble::kCut;
    if (outcome.trouble != Trouble::kNone) {
      outcome.trouble_text = no_tunnel                           ? "the proxy answered " + std::to_string(tunnel)
                             : code == CURLE_ABORTED_BY_CALLBACK ? "a kept connection turned out to be dead"
                             : code == CURLE_OK                  ? "the connection ended inside the headers"
                                                                 : curl_easy_strerror(code);
    }
    finished.push_back({transfer->tag, std::move(outcome)});
    if (transfer->call.method == "POST") idle.push_back(std::move(transfer->handle));
  }
}

std::vector<FinishedCall> CurlTransport::wait(double seconds) {
  std::vector<FinishedCall> finished;
  state_->act_when_due();
  state_->collect_finished(finished);
  if (!finished.empty()) return finished;
  const double wait_s = std::clamp(std::min(seconds, state_->due_s - now_s()), 0.0, 3600.0);
  std::array<epoll_event, 256> events;
  const int count = ::epoll_wait(state_->epoll, events.data(), static_cast<int>(events.size()),
                                 static_cast<int>(std::ceil(wait_s * 1000)));
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    int what = 0;
    if (event.events & EPOLLIN) what |= CURL_CSELECT_IN;
    if (event.events & EPOLLOUT) what |= CURL_CSELECT_OUT;
    if (event.events & (EPOLLERR | EPOLLHUP)) what |= CURL_CSELECT_ERR;
    state_->act(event.data.fd, what);
  }
  state_->act_when_due();
  state_->collect_finished(finished);
  return finished;
}

void CurlTransport::abandon() {
  for (auto& [handle, transfer] : state_->running) curl_multi_remove_handle(state_->multi.get(), handle);
  state_->running.clear();
}

}  // namespace retort::net
