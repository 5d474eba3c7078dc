#include "net/server.h"

#include <boost/asio/post.hpp>
#include <exception>
#include <utility>
#include <vector>

#include "net/connection.h"

namespace retort::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr std::chrono::milliseconds kAcceptAgain{100};

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
    const auto connection = std::make_shared<Connection>(self.lock(), std::move(socket));
    connections.insert(connection);
    count_connections();
    connection->start();
    accept();
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
  count_connections();
  changed.notify_all();
  accept();
}

HttpServer::HttpServer(std::shared_ptr<Core> core) : core_(std::move(core)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::listen(ServerOptions options, Handler handler) {
  const auto core = std::make_shared<Core>(std::move(options), std::move(handler));
  core->self = core;
  const std::string& host = core->options.host;
  const std::string place = host + ":" + std::to_string(core->options.port);
  boost::system::error_code error;
  tcp::resolver resolver(core->io);
  const auto found = resolver.resolve(host, std::to_string(core->options.port),
                                      tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error || found.empty()) {
    return caller_error("The host '" + host + "' is not known here (" + error.message() +
                        "); give an address of this machine, such as 127.0.0.1 or 0.0.0.0.");
  }
  const tcp::endpoint endpoint = found.begin()->endpoint();
  core->acceptor.open(endpoint.protocol(), error);
  if (!error) core->acceptor.set_option(tcp::acceptor::reuse_address(true), error);
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
  core->url = "http://" + (bound.address().is_v6() ? "[" + address + "]" : address) + ":" + std::to_string(core->port);
  std::unique_ptr<HttpServer> server(new HttpServer(core));
  core->thread = std::thread([core = core.get()] {
    core->accept();
    while (true) {
      // What one connection threw (memory ran out) is not the end of the others.
      try {
        core->io.run();
        return;
      } catch (const std::exception&) {
      }
    }
  });
  return server;
}

HttpServer::~HttpServer() {
  asio::post(core_->io, [core = core_.get()] {
    for (const auto& connection : core->stop_accepting()) connection->close();
    core->work.reset();
  });
  core_->thread.join();
}

std::uint16_t HttpServer::port() const { return core_->port; }

std::string HttpServer::url() const { return core_->url; }

std::size_t HttpServer::connections() const {
  const std::lock_guard lock(core_->mutex);
  return core_->count;
}

void HttpServer::drain() {
  asio::post(core_->io, [core = core_.get()] {
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
