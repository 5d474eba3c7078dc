#include "net/connection.h"

#include <array>
#include <boost/asio/post.hpp>
#include <boost/beast/http/error.hpp>
#include <cstdio>
#include <exception>
#include <utility>
#include <vector>

#include "base/text.h"
#include "net/request_head.h"

namespace retort::net {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

// Bytes of later requests kept while one is being answered; a client that sends more isn't read, and so not noticed
// leaving, until then.
constexpr std::size_t kMostWaiting = 256 << 10;
constexpr std::chrono::milliseconds kLinger{3000};
constexpr std::size_t kPiecesAtOnce = 32;
// What a streamed answer may have unsent before its writer, who asked for room, is told that there is some.
constexpr std::size_t kRoom = 64 << 10;

std::string chunk_of(std::string_view piece) {
  std::array<char, 20> size{};
  std::snprintf(size.data(), size.size(), "%zx\r\n", piece.size());
  std::string chunk = size.data();
  chunk += piece;
  chunk += "\r\n";
  return chunk;
}

class ConnectionReply final : public Reply {
 public:
  ConnectionReply(std::weak_ptr<Connection> connection, std::uint64_t request)
      : connection_(std::move(connection)), request_(request) {}
  ~ConnectionReply() override {
    if (!done_) {
      post([](Connection& connection, std::uint64_t request) { connection.dropped(request); });
    }
  }
  ConnectionReply(const ConnectionReply&) = delete;
  ConnectionReply& operator=(const ConnectionReply&) = delete;

  void send(HttpResponse response) override {
    done_ = true;
    post([response = std::move(response)](Connection& connection, std::uint64_t request) mutable {
      connection.send(request, std::move(response));
    });
  }
  void begin(HttpResponse head) override {
    post([head = std::move(head)](Connection& connection, std::uint64_t request) mutable {
      connection.begin(request, std::move(head));
    });
  }
  void write(std::string piece) override {
    post([piece = std::move(piece)](Connection& connection, std::uint64_t request) {
      connection.write(request, piece);
    });
  }
  void finish() override {
    done_ = true;
    post([](Connection& connection, std::uint64_t request) { connection.finish(request); });
  }
  void cut() override {
    done_ = true;
    post([](Connection& connection, std::uint64_t request) { connection.cut(request); });
  }
  std::size_t backlog() const override {
    const std::shared_ptr<Connection> connection = connection_.lock();
    return connection ? connection->backlog(request_) : 0;
  }
  void on_room(std::function<void()> room) override {
    post([room = std::move(room)](Connection& connection, std::uint64_t request) mutable {
      connection.on_room(request, std::move(room));
    });
  }
  void on_gone(std::function<void()> gone) override {
    const std::shared_ptr<Connection> connection = connection_.lock();
    if (!connection) {
      gone();
      return;
    }
    // Not post(): the connection may die before its turn comes, and then it must be told all the same.
    asio::post(connection->executor(), [weak = connection_, request = request_, gone = std::move(gone)]() mutable {
      if (const auto locked = weak.lock()) {
        locked->on_gone(request, std::move(gone));
      } else {
        gone();
      }
    });
  }

 private:
  // Weak: an answer that waits somewhere must not keep the network alive.
  template <class Action>
  void post(Action action) {
    const std::shared_ptr<Connection> connection = connection_.lock();
    if (!connection) return;
    asio::post(connection->executor(), [weak = connection_, request = request_, action = std::move(action)]() mutable {
      if (const auto locked = weak.lock()) action(*locked, request);
    });
  }

  std::weak_ptr<Connection> connection_;
  std::uint64_t request_;
  std::atomic<bool> done_ = false;
};

}  // namespace

Connection::Connection(std::shared_ptr<HttpServer::Core> core, Wire wire)
    : core_(std::move(core)),
      wire_(std::move(wire)),
      buffer_(core_->options.max_header_bytes + kReadBytes + kMostWaiting) {}

