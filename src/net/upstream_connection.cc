#include "net/upstream_connection.h"

#include <algorithm>
#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/beast/http/error.hpp>
#include <limits>
#include <utility>

#include "base/text.h"

namespace retort::net {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

}  // namespace

UpstreamConnection::UpstreamConnection(std::shared_ptr<UpstreamPool::Inside> pool)
    : pool_(std::move(pool)),
      wire_(pool_->tls ? Wire(pool_->loop, Wire::Socket(pool_->loop.io), *pool_->tls)
                       : Wire(pool_->loop, Wire::Socket(pool_->loop.io))),
      resolver_(pool_->loop.io) {}

void UpstreamPool::Inside::look_at_deadlines(const std::shared_ptr<Inside>& self) {
  if (self->looking || self->connected.empty()) return;
  self->looking = true;
  self->look.expires_after(kLookEvery);
  self->look.async_wait([self](const boost::system::error_code& error) {
    self->looking = false;
    // Cancelled when the last one closed; another may have been opened since.
    if (!error) {
      const auto now = std::chrono::steady_clock::now();
      const std::vector<std::shared_ptr<UpstreamConnection>> all(self->connected.begin(), self->connected.end());
      for (const auto& connection : all) connection->check_deadline(now);
    }
    look_at_deadlines(self);
  });
}

std::shared_ptr<UpstreamConnection> UpstreamPool::Inside::connect(const std::shared_ptr<Inside>& self) {
  auto connection = std::make_shared<UpstreamConnection>(self);
  self->connected.insert(connection);
  look_at_deadlines(self);
  connection->connect();
  return connection;
}

void UpstreamConnection::connect() {
  limit(pool_->options.connect_timeout);
  const Origin& origin = pool_->options.origin;
  resolver_.async_resolve(
      origin.host, std::to_string(origin.port), asio::ip::tcp::resolver::numeric_service,
      [self = shared_from_this()](const boost::system::error_code& error, const auto& places) {
        if (self->state_ == State::kClosed) return;
        if (error) {
          self->fail(Trouble::kConnect, "its host is not known (" + error.message() + ")");
          return;
        }
        asio::async_connect(self->wire_.socket(), places, [self](const boost::system::error_code& failed, const auto&) {
          if (self->state_ == State::kClosed) return;
          if (failed) {
            self->fail(Trouble::kConnect, "it can't be reached (" + failed.message() + ")");
          } else {
            self->connected();
          }
        });
      });
}

void UpstreamConnection::connected() {
  wire_.no_delay();
  if (wire_.tls() == nullptr) {
    ready_ = true;
    send();
    return;
  }
  const std::string& host = pool_->options.origin.host;
  SSL_set_tlsext_host_name(wire_.tls()->native_handle(), host.c_str());
  wire_.tls()->set_verify_callback(asio::ssl::host_name_verification(host));
  wire_.tls()->async_handshake(asio::ssl::stream_base::client,
                               [self = shared_from_this()](const boost::system::error_code& error) {
                                 if (self->state_ == State::kClosed) return;
                                 if (error) {
                                   self->fail(Trouble::kTls, "its TLS is not trusted (" + error.message() + ")");
                                   return;
                                 }
                                 self->ready_ = true;
                                 self->send();
                               });
}

void UpstreamConnection::ask(Asking asking) {
  head_ = std::move(asking.head);
  body_ = std::move(asking.body);
  head_only_ = asking.head_only;
  may_resend_ = asking.may_resend && state_ == State::kIdle;
  again_ = asking.again;
  sent_ = 0;
  sent_all_ = false;
  head_told_ = false;
  paused_ = false;
  surplus_ = false;
  listener_ = std::move(asking.listener);
  place_ = std::move(asking.place);
  *place_ = {weak_from_this(), ++request_};
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(pool_->options.max_header_bytes));
  parser_->body_limit(std::numeric_limits<std::uint64_t>::max());
  parser_->skip(head_only_);
  parser_->eager(false);
  if (state_ == State::kIdle) {
    state_ = State::kAsking;
    send();
  } else {
    state_ = State::kConnecting;
  }
}

