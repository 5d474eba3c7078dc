#include "net/server.h"

#include <boost/asio/post.hpp>
#include <future>
#include <utility>
#include <vector>

#include "net/connection.h"

namespace retort::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr std::chrono::milliseconds kAcceptAgain{100};

Result<std::shared_ptr<asio::ssl::context>> tls_context(const std::string& certificate, const std::string& key) {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  boost::system::error_code error;
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  context->use_certificate_chain_file(certificate, error);
  if (error) {
    return caller_error("The certificate '" + certificate + "' can't be used (" + error.message() +
                        "); expected a PEM file with the certificate and what it is signed by.");
  }
  context->use_private_key_file(key, asio::ssl::context::pem, error);
  if (error) {
    return caller_error("The key '" + key + "' can't be used with the certificate '" + certificate + "' (" +
                        error.message() + "); expected its private key, a PEM file.");
  }
  return context;
}

}  // namespace

HttpResponse HttpServer::Core::error_response(int status, std::string_view sentence) const {
  if (options.error_response) return options.error_response(status, sentence);
  HttpResponse response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.body = std::string(sentence) + "\n";
  return response;
}

void HttpServer::Core::accept() {
  if (accepting || draining || connections.size() >= options.max_connections) return;
  accepting = true;
  acceptor.async_accept([this](const boost::system::error_code& error, tcp::socket socket) {
    accepting = false;
    if (draining) return;
    if (error) {
      // Out of file descriptors, most likely: some will be closed.
      accept_again.expires_after(kAcceptAgain);
      accept_again.async_wait([this](const boost::system::error_code& cancelled) {
        if (!cancelled) accept();
      });
      return;
    }
    Wire wire = tls ? Wire(loop, std::move(socket), *tls) : Wire(loop, std::move(socket));
    const auto connection = std::make_shared<Connection>(self.lock(), std::move(wire));
    connections.insert(connection);
    look_at_deadlines();
    count_connections();
    connection->start();
    accept();
  });
}

void HttpServer::Core::look_at_deadlines() {
  if (looking || connections.empty()) return;
  looking = true;
  look.expires_after(kLookEvery);
  look.async_wait([core = self.lock()](const boost::system::error_code& error) {
    core->looking = false;
    // Cancelled when the last one left; another may have come since.
    if (!error) {
      const auto now = std::chrono::steady_clock::now();
      const std::vector<std::shared_ptr<Connection>> all(core->connections.begin(), core->connections.end());
      for (const auto& connection : all) connection->check_deadlines(now);
    }
    core->look_at_deadlines();
  });
}

std::vector<std::shared_ptr<Connection>> HttpServer::Core::stop_accepting() {
  draining = true;
  boost::system::error_code ignored;
  acceptor.close(ignored);
  accept_again.cancel();
  return {connections.begin(), connections.end()};
}

void HttpServer::Core::count_connections() {
  const std::lock_guard lock(mutex);
  count = connections.size();
}

void HttpServer::Core::leave(const std::shared_ptr<Connection>& connection) {
  connections.erase(connection);
  if (connections.empty()) look.cancel();
  count_connections();
  changed.notify_all();
  accept();
}

HttpServer::HttpServer(std::shared_ptr<Core> core, std::shared_ptr<NetworkThread> thread)
    : thread_(std::move(thread)), core_(std::move(core)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::listen(ServerOptions options, Handler handler,
                                                       std::shared_ptr<NetworkThread> thread) {
  if (!thread) thread = std::make_shared<NetworkThread>();
  const auto core = std::make_shared<Core>(std::move(options), std::move(handler), thread->inside());
  core->self = core;
  const std::string& host = core->options.host;
  const std::string place = host + ":" + std::to_string(core->options.port);
  boost::system::error_code error;
  if (!core->options.tls_certificate.empty()) {
    RETORT_ASSIGN(core->tls, tls_context(core->options.tls_certificate, core->options.tls_key));
  }
  tcp::resolver resolver(core->loop.io);
  const auto found = resolver.resolve(host, std::to_string(core->options.port),
                                      tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error || found.empty()) {
    return caller_error("The host '" + host + "' is not known here (" + error.message() +
                        "); give an address of this machine, such as 127.0.0.1 or 0.0.0.0.");
  }
  const tcp::endpoint endpoint = found.begin()->endpoint();
  core->acceptor.open(endpoint.protocol(), error);
  if (!error) core->acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error && core->options.share_port) {
    using SharePort = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
    core->acceptor.set_option(SharePort(true), error);
  }
  if (!error) core->acceptor.bind(endpoint, error);
  if (!error) core->acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    return caller_error("Nothing can listen on " + place + " (" + error.message() +
                        "); choose another port, or 0 for a free one.");
  }
  const tcp::endpoint bound = core->acceptor.local_endpoint(error);
  if (error) return world_error("The address of the listening socket is not to be had (" + error.message() + ").");
  core->port = bound.port();
  const std::string address = bound.address().to_string();
  core->url = (core->tls ? "https://" : "http://") + (bound.address().is_v6() ? "[" + address + "]" : address) + ":" +
              std::to_string(core->port);
  std::unique_ptr<HttpServer> server(new HttpServer(core, std::move(thread)));
  asio::post(core->loop.io, [core] { core->accept(); });
  return server;
}

void HttpServer::cut_off() {
  std::promise<void> closed;
  asio::post(core_->loop.io, [core = core_, &closed] {
    for (const auto& connection : core->stop_accepting()) connection->close();
    closed.set_value();
  });
  closed.get_future().wait();
}

// The core must outlive what still runs on the thread, which may be a shared one.
HttpServer::~HttpServer() { cut_off(); }

Result<void> HttpServer::use_certificate(const std::string& certificate, const std::string& key) {
  RETORT_ASSIGN(auto context, tls_context(certificate, key));
  asio::post(core_->loop.io, [core = core_, context = std::shared_ptr(std::move(context))]() { core->tls = context; });
  return {};
}

std::uint16_t HttpServer::port() const { return core_->port; }

std::string HttpServer::url() const { return core_->url; }

std::size_t HttpServer::connections() const {
  const std::lock_guard lock(core_->mutex);
  return core_->count;
}

void HttpServer::drain() {
  asio::post(core_->loop.io, [core = core_] {
    for (const auto& connection : core->stop_accepting()) connection->drain();
    {
      const std::lock_guard lock(core->mutex);
      core->drain_begun = true;
    }
    core->changed.notify_all();
  });
  std::unique_lock lock(core_->mutex);
  core_->changed.wait(lock, [this] { return core_->drain_begun && core_->count == 0; });
}

}  // namespace retort::net