void Connection::start() {
  boost::system::error_code error;
  const auto peer = wire_.socket().remote_endpoint(error);
  if (!error) peer_ = peer.address().to_string();
  if (wire_.tls() == nullptr) {
    expect_request();
    return;
  }
  state_ = State::kShakingHands;
  limit(core_->options.header_timeout);
  wire_.tls()->async_handshake(asio::ssl::stream_base::server,
                               [self = shared_from_this()](const boost::system::error_code& failed) {
                                 if (self->state_ == State::kClosed) return;
                                 if (failed) {
                                   self->close();
                                 } else {
                                   self->expect_request();
                                 }
                               });
}

void Connection::drain() {
  last_ = true;
  if ((state_ == State::kIdle || state_ == State::kShakingHands) && !writing_) close();
}

void Connection::close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  deadline_ = Time::max();
  wire_.close();
  outgoing_.clear();
  room_ = nullptr;
  if (const auto gone = std::exchange(gone_, nullptr)) gone();
  core_->leave(shared_from_this());
}

void Connection::expect_request() {
  ++request_;
  state_ = State::kIdle;
  head_checked_ = false;
  header_done_ = false;
  response_done_ = false;
  chunked_ = false;
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(core_->options.max_header_bytes));
  parser_->body_limit(core_->options.max_body_bytes);
  parser_->eager(true);
  if (buffer_.size() > 0) {
    parse();
  } else {
    limit(core_->options.idle_timeout);
    read();
  }
}

void Connection::limit(std::chrono::milliseconds time) { deadline_ = std::chrono::steady_clock::now() + time; }

void Connection::check_deadlines(std::chrono::steady_clock::time_point now) {
  const auto self = shared_from_this();
  if (writing_ && now >= write_deadline_) {
    close();
  } else if (now >= deadline_) {
    deadline_ = Time::max();
    on_deadline();
  }
}

void Connection::on_deadline() {
  if (state_ == State::kReading) {
    refuse(408, "The request did not arrive in time; send it faster, or in smaller parts.");
  } else if (state_ == State::kIdle || state_ == State::kLingering || state_ == State::kShakingHands) {
    close();
  }
}

void Connection::read() {
  if (reading_ || state_ == State::kClosed) return;
  // Answering: listen on only to notice that the client leaves.
  if ((state_ == State::kHandling || state_ == State::kStreaming) && buffer_.size() > kMostWaiting) return;
  reading_ = true;
  wire_.async_read([self = shared_from_this()](const boost::system::error_code& error, std::string_view bytes) {
    self->on_read(error, bytes);
  });
}

void Connection::on_read(const boost::system::error_code& error, std::string_view bytes) {
  reading_ = false;
  if (state_ == State::kClosed) return;
  if (error) {
    close();
    return;
  }
  if (state_ == State::kLingering) {
    read();
    return;
  }
  asio::buffer_copy(buffer_.prepare(bytes.size()), asio::buffer(bytes.data(), bytes.size()));
  buffer_.commit(bytes.size());
  if (state_ == State::kIdle || state_ == State::kReading) {
    parse();
  } else {
    read();
  }
}

void Connection::parse() {
  if (state_ == State::kIdle) {
    state_ = State::kReading;
    limit(core_->options.header_timeout);
  }
  if (!head_checked_ && !head_is_fine()) return;
  while (buffer_.size() > 0 && !parser_->is_done()) {
    boost::system::error_code error;
    const std::size_t used = parser_->put(buffer_.data(), error);
    buffer_.consume(used);
    if (error == http::error::need_more) {
      if (used > 0 && buffer_.size() > 0) continue;
      break;
    }
    if (error == http::error::body_limit) {
      refuse(413, "The body is larger than " + human_bytes(core_->options.max_body_bytes) + ", the most taken here.");
      return;
    }
    if (error == http::error::header_limit) {
      refuse(431,
             "The header is larger than " + human_bytes(core_->options.max_header_bytes) + ", the most taken here.");
      return;
    }
    if (error) {
      refuse(400, "That is not an HTTP/1.1 request (" + error.message() + ").");
      return;
    }
    if (parser_->is_header_done() && !header_done_) header_read();
    if (state_ != State::kReading) return;
    if (used == 0) break;
  }
  if (parser_->is_done()) {
    dispatch();
  } else {
    read();
  }
}