void UpstreamConnection::send() {
  if (state_ == State::kClosed || !listener_) return;
  if (state_ == State::kConnecting) {
    state_ = State::kAsking;
    read();
  }
  if (sent_ == 0) limit(pool_->options.idle_timeout);
  std::array<asio::const_buffer, 2> buffers;
  if (sent_ < head_.size()) {
    buffers[0] = asio::buffer(head_) + sent_;
    buffers[1] = asio::buffer(body_);
  } else {
    buffers[0] = asio::buffer(body_) + (sent_ - head_.size());
  }
  wire_.async_write(buffers, [self = shared_from_this()](const boost::system::error_code& error, std::size_t count) {
    if (self->state_ != State::kAsking) return;
    self->moved_ = std::chrono::steady_clock::now();
    if (error) {
      // A server may answer (413) and close before it has read everything: what it said is still to be read.
      self->sent_all_ = true;
      return;
    }
    self->sent_ += count;
    if (self->sent_ < self->head_.size() + self->body_.size()) {
      self->send();
      return;
    }
    self->sent_all_ = true;
    if (self->may_resend_) return;
    self->head_ = {};
    self->body_ = {};
  });
}

void UpstreamConnection::read() {
  if (reading_ || paused_ || state_ == State::kClosed) return;
  reading_ = true;
  wire_.async_read([self = shared_from_this()](const boost::system::error_code& error, std::string_view bytes) {
    self->reading_ = false;
    self->on_read(error, bytes);
  });
}

void UpstreamConnection::on_read(const boost::system::error_code& error, std::string_view bytes) {
  if (state_ == State::kClosed) return;
  if (state_ == State::kIdle) {  // closed by the server, or says what nobody asked for
    close();
    return;
  }
  moved_ = std::chrono::steady_clock::now();
  if (error) {
    // The end of the connection may be the end of the body.
    boost::system::error_code ended;
    if (error == asio::error::eof && parser_ && parser_->got_some()) parser_->put_eof(ended);
    if (error == asio::error::eof && !ended && parser_ && parser_->is_done() && head_told_) {
      done();
    } else if (head_told_) {
      fail(Trouble::kCut, "its answer was cut off");
    } else {
      if (!asked_again(error)) fail(Trouble::kCut, "it closed the connection without an answer");
    }
    return;
  }
  if (may_resend_) {
    may_resend_ = false;
    if (sent_all_) {
      head_ = {};
      body_ = {};
    }
  }
  if (paused_) {  // the read was already under way
    pending_.append(bytes);
    return;
  }
  const auto self = shared_from_this();
  if (pending_.empty()) {
    take(bytes);
  } else {
    std::string all = std::exchange(pending_, {});
    all.append(bytes);
    take(all);
  }
}

void UpstreamConnection::take(std::string_view bytes) {
  while (!bytes.empty() && state_ == State::kAsking && listener_) {
    if (paused_) {
      pending_.assign(bytes);
      return;
    }
    if (!head_told_) {
      boost::system::error_code error;
      const std::size_t used = parser_->put(asio::buffer(bytes.data(), bytes.size()), error);
      bytes.remove_prefix(used);
      if (error == http::error::need_more) {
        pending_.assign(bytes);
        if (pending_.size() > pool_->options.max_header_bytes) {
          fail(Trouble::kProtocol, "the head of its answer is too large");
          return;
        }
        break;
      }
      if (error && error != http::error::need_buffer) {  // the body's first bytes, which put_body() takes
        fail(Trouble::kProtocol, "its answer is not HTTP/1.1 (" + error.message() + ")");
        return;
      }
      if (parser_->is_header_done()) told_head();
    } else if (!put_body(bytes)) {
      return;
    }
    if (parser_ && head_told_ && parser_->is_done()) {
      surplus_ = !bytes.empty();
      done();
      return;
    }
  }
  if (state_ == State::kAsking && parser_ && head_told_ && parser_->is_done()) {
    done();
    return;
  }
  read();
}

bool UpstreamConnection::asked_again(const boost::system::error_code& error) {
  const bool closed = error == asio::error::eof || error == asio::error::connection_reset ||
                      error == asio::error::broken_pipe || error == asio::ssl::error::stream_truncated;
  if (!may_resend_ || !closed || !listener_ || pool_->closed) return false;
  // Copies: what is being written may still point into these.
  Asking again{
      head_, body_, head_only_, false, true, std::exchange(listener_, nullptr), std::exchange(place_, nullptr)};
  close();
  UpstreamPool::Inside::connect(pool_)->ask(std::move(again));
  return true;
}

