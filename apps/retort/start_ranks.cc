#include "retort/start_ranks.h"

#include <arpa/inet.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

namespace retort::app {
namespace {

// A port that was free a moment ago.
int free_port() {
  const int handle = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  const bool found = handle >= 0 && bind(handle, any, size) == 0 && getsockname(handle, any, &size) == 0;
  if (handle >= 0) close(handle);
  return found ? ntohs(address.sin_port) : 0;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

Result<pid_t> start(std::vector<std::string> arguments, const std::vector<std::string>& variables) {
  std::vector<std::string> environment = variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text(*entry);
    const std::string name = text.substr(0, text.find('=') + 1);
    const bool ours = std::any_of(variables.begin(), variables.end(),
                                  [&](const std::string& variable) { return variable.starts_with(name); });
    if (!ours) environment.push_back(text);
  }
  const std::vector<char*> argv = pointers(arguments);
  const std::vector<char*> envp = pointers(environment);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0)
    return world_error("A process for a rank could not be started: " + std::string(std::strerror(errno)) + ".");
  if (child > 0) return child;
  // Signals that this program blocks for its own purposes are nothing to the child; it ends with its parent. In a group
  // of its own it gets a Ctrl-C once, through the parent, not twice.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);
  execve("/proc/self/exe", argv.data(), envp.data());
  _exit(127);
}

}  // namespace

Result<void> start_ranks(int count, std::span<const std::string> arguments, const Context& context) {
  const int port = free_port();
  if (port == 0) return world_error("No port on the loopback address could be found for the ranks to meet at.");
  std::vector<std::string> command = {"retort"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<pid_t> ranks;
  const auto pass_on = [&](int signal) {
    for (const pid_t rank : ranks) {
      if (rank > 0) kill(rank, signal);
    }
  };
  for (int rank = 0; rank < count; ++rank) {
    auto child = start(command, {"RANK=" + std::to_string(rank), "LOCAL_RANK=" + std::to_string(rank),
                                 "WORLD_SIZE=" + std::to_string(count), "LOCAL_WORLD_SIZE=" + std::to_string(count),
                                 "MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + std::to_string(port)});
    if (!child) {
      pass_on(SIGTERM);
      return Failure(child.error());
    }
    ranks.push_back(*child);
  }
  bool stopped = false;
  int code = 0;  // the gravest of the ranks'
  std::string killed;
  for (int left = count; left > 0;) {
    if (context.stop.stop_requested() && !stopped) {
      stopped = true;
      pass_on(SIGTERM);
    }
    int status = 0;
    bool ended = false;
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      if (ranks[rank] == 0 || waitpid(ranks[rank], &status, WNOHANG) != ranks[rank]) continue;
      ranks[rank] = 0;
      ended = true;
      --left;
      if (WIFSIGNALED(status)) {
        if (killed.empty())
          killed = "Rank " + std::to_string(rank) + " was killed by signal " + std::to_string(WTERMSIG(status));
      } else if (WEXITSTATUS(status) != 0 && code != 2) {
        code = WEXITSTATUS(status);
      }
    }
    if (!ended) usleep(20'000);
  }
  if (!killed.empty()) {
    return world_error(killed + ", and the others stopped. The same command goes on from the last checkpoint.");
  }
  if (code == 0) return {};
  const std::string what = "Not all ranks came to their end; they said why.";
  if (code == 2) return caller_error(what);
  return code == 130 ? interrupted("Stopped; the same command goes on.") : world_error(what);
}

}  // namespace retort::app