// Whether the parser may see it; else more is read, or the request was refused.
bool Connection::head_is_fine() {
  const auto data = buffer_.data();
  const std::string_view bytes(static_cast<const char*>(data.data()), data.size());
  const std::size_t end = request_head_end(bytes);
  const std::size_t most = core_->options.max_header_bytes;
  if (std::min(end, bytes.size()) > most) {
    refuse(431, "The header is larger than " + human_bytes(most) + ", the most taken here.");
    return false;
  }
  if (end == std::string_view::npos && may_become_request(bytes)) {
    read();
    return false;
  }
  if (const auto fault = request_head_fault(bytes.substr(0, end))) {
    refuse(400, "That is not an HTTP/1.1 request taken here: " + *fault + ".");
    return false;
  }
  head_checked_ = true;
  return true;
}

void Connection::header_read() {
  header_done_ = true;
  limit(core_->options.body_timeout);
  const auto& message = parser_->get();
  if (to_lower_ascii(std::string_view(message[http::field::expect].data(), message[http::field::expect].size())) ==
          "100-continue" &&
      !parser_->is_done()) {
    queue("HTTP/1.1 100 Continue\r\n\r\n");
    flush();
  }
}

void Connection::dispatch() {
  deadline_ = Time::max();
  state_ = State::kHandling;
  auto message = parser_->release();
  if (!message.keep_alive() || message.version() == 10) last_ = true;
  if (core_->draining) last_ = true;
  HttpRequest request;
  request.peer = peer_;
  request.method = std::string(message.method_string());
  head_only_ = request.method == "HEAD";
  const std::string target(message.target());
  const std::size_t question = target.find('?');
  request.path = target.substr(0, question);
  if (question != std::string::npos) request.query = target.substr(question + 1);
  for (const auto& field : message) request.headers.add(std::string(field.name_string()), std::string(field.value()));
  chunked_ = message.version() == 11;
  request.body = std::move(message.body());
  const auto reply = std::make_shared<ConnectionReply>(weak_from_this(), request_);
  try {
    core_->handler(std::move(request), reply);
  } catch (const std::exception&) {
    dropped(request_);
  }
  read();
}

void Connection::refuse(int status, std::string_view sentence) {
  state_ = State::kHandling;
  deadline_ = Time::max();
  last_ = true;
  unread_ = true;
  head_only_ = false;
  send(request_, core_->error_response(status, sentence));
}

std::string Connection::head(const HttpResponse& response, bool chunked) const {
  std::string text = "HTTP/1.1 " + std::to_string(response.status) + " ";
  text += reason_phrase(response.status);
  text += "\r\n";
  const auto add = [&text](std::string_view name, std::string_view value) {
    RETORT_CHECK(name.find_first_of("\r\n") == std::string_view::npos);
    RETORT_CHECK(value.find_first_of("\r\n") == std::string_view::npos);
    text += name;
    text += ": ";
    text += value;
    text += "\r\n";
  };
  for (const Headers::Field& field : response.headers.fields()) add(field.name, field.value);
  if (chunked) {
    add("Transfer-Encoding", "chunked");
  } else if (state_ != State::kStreaming) {
    add("Content-Length", std::to_string(response.body.size()));
  }
  if (last_) add("Connection", "close");
  text += "\r\n";
  return text;
}

void Connection::send(std::uint64_t request, HttpResponse response) {
  if (!answering(request) || state_ != State::kHandling) return;
  std::string bytes = head(response, false);
  if (!head_only_) bytes += response.body;
  queue(std::move(bytes));
  response_done_ = true;
  flush();
}