bool UpstreamConnection::put_body(std::string_view& bytes) {
  static constexpr std::size_t kPiece = 16 << 10;
  std::array<char, kPiece> piece;
  auto& body = parser_->get().body();
  body.data = piece.data();
  body.size = piece.size();
  body.more = true;
  boost::system::error_code error;
  const std::size_t used = parser_->put(asio::buffer(bytes.data(), bytes.size()), error);
  bytes.remove_prefix(used);
  const std::size_t count = piece.size() - body.size;
  body.data = nullptr;
  // It may cancel() from within, which lets go of it.
  const auto listener = listener_;
  if (count > 0) listener->on_body(std::string_view(piece.data(), count));
  if (state_ != State::kAsking || !listener_) return false;
  if (error == http::error::need_buffer) return true;
  if (error == http::error::need_more || (!error && used == 0 && count == 0)) {
    pending_.assign(bytes);
    read();
    return false;
  }
  if (error) {
    fail(Trouble::kProtocol, "the body of its answer is malformed (" + error.message() + ")");
    return false;
  }
  return true;
}

void UpstreamConnection::told_head() {
  const auto& message = parser_->get();
  const int status = static_cast<int>(message.result_int());
  if (status >= 100 && status < 200) {  // 100 Continue, 103 Early Hints: the answer is still to come
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(pool_->options.max_header_bytes));
    parser_->body_limit(std::numeric_limits<std::uint64_t>::max());
    parser_->skip(head_only_);
    return;
  }
  HttpResponse head;
  head.status = status;
  for (const auto& field : message) head.headers.add(std::string(field.name_string()), std::string(field.value()));
  head_told_ = true;
  const auto listener = listener_;  // as in put_body()
  listener->on_head(std::move(head));
}

void UpstreamConnection::done() {
  const auto listener = std::exchange(listener_, nullptr);
  // A server that answered before it had read everything is left alone.
  const bool keep = sent_all_ && !surplus_ && parser_->keep_alive() && !parser_->need_eof() && !pool_->closed &&
                    pool_->idle.size() < pool_->options.most_idle;
  parser_.reset();
  pending_.clear();
  if (keep) {
    state_ = State::kIdle;
    limit(pool_->options.keep_timeout);
    read();
    pool_->idle.push_back(shared_from_this());
  } else {
    close();
  }
  listener->on_end();
}

void UpstreamConnection::fail(Trouble trouble, const std::string& text) {
  // The server may have it from the first time: not what it means when nothing could be sent.
  if (again_ && (trouble == Trouble::kConnect || trouble == Trouble::kTls)) trouble = Trouble::kCut;
  const auto listener = std::exchange(listener_, nullptr);
  close();
  if (listener) listener->on_trouble(trouble, text);
}

void UpstreamConnection::close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  const auto self = shared_from_this();
  resolver_.cancel();
  wire_.close();
  pool_->connected.erase(self);
  if (pool_->connected.empty()) pool_->look.cancel();
  std::erase(pool_->idle, self);
}

void UpstreamConnection::cancel() {
  const auto self = shared_from_this();
  listener_ = nullptr;
  close();
}

void UpstreamConnection::pause() { paused_ = true; }

void UpstreamConnection::resume() {
  if (!paused_) return;
  paused_ = false;
  if (state_ != State::kAsking) return;
  const auto self = shared_from_this();
  if (!pending_.empty()) {
    const std::string bytes = std::exchange(pending_, {});
    take(bytes);
  } else {
    read();
  }
}

void UpstreamConnection::limit(std::chrono::milliseconds time) {
  moved_ = std::chrono::steady_clock::now();
  deadline_ = moved_ + time;
}

void UpstreamConnection::check_deadline(std::chrono::steady_clock::time_point now) {
  if (now < deadline_) return;
  const auto self = shared_from_this();
  deadline_ = std::chrono::steady_clock::time_point::max();
  on_deadline();
}

void UpstreamConnection::on_deadline() {
  if (state_ == State::kIdle) {
    close();
  } else if (state_ == State::kConnecting) {
    fail(Trouble::kTimeout, "it was not connected in time");
  } else if (state_ == State::kAsking) {
    // One timer for all of an answer: set anew for what is left since the last byte.
    const auto quiet = std::chrono::steady_clock::now() - moved_;
    if (paused_ || quiet < pool_->options.idle_timeout) {
      const auto moved = moved_;
      limit(std::chrono::duration_cast<std::chrono::milliseconds>(paused_ ? pool_->options.idle_timeout
                                                                          : pool_->options.idle_timeout - quiet));
      moved_ = moved;
    } else {
      fail(Trouble::kTimeout, "it sent nothing for too long");
    }
  }
}

}  // namespace retort::net