void Connection::begin(std::uint64_t request, HttpResponse first) {
  if (!answering(request) || state_ != State::kHandling) return;
  state_ = State::kStreaming;
  // A stream may be idle for long: nothing is held for a request that was read.
  parser_.reset();
  buffer_.shrink_to_fit();
  // HTTP/1.0 knows no chunks: the end of the connection ends the body.
  queue(head(first, chunked_));
  if (first.body.empty()) {
    flush();
  } else {
    write(request, first.body);
  }
}

void Connection::write(std::uint64_t request, const std::string& piece) {
  // An empty chunk would end the body.
  if (!answering(request) || state_ != State::kStreaming || piece.empty() || head_only_) return;
  queue(chunked_ ? chunk_of(piece) : piece);
  if (unsent_ > core_->options.max_unsent_bytes) {
    close();
    return;
  }
  flush();
}

void Connection::finish(std::uint64_t request) {
  if (!answering(request) || state_ != State::kStreaming) return;
  if (chunked_ && !head_only_) queue("0\r\n\r\n");
  response_done_ = true;
  flush();
}

void Connection::cut(std::uint64_t request) {
  if (!answering(request)) return;
  last_ = true;
  response_done_ = true;
  flush();
}

void Connection::dropped(std::uint64_t request) {
  if (!answering(request) || response_done_) return;
  if (state_ == State::kStreaming) {
    cut(request);
    return;
  }
  send(request, core_->error_response(500, "The request was not answered, which is a mistake of this program."));
}

void Connection::on_gone(std::uint64_t request, std::function<void()> gone) {
  if (state_ == State::kClosed) {
    gone();
    return;
  }
  if (answering(request) && !response_done_) gone_ = std::move(gone);
}

void Connection::on_room(std::uint64_t request, std::function<void()> room) {
  if (answering(request) && unsent_ >= kRoom) {
    room_ = std::move(room);
  } else {
    room();
  }
}

void Connection::queue(std::string bytes) {
  unsent_ += bytes.size();
  outgoing_.push_back(std::move(bytes));
}

void Connection::flush() {
  if (writing_ || state_ == State::kClosed) return;
  if (outgoing_.empty()) {
    if (response_done_) answered();
    return;
  }
  writing_ = true;
  std::vector<asio::const_buffer> buffers;
  for (std::size_t i = 0; i < outgoing_.size() && i < kPiecesAtOnce; ++i) {
    const std::size_t skipped = i == 0 ? sent_ : 0;
    buffers.emplace_back(outgoing_[i].data() + skipped, outgoing_[i].size() - skipped);
  }
  write_deadline_ = std::chrono::steady_clock::now() + core_->options.write_timeout;
  wire_.async_write(buffers, [self = shared_from_this()](const boost::system::error_code& error, std::size_t bytes) {
    self->on_written(error, bytes);
  });
}

void Connection::on_written(const boost::system::error_code& error, std::size_t bytes) {
  writing_ = false;
  if (state_ == State::kClosed) return;
  if (error) {
    close();
    return;
  }
  unsent_ -= bytes;
  while (bytes > 0) {
    const std::size_t rest = outgoing_.front().size() - sent_;
    if (bytes < rest) {
      sent_ += bytes;
      break;
    }
    bytes -= rest;
    sent_ = 0;
    outgoing_.pop_front();
  }
  flush();
  if (room_ && unsent_ < kRoom) std::exchange(room_, nullptr)();
}

void Connection::answered() {
  gone_ = nullptr;
  room_ = nullptr;
  response_done_ = false;
  if (!last_) {
    expect_request();
  } else if (unread_) {
    linger();
  } else {
    close();
  }
}

// Closing while the client still sends would reset the connection, and with it the answer it hasn't read yet.
void Connection::linger() {
  state_ = State::kLingering;
  wire_.shutdown_send();
  buffer_.consume(buffer_.size());
  limit(kLinger);
  read();
}

}  // namespace retort::net
